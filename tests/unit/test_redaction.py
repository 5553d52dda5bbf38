"""What leaves this machine holds no secret."""

from __future__ import annotations

import pytest

from tallship.manifests.redaction import GONE, redacted, redacted_text
from tallship.ops.controller_logs import clean, new_lines

TOKEN = "a1B2" * 16


@pytest.mark.parametrize(
    "text",
    [
        f"asked with {TOKEN} and more",
        "-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nabc and no end",
        "Bearer abcdefghijkl",
        "password=hunter2hunter2",
        '"token": "abcdefgh12345"',
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJr.c2lnbmF0dXJl",
        "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQ",
        "join with abcdef.0123456789abcdef",
        'applied {\\"token\\":\\"abcdefgh12345\\"}',
        "key: LS0tLS1CRUdJTiBFRDI1NTE5IFBSSVZBVEUgS0VZabcdefghijkl=",
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str) -> None:
    assert GONE in redacted_text(text)
    for word in ("abc\n", TOKEN, "hunter2", "abcdefgh12345", "c2lnbmF0", "QQQQQ", "0123456789abcdef", "abcdefghijkl"):
        assert word not in redacted_text(text)


@pytest.mark.parametrize(
    "text", ["server k8s-control-plane-abc12 is running", "10.10.64.2:6443: connection refused", ""]
)
def test_other_text_stays(text: str) -> None:
    assert redacted_text(text) == text


def test_a_secret_object_keeps_its_keys_alone() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "a"}, "data": {"value": "eA=="}, "stringData": {"b": "c"}}
    assert redacted(secret) == {
        "kind": "Secret",
        "metadata": {"name": "a"},
        "data": {"value": GONE},
        "stringData": {"b": GONE},
    }


def test_values_go_by_their_keys_and_names_of_keys_stay() -> None:
    value = {"client-key": "x", "user_data": "y", "hetznerSecretRef": {"key": {"hcloudToken": "hcloud"}}, "key": "a"}
    assert redacted(value) == {
        "client-key": GONE,
        "user_data": GONE,
        "hetznerSecretRef": {"key": {"hcloudToken": "hcloud"}},
        "key": "a",
    }


def test_variables_patches_and_whole_configurations_go() -> None:
    value = {
        "env": [{"name": "S3_SECRET", "value": "x"}, {"name": "NODE_NAME", "value": "node-1"}],
        "configPatches": [{"op": "add", "path": "/machine/registries", "value": "x"}],
        "patches": ["machine: {}"],
        "spec": {"data": "machine: {}", "generateType": "none"},
    }
    assert redacted(value) == {
        "env": [{"name": "S3_SECRET", "value": GONE}, {"name": "NODE_NAME", "value": "node-1"}],
        "configPatches": GONE,
        "patches": GONE,
        "spec": {"data": GONE, "generateType": "none"},
    }


def test_a_known_secret_goes_wherever_it_stands() -> None:
    assert redacted(["so much for correct-horse", {"a": 1}], ["correct-horse"]) == [f"so much for {GONE}", {"a": 1}]


def test_a_terminal_obeys_no_log() -> None:
    assert clean("a\x1b[31mred\x07\u009b1mb\tc") == "a[31mred1mb\tc"


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["a", "b"], ["b", "c", "d"], ["c", "d"]),
        (["a", "b"], ["a", "b"], []),
        (["a", "a"], ["a", "a", "a"], ["a"]),
        (["a"], ["x", "y"], ["x", "y"]),
        ([], ["x"], ["x"]),
        (["x"], [], []),
    ],
)
def test_only_new_lines_are_told(before: list[str], now: list[str], new: list[str]) -> None:
    assert new_lines(before, now) == new
