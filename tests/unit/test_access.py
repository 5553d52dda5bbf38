"""Kubeconfig and talosconfig as documents: what differs, what is merged, whom a person can reach."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tallship.manifests import access

TODAY = datetime(2026, 1, 1, tzinfo=UTC)
SERVER = "https://203.0.113.10:6443"
NOUNS = ("kubeconfig", "talosconfig")
NO_FILES = ("", "- a\n", "a: [", "text", "contexts: []\n", "null")


@cache
def certificate(name: str, days: int) -> str:
    """A self-signed certificate that ends so many days after TODAY, in base64."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(TODAY - timedelta(days=400)).not_valid_after(TODAY + timedelta(days=days))
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(pem).decode()


def kubeconfig(server: str = SERVER, ca: str = "ca", days: int = 365, name: str = "k8s") -> str:
    context = {"cluster": name, "user": f"{name}-admin"}
    cluster = {"certificate-authority-data": certificate(ca, 365), "server": server}
    user = {"client-certificate-data": certificate("me", days), "client-key-data": "a2V5"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "contexts": [{"name": f"admin@{name}", "context": context}],
        "users": [{"name": f"{name}-admin", "user": user}],
        "current-context": f"admin@{name}",
    }
    return yaml.safe_dump(document)


def talosconfig(server: str = "203.0.113.10", ca: str = "ca", days: int = 365, name: str = "k8s") -> str:
    context = {"endpoints": [server], "ca": certificate(ca, 365), "crt": certificate("me", days), "key": "a2V5"}
    return yaml.safe_dump({"context": name, "contexts": {name: context}})


MAKERS = {"kubeconfig": kubeconfig, "talosconfig": talosconfig}
MERGERS = {"kubeconfig": access.merged, "talosconfig": access.merged_talosconfig}


def machine(name: str, *addresses: tuple[str, str]) -> dict[str, Any]:
    found = [{"type": kind, "address": address} for kind, address in addresses]
    return {"metadata": {"name": name}, "status": {"addresses": found}}


def test_a_machine_counts_with_its_first_ipv4_of_each_kind() -> None:
    first = machine(
        "a",
        ("ExternalIP", "2001:db8::1"),
        ("ExternalIP", "203.0.113.1"),
        ("ExternalIP", "203.0.113.9"),
        ("InternalIP", "10.0.0.2"),
    )
    assert access.node_addresses([first]) == access.Addresses(["203.0.113.1"], ["10.0.0.2"])


def test_addresses_are_in_the_order_of_the_machines_names() -> None:
    machines = [machine("b", ("ExternalIP", "203.0.113.1")), machine("a", ("ExternalIP", "203.0.113.2"))]
    assert access.node_addresses(machines).external == ["203.0.113.2", "203.0.113.1"]


def test_a_machine_without_addresses_counts_for_nothing() -> None:
    assert access.node_addresses([machine("a"), {"metadata": {"name": "b"}}]) == access.Addresses([], [])


def test_a_talosconfig_gets_endpoints_and_nodes_and_keeps_its_keys() -> None:
    old = yaml.safe_load(talosconfig())["contexts"]["k8s"]
    new = yaml.safe_load(access.talosconfig(talosconfig(), ["203.0.113.5"], ["10.0.0.2"]))["contexts"]["k8s"]
    assert new == {**old, "endpoints": ["203.0.113.5"], "nodes": ["10.0.0.2"]}


def test_what_a_file_gives_is_read() -> None:
    for noun, server in (("kubeconfig", SERVER), ("talosconfig", "203.0.113.10")):
        found = access.read(noun, MAKERS[noun]())
        assert found.servers == (server,)
        assert found.authority == base64.b64decode(certificate("ca", 365))
        assert found.certificate == base64.b64decode(certificate("me", 365))


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("text", NO_FILES)
def test_what_is_no_such_file_is_said_to_be_none(noun: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"not a {noun}"):
        access.read(noun, text)


def test_a_kubeconfig_whose_context_names_nobody_is_none() -> None:
    with pytest.raises(ValueError, match="not a kubeconfig"):
        access.read("kubeconfig", kubeconfig().replace("name: k8s-admin", "name: other"))


