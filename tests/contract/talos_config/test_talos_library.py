"""The lab's generator, patcher and validator against Talos' own library v1.12.0."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from talos_config_cases import Case
from talos_config_refusals import CASES, SEQUENCES
from talos_library import CLUSTER, Talos

from tallship.lab.talos.config import generate, keys, patch, pki, secrets, validate

pytestmark = pytest.mark.long

Documents = list[dict[str, Any]]

FIELDS = Path(keys.__file__).with_name("keys.json")
REASONS = (
    "JSON6902 patches are not supported", "lookup failed", "not registered", "missing kind", "duplicate document",
    "unknown keys found", "already defined", "cannot unmarshal", "does not belong to", "cannot delete an inner key",
    "expected a mapping", "merge type mismatch", "config not found", "decode error", "missing apiVersion", "rfc6902",
    "for which $patch: delete is used", "in host name", "netip.ParsePrefix", "base64",
)  # fmt: skip
"""What tells one refusal from another; messages around it differ."""


def ours(bundle: dict[str, Any], case: Case) -> tuple[str, Documents, str]:
    """Return what the lab makes of a case: the verdict, the documents, and why."""
    try:
        documents = patch.apply_patches(_generated(bundle, case), case.patches)
    except patch.PatchPanic as panic:
        return "panic", [], str(panic)
    except patch.PatchError as error:
        return "refused", [], str(error)
    text = yaml.safe_dump_all(documents, sort_keys=False) if case.patches or not case.config else case.config
    try:
        config = validate.parse(text)
    except validate.ConfigError as error:
        return "unloadable", documents, str(error)
    wrong = validate.problems(list(config.documents))
    return ("invalid" if wrong else "good"), documents, "\n".join(wrong)


def theirs(result: dict[str, Any]) -> tuple[str, Documents, str]:
    """Return the same of the library."""
    documents = [keys.plain(node) for node in keys.nodes(result["config"])]
    return verdict_on(result), documents, result["panic"] or result["error"] or result["invalid"]


def verdict_on(result: dict[str, Any]) -> str:
    """Return how far a case came with the library."""
    if result["panic"]:
        return "panic"
    if result["stage"]:
        return "unloadable" if result["stage"] == "load" else "refused"
    return "invalid" if result["invalid"] else "good"


def _generated(bundle: dict[str, Any], case: Case) -> Documents:
    if case.config:
        return [keys.plain(node) for node in keys.nodes(case.config)]
    return generate.controlplane_config(
        bundle,
        CLUSTER["clusterName"],
        case.endpoint,
        CLUSTER["kubernetesVersion"],
        case.talos_version,
        CLUSTER["podSubnets"],
        CLUSTER["serviceSubnets"],
        CLUSTER["dnsDomain"],
        case.kind,
    )


@pytest.mark.parametrize("name", CASES)
def test_the_library_and_the_lab_agree(talos: Talos, name: str) -> None:
    verdict, documents, why = theirs(talos.results[name])
    our_verdict, our_documents, our_why = ours(talos.bundle, CASES[name])
    assert (our_verdict, our_why if our_verdict != verdict else "") == (verdict, ""), why
    assert our_documents == documents
    if verdict == "invalid":
        assert [each for each in our_why.splitlines() if each not in why] == []
    elif verdict == "panic":
        assert our_why == why
    else:
        assert [each for each in REASONS if each in our_why] == [each for each in REASONS if each in why]
        assert bool(our_why) == any(each in our_why for each in REASONS), our_why


def test_sequences_of_patches_that_nobody_thought_of_end_the_same(talos: Talos) -> None:
    differing = []
    for name, case in SEQUENCES.items():
        verdict, documents, _ = theirs(talos.results[name])
        if ours(talos.bundle, case)[:2] != (verdict, documents):
            differing.append((name, verdict, case))
    assert differing == []


def test_verdicts_of_every_kind_are_compared(talos: Talos) -> None:
    assert {verdict_on(result) for result in talos.results.values()} == {
        "good", "invalid", "unloadable", "refused", "panic",
    }  # fmt: skip


def test_fields_are_those_of_the_library(talos: Talos) -> None:
    if os.environ.get("GOLDEN") == "rewrite":
        FIELDS.write_text(_one_section_a_line(talos.fields), encoding="utf-8")
    assert json.loads(FIELDS.read_text(encoding="utf-8")) == talos.fields


def test_the_library_takes_our_keys(talos: Talos) -> None:
    assert talos.results["generated"]["error"] == ""


def test_our_keys_have_the_shape_of_the_librarys(talos: Talos) -> None:
    assert _shape(talos.bundle) == _shape(yaml.safe_load(talos.keys["bundle"]))


@pytest.mark.parametrize("authority", ["etcd", "k8s", "k8saggregator", "os"])
def test_our_authorities_are_certified_like_the_librarys(talos: Talos, authority: str) -> None:
    certificates = [each["certs"][authority]["crt"] for each in (talos.bundle, yaml.safe_load(talos.keys["bundle"]))]
    ours, theirs = (_facts(base64.b64decode(each)) for each in certificates)
    assert ours == theirs


def test_our_administrator_is_certified_like_the_librarys(talos: Talos) -> None:
    config = yaml.safe_load(secrets.talosconfig(talos.bundle, "k8s", []))["contexts"]["k8s"]
    assert _facts(base64.b64decode(config["crt"])) == _facts(base64.b64decode(talos.keys["adminCrt"]))
    assert _header(base64.b64decode(config["key"])) == _header(base64.b64decode(talos.keys["adminKey"]))


def test_our_keys_sign_under_the_librarys_authority(talos: Talos) -> None:
    authority = yaml.safe_load(talos.keys["bundle"])["certs"]["os"]
    ca, key = (base64.b64decode(authority[part]).decode() for part in ("crt", "key"))
    certificate, _ = pki.issue(ca, key, hosts=("127.0.0.1",))
    x509.load_pem_x509_certificate(certificate.encode()).verify_directly_issued_by(
        x509.load_pem_x509_certificate(ca.encode())
    )


def _one_section_a_line(fields: dict[str, Any]) -> str:
    sections = [f"{json.dumps(name)}: {json.dumps(each, sort_keys=True)}" for name, each in fields["sections"].items()]
    kinds = json.dumps(fields["kinds"], sort_keys=True, indent=1)
    return '{"kinds": ' + kinds + ',\n"sections": {\n' + ",\n".join(sorted(sections)) + "\n}}\n"


def _shape(value: Any) -> Any:
    """Return keys and the headers of PEM texts; of other texts their length."""
    if isinstance(value, dict):
        return {name: _shape(each) for name, each in value.items()}
    text = str(value)
    return _header(base64.b64decode(text)) if text.startswith("LS0tLS1CRUdJTi") else len(text)


def _header(pem: bytes) -> bytes:
    return pem.splitlines()[0]


def _facts(pem: bytes) -> dict[str, Any]:
    """Return what a certificate says, apart from numbers, keys and times; its lifetime in days."""
    certificate = x509.load_pem_x509_certificate(pem)
    identifiers = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "algorithm": certificate.signature_algorithm_oid,
        "days": (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days,
        "extensions": {
            each.oid: (each.critical, type(each.value) if isinstance(each.value, identifiers) else each.value)
            for each in certificate.extensions
        },
    }
