"""The lab's Talos configurations by themselves; Talos' own library has the last word in `contract/talos_config`."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tallship.lab.talos.config import generate, keys, patch, pki, secrets, validate

LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
ENDPOINT = "https://203.0.113.10:6443"


@cache
def bundle() -> secrets.Bundle:
    """The secrets of a cluster, made once: the RSA key takes a second."""
    return secrets.new_bundle()


def documents(version: str = "v1.12.2", kind: str = "controlplane") -> list[dict[str, Any]]:
    subnets = (["10.10.0.0/18"], ["10.10.96.0/20"])
    return generate.controlplane_config(bundle(), "k8s", ENDPOINT, "1.32.2", version, *subnets, "cluster.local", kind)


def patched(*patches: str, version: str = "v1.12.2", kind: str = "controlplane") -> list[dict[str, Any]]:
    return patch.apply_patches(documents(version, kind), list(patches))


def text(*patches: str, kind: str = "controlplane") -> str:
    return yaml.safe_dump_all(patched(*patches, kind=kind))


def certificate(encoded: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(base64.b64decode(encoded))


def test_two_clusters_share_no_secret() -> None:
    one, other = bundle(), secrets.new_bundle()
    for group in ("cluster", "secrets", "trustdinfo", "certs"):
        assert [name for name in one[group] if one[group][name] == other[group][name]] == []


def test_tokens_are_what_kubernetes_takes_for_bootstrap_tokens() -> None:
    for token in (bundle()["secrets"]["bootstraptoken"], bundle()["trustdinfo"]["token"]):
        assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", token)


def test_a_talosconfig_is_a_client_of_its_cluster_for_a_year() -> None:
    config = yaml.safe_load(secrets.talosconfig(bundle(), "k8s", ["203.0.113.1"], ("os:reader",)))
    context = config["contexts"][config["context"]]
    client = certificate(context["crt"])
    client.verify_directly_issued_by(certificate(bundle()["certs"]["os"]["crt"]))
    assert (config["context"], context["endpoints"]) == ("k8s", ["203.0.113.1"])
    assert context["ca"] == bundle()["certs"]["os"]["crt"]
    assert client.subject.rfc4514_string() == "O=os:reader"
    assert client.not_valid_after_utc - client.not_valid_before_utc < timedelta(days=366)
    assert pki.load_key(base64.b64decode(context["key"]).decode()).public_key() == client.public_key()


def test_a_kubeconfig_is_an_administrator_of_its_cluster() -> None:
    ca, key = pki.new_authority("kubernetes", ec.generate_private_key(ec.SECP256R1()))
    config = yaml.safe_load(secrets.kubeconfig(ca, key, "k8s", ENDPOINT))
    user = config["users"][0]["user"]
    client = certificate(user["client-certificate-data"])
    client.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.encode()))
    assert client.subject.rfc4514_string() == "CN=kubernetes-admin,O=system:masters"
    assert config["clusters"][0]["cluster"]["server"] == ENDPOINT
    assert config["current-context"] == config["contexts"][0]["name"] == "k8s-admin@k8s"
    assert config["contexts"][0]["context"] == {"cluster": "k8s", "user": "k8s-admin"}


@pytest.mark.parametrize("kind", ["controlplane", "init", "worker"])
def test_what_is_generated_can_run_a_machine(kind: str) -> None:
    config = validate.load(text(kind=kind))
    assert config.is_control_plane == (kind != "worker")
    assert config.os_ca == pki_text("os", "crt")
    assert config.kubernetes_ca == pki_text("k8s", "crt")
    assert (config.cluster_name, config.endpoint, config.kubernetes_version) == ("k8s", ENDPOINT, "v1.32.2")
    assert (config.token, config.cluster_id) == (bundle()["trustdinfo"]["token"], bundle()["cluster"]["id"])
    assert config.cluster_secret == bundle()["cluster"]["secret"]


def pki_text(authority: str, part: str) -> str:
    return base64.b64decode(bundle()["certs"][authority][part]).decode()


def test_only_control_planes_have_the_keys_of_authorities() -> None:
    control_plane, worker = validate.load(text()), validate.load(text(kind="worker"))
    assert control_plane.os_key == pki_text("os", "key")
    assert control_plane.kubernetes_key == pki_text("k8s", "key")
    assert control_plane.etcd_ca == pki_text("etcd", "crt")
    assert (worker.os_key, worker.kubernetes_key, worker.etcd_ca) == ("", "", "")


@pytest.mark.parametrize(("version", "kinds"), [("v1.11.5", 1), ("v1.12.0", 2), ("1.12", 2), ("v1.13.1", 2)])
def test_the_hostname_is_a_document_of_its_own_from_1_12_on(version: str, kinds: int) -> None:
    made = documents(version)
    assert len(made) == kinds
    assert ("stableHostname" in made[0]["machine"]["features"]) == (kinds == 1)
    assert made[0]["cluster"]["apiServer"].get("certSANs", []) == (["203.0.113.10"] if kinds == 1 else [])


def test_the_hostname_is_found_in_both_places() -> None:
    named = "apiVersion: v1alpha1\nkind: HostnameConfig\nauto: 'off'\nhostname: k8s-1\n"
    old = yaml.safe_dump_all(patched("machine: {network: {hostname: k8s-0}}", version="v1.11.0"))
    assert [validate.load(each).hostname for each in (text(), text(named), old)] == ["", "k8s-1", "k8s-0"]


def test_names_for_certificates_are_found() -> None:
    config = validate.load(text("machine: {certSANs: [a]}\ncluster: {apiServer: {certSANs: [b]}}"))
    assert (config.cert_sans, config.api_server_cert_sans) == (("a",), ("b",))


def test_documents_without_patches_stay_as_they_are() -> None:
    made = documents()
    assert patch.apply_patches(made, []) == documents()


def test_patching_leaves_what_it_was_given_alone() -> None:
    made = documents()
    patch.apply_patches(made, [f"machine: {{nodeLabels: {{{LABEL}: {{$patch: delete}}}}, certSANs: [a]}}"])
    assert made == documents()


def test_a_deletion_comes_before_the_rest_of_its_patch() -> None:
    machine = patched(f"machine: {{nodeLabels: {{a: b, {LABEL}: {{$patch: delete}}}}}}")[0]["machine"]
    assert machine["nodeLabels"] == {"a": "b"}


@pytest.mark.parametrize(
    ("text_of_patch", "reason"),
    [
        ("", "JSON6902 patches are not supported for multi-document machine configuration"),
        ('[{"op": "remove", "path": "/machine"}]', "JSON6902 patches are not supported"),
        ("machine: {nodeLables: {}}", "unknown keys found during decoding: machine.nodeLables"),
        ("apiVersion: v1alpha1\nkind: Nothing\n", '"Nothing" "v1alpha1": not registered'),
        ("machine: {nodeLabels: {a: {$patch: delete}}}", "lookup failed"),
        ("machine: [", "decode error"),
    ],
)
def test_a_refused_patch_says_why(text_of_patch: str, reason: str) -> None:
    with pytest.raises(patch.PatchError, match=re.escape(reason)):
        patched(text_of_patch)


def test_a_deletion_below_a_missing_section_is_a_panic() -> None:
    with pytest.raises(patch.PatchPanic, match="zero Value"):
        patched("machine: {time: {servers: {$patch: delete}}}")


@pytest.mark.parametrize(
    ("text_of_patch", "reason"),
    [
        ("machine: {token: {$patch: delete}}", "machine.token is required"),
        ("machine: {$patch: delete}", "machine instructions are required"),
        ("cluster: {ca: {$patch: delete}}", "cluster.ca is required"),
        ("cluster: {network: {cni: {name: cilium}}}", "cni name should be one of"),
        ("machine: {network: {hostname: a}}", "static hostname is already set in v1alpha1 config"),
    ],
)
def test_a_machine_refuses_what_it_cannot_run_with(text_of_patch: str, reason: str) -> None:
    with pytest.raises(validate.ConfigError, match=re.escape(reason)):
        validate.load(text(text_of_patch))


def test_a_control_plane_needs_the_key_of_kubernetes() -> None:
    crt = bundle()["certs"]["k8s"]["crt"]
    with pytest.raises(validate.ConfigError, match=r"cluster\.ca\.key is required"):
        validate.load(text(f"cluster: {{ca: {{crt: {crt}}}}}"))


@pytest.mark.parametrize(
    "written", ["", "# nothing\n", "---\n", "apiVersion: v1alpha1\nkind: HostnameConfig\nhostname: a\n"]
)
def test_user_data_without_a_machine_is_refused(written: str) -> None:
    with pytest.raises(validate.ConfigError):
        validate.load(written)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"), ("true", True), ("False", False), ("~", None), ("0o17", 15), ("017", 15), ("0x1f", 31),
        ("1_000", 1000), ("1.5", 1.5), ("1e3", 1000.0), ("1:30", "1:30"), ("'5'", "5"), ("-3", -3), ("0", 0),
        ("1.2.3", "1.2.3"),
    ],
)  # fmt: skip
def test_words_without_a_kind_are_read_as_go_reads_them(written: str, value: object) -> None:
    (node,) = keys.nodes(f"a: {written}\n")
    assert keys.plain(node) == {"a": value}