@pytest.mark.parametrize("noun", NOUNS)
def test_the_same_file_needs_nothing(noun: str) -> None:
    assert access.differences(noun, MAKERS[noun](), MAKERS[noun](), TODAY, 30) == []


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize(
    ("have", "reasons"),
    [
        ({"ca": "other"}, ["it trusts another authority"]),
        ({"server": "https://198.51.100.1:6443"}, ["it names other endpoints"]),
        ({"days": 29}, ["its certificate ends soon"]),
        ({"days": -1}, ["its certificate ends soon"]),
        ({"days": 31}, []),
        ({"ca": "other", "server": "x", "days": 1}, [
            "it trusts another authority", "it names other endpoints", "its certificate ends soon",
        ]),
    ],
)  # fmt: skip
def test_a_file_that_differs_says_how(noun: str, have: dict[str, Any], reasons: list[str]) -> None:
    assert access.differences(noun, MAKERS[noun](**have), MAKERS[noun](), TODAY, 30) == reasons


def test_a_certificate_is_not_renewed_by_one_that_ends_as_soon() -> None:
    assert access.differences("kubeconfig", kubeconfig(days=5), kubeconfig(days=5), TODAY, 30) == []


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("text", NO_FILES)
def test_a_file_that_is_none_cannot_be_read(noun: str, text: str) -> None:
    assert access.differences(noun, text, MAKERS[noun](), TODAY, 30) == ["it cannot be read"]


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("damage", ["AAAA", "%%%"])
def test_a_file_with_a_damaged_certificate_cannot_be_read(noun: str, damage: str) -> None:
    damaged = MAKERS[noun]().replace(certificate("me", 365), damage)
    assert access.differences(noun, damaged, MAKERS[noun](), TODAY, 30) == ["it cannot be read"]


def test_a_cluster_is_added_beside_others_and_becomes_the_current_one() -> None:
    merged = yaml.safe_load(access.merged(kubeconfig(name="other"), kubeconfig(), "k8s"))
    assert merged["current-context"] == "k8s"
    assert {key: [each["name"] for each in merged[key]] for key in ("clusters", "contexts", "users")} == {
        "clusters": ["other", "k8s"],
        "contexts": ["admin@other", "k8s"],
        "users": ["other-admin", "k8s"],
    }
    assert access.read("kubeconfig", yaml.safe_dump(merged)) == access.read("kubeconfig", kubeconfig())


def test_a_cluster_of_the_same_name_is_replaced() -> None:
    once = access.merged("", kubeconfig(ca="old"), "k8s")
    twice = access.merged(once, kubeconfig(), "k8s")
    assert twice == access.merged("", kubeconfig(), "k8s")


def test_settings_of_the_usual_file_stay() -> None:
    usual = yaml.safe_dump({**yaml.safe_load(kubeconfig(name="other")), "preferences": {"colors": True}, "users": None})
    merged = yaml.safe_load(access.merged(usual, kubeconfig(), "k8s"))
    assert (merged["preferences"], [each["name"] for each in merged["users"]]) == ({"colors": True}, ["k8s"])


def test_a_context_is_added_to_a_talosconfig_and_becomes_the_current_one() -> None:
    merged = yaml.safe_load(access.merged_talosconfig(talosconfig(name="other"), talosconfig(), "mine"))
    assert (merged["context"], list(merged["contexts"])) == ("mine", ["other", "mine"])
    assert merged["contexts"]["mine"] == yaml.safe_load(talosconfig())["contexts"]["k8s"]


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("empty", ["", "# nothing\n", "{}"])
def test_merging_into_nothing_makes_a_whole_file(noun: str, empty: str) -> None:
    merged = MERGERS[noun](empty, MAKERS[noun](), "k8s")
    assert access.read(noun, merged) == access.read(noun, MAKERS[noun]())


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("text", ["- a\n", "a: [", "text", "contexts: text\n", "contexts: [a]\n"])
def test_nothing_is_merged_into_what_is_no_such_file(noun: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"not a {noun}"):
        MERGERS[noun](text, MAKERS[noun](), "k8s")
