"""A kubeconfig and a talosconfig with keys that are real, and belong to no cluster."""

from __future__ import annotations

import base64
import copy
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SERVER = "https://203.0.113.10:6443"


@cache
def pair(passphrase: bytes = b"") -> tuple[str, str]:
    """A certificate that nobody else has signed, and its key, both PEM in base64."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "me")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=365))
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    public = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(public).decode(), base64.b64encode(private).decode()


def kubeconfig(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a kubeconfig; of cluster and user with what is given beside, or in the place of, what it has."""
    certificate, key = pair()
    whole = {"server": SERVER, "certificate-authority-data": certificate, **(cluster or {})}
    me = {"client-certificate-data": certificate, "client-key-data": key} if user is None else user
    return copy.deepcopy(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "k8s", "cluster": whole}],
            "users": [{"name": "admin", "user": me}],
            "contexts": [{"name": "admin@k8s", "context": {"cluster": "k8s", "user": "admin", "namespace": "a"}}],
            "current-context": "admin@k8s",
        }
    )


def talosconfig() -> dict[str, Any]:
    """Return a talosconfig."""
    certificate, key = pair()
    context = {"endpoints": ["203.0.113.10"], "nodes": ["10.0.0.1"], "ca": certificate, "crt": certificate, "key": key}
    return copy.deepcopy({"context": "k8s", "contexts": {"k8s": context}})
