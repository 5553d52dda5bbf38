"""The secrets of a cluster, and the two files of access that are made from them."""

from __future__ import annotations

import base64
import secrets
import string
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tallship.lab.talos.config import pki

Bundle = dict[str, Any]

TOKEN_LETTERS = string.ascii_lowercase + string.digits


def new_bundle() -> Bundle:
    """Return the secrets of a new cluster, in the shape in which CABPT v0.6.11 stores them."""
    return {
        "cluster": {"id": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(), "secret": _random()},
        "secrets": {"bootstraptoken": _token(), "secretboxencryptionsecret": _random()},
        "trustdinfo": {"token": _token()},
        "certs": {
            "etcd": _authority("etcd", ec.generate_private_key(ec.SECP256R1())),
            "k8s": _authority("kubernetes", ec.generate_private_key(ec.SECP256R1())),
            "k8saggregator": _authority("", ec.generate_private_key(ec.SECP256R1())),
            "k8sserviceaccount": {"key": _encoded(pki.key_pem(rsa.generate_private_key(65537, 4096)))},
            "os": _authority("talos", ed25519.Ed25519PrivateKey.generate()),
        },
    }


def talosconfig(bundle: Bundle, name: str, endpoints: list[str], roles: tuple[str, ...] = ("os:admin",)) -> str:
    """Return a talosconfig whose client has these roles."""
    authority = bundle["certs"]["os"]
    key = ed25519.Ed25519PrivateKey.generate()
    certificate, _ = pki.issue(_decoded(authority["crt"]), _decoded(authority["key"]), organizations=roles, key=key)
    context = {
        "endpoints": endpoints,
        "ca": authority["crt"],
        "crt": _encoded(certificate),
        "key": _encoded(pki.key_pem(key)),
    }
    return yaml.safe_dump({"context": name, "contexts": {name: context}}, sort_keys=False)


def kubeconfig(ca: str, ca_key: str, name: str, server: str) -> str:
    """Return an administrator's kubeconfig; `ca` and `ca_key` are PEM."""
    key = rsa.generate_private_key(65537, 2048)
    certificate, own = pki.issue(ca, ca_key, "kubernetes-admin", ("system:masters",), key=key)
    user, context = f"{name}-admin", f"{name}-admin@{name}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"certificate-authority-data": _encoded(ca), "server": server}}],
        "contexts": [{"name": context, "context": {"cluster": name, "user": user}}],
        "current-context": context,
        "preferences": {},
        "users": [
            {"name": user, "user": {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(own)}}
        ],
    }
    return yaml.safe_dump(document, sort_keys=False)


def _authority(organization: str, key: pki.Key) -> dict[str, str]:
    certificate, own = pki.new_authority(organization, key)
    return {"crt": _encoded(certificate), "key": _encoded(own)}


def _random() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _token() -> str:
    return ".".join("".join(secrets.choice(TOKEN_LETTERS) for _ in range(length)) for length in (6, 16))


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
