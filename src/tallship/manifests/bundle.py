"""What every machine of a cluster is made from: the secrets bundle, as Cluster API's bootstrap provider stores it."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import yaml

from tallship import bounded

AUTHORITIES = {"k8s": "Kubernetes", "etcd": "etcd", "k8saggregator": "aggregation", "os": "Talos"}
"""The bundle's certificate authorities, and what each signs for."""


class Unreadable(ValueError):
    """The text is no secrets bundle; the message says what it lacks, and nothing of what it holds."""


def read(text: str) -> dict[str, Any]:
    """Return a bundle. Raises Unreadable."""
    try:
        bundle = bounded.load(text)
        for name in AUTHORITIES:
            base64.b64decode(bundle["certs"][name]["crt"], validate=True).decode()
    except (bounded.Unreadable, LookupError, TypeError, ValueError) as error:
        raise Unreadable(
            f"it lacks {error}" if isinstance(error, KeyError) else "it is not YAML of that shape"
        ) from None
    found: dict[str, Any] = bundle
    return found


def authority(bundle: dict[str, Any], name: str = "k8s") -> tuple[str, str]:
    """Return an authority's certificate and key, both PEM."""
    pair = bundle["certs"][name]
    return base64.b64decode(pair["crt"]).decode(), base64.b64decode(pair["key"]).decode()


def fingerprints(bundle: dict[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each authority's certificate, in hex, by what it signs for."""
    return {title: fingerprint(authority(bundle, name)[0]) for name, title in AUTHORITIES.items()}


def fingerprint(certificate: str) -> str:
    """Return the SHA-256 of a PEM certificate's content, in hex. Raises ValueError for text that is none."""
    lines = [line for line in certificate.strip().splitlines() if "-----" not in line]
    return hashlib.sha256(base64.b64decode("".join(lines), validate=True)).hexdigest()


def encryption(bundle: dict[str, Any]) -> str:
    """Return the configuration by which an API server reads what the cluster's own has stored encrypted.

    Talos v1.12 (internal/app/machined/pkg/controllers/k8s): Secrets, with the keys' names `key2` and `key1`.
    """
    secrets = bundle.get("secrets") or {}
    providers: list[dict[str, Any]] = []
    for field, kind, name in (
        ("secretboxencryptionsecret", "secretbox", "key2"),
        ("aescbcencryptionsecret", "aescbc", "key1"),
    ):
        if secrets.get(field):
            providers.append({kind: {"keys": [{"name": name, "secret": secrets[field]}]}})
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [*providers, {"identity": {}}]}],
    }
    return yaml.safe_dump(document, sort_keys=False)
