"""What tallship.yaml may say of backups."""

from __future__ import annotations

import pytest

from tallship.spec import parse_spec
from tallship.spec.backups import is_on_loopback

KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def mistakes(backup: str) -> str:
    return "\n".join(map(str, parse_spec(f"name: k8s\nbackup: {backup}\n").mistakes))


def storage(endpoint: str = "https://fsn1.your-objectstorage.com", more: str = "", recipients: str = KEY) -> str:
    return f"{{recipients: [{recipients}], s3: {{endpoint: '{endpoint}', bucket: backups{more}}}}}"


def test_an_object_storage_with_recipients_is_right() -> None:
    assert mistakes(storage()) == ""
    assert mistakes(storage("http://127.0.0.1:7070")) == ""


def test_secrets_in_clear_do_not_leave_the_machine() -> None:
    assert "in clear" in mistakes(storage(recipients=""))


@pytest.mark.parametrize("endpoint", ["http://fsn1.your-objectstorage.com", "http://localhost:7070", "http://10.0.0.1"])
def test_an_address_that_is_not_encrypted_is_refused(endpoint: str) -> None:
    assert "not encrypted" in mistakes(storage(endpoint))


@pytest.mark.parametrize("endpoint", ["fsn1", "https://key:secret@host", "https://host/bucket", "ftp://host", ""])
def test_an_endpoint_is_a_host_and_no_more(endpoint: str) -> None:
    assert "not the address of an object storage" in mistakes(storage(endpoint))


@pytest.mark.parametrize("prefix", ["/k8s", "k8s/", "a//b", "../k8s", "a/../b", "", "a b"])
def test_a_prefix_is_a_path_without_surprises(prefix: str) -> None:
    assert "cannot begin the names" in mistakes(storage(more=f", prefix: '{prefix}'"))


@pytest.mark.parametrize("bucket", ["A", "ab", "under_score", "-dash"])
def test_a_bucket_has_a_name_that_s3_allows(bucket: str) -> None:
    assert "name of a bucket" in mistakes(storage().replace("bucket: backups", f"bucket: '{bucket}'"))


def test_credentials_come_from_one_place_and_never_from_the_file() -> None:
    both = ", credentials_file: a, credentials_command: b"
    assert "one place" in mistakes(storage(more=both))
    assert "secret_access_key" in mistakes(storage(more=", secret_access_key: abc"))


@pytest.mark.parametrize("keep", ["{last: -1}", "{daily: 1.5}", "{weekly: all}"])
def test_what_is_kept_is_counted(keep: str) -> None:
    assert "backup.keep" in mistakes(f"{{keep: {keep}}}")


def test_loopback_is_told_by_its_address() -> None:
    assert is_on_loopback("http://[::1]:1")
    assert not is_on_loopback("http://127.0.0.1.example.com")
