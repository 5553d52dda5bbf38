"""SSH keys."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from tallship.lab.hetzner.errors import Refused, invalid, not_found
from tallship.lab.hetzner.project import Project
from tallship.lab.hetzner.routing import Call, Reply, Route, listed, put_name_and_labels
from tallship.lab.store import Document


def fingerprint(public_key: str) -> str:
    """Return the MD5 fingerprint of an OpenSSH public key. Raises Refused (invalid_input)."""
    try:
        kind, blob = public_key.split()[:2]
        raw = base64.b64decode(blob, validate=True)
    except (ValueError, binascii.Error) as error:
        raise invalid("public_key", "is not an OpenSSH public key") from error
    if kind.encode() not in raw[: len(kind) + 4]:
        raise invalid("public_key", "is not an OpenSSH public key")
    digest = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    return ":".join(digest[i : i + 2] for i in range(0, 32, 2))


def key_of(project: Project, key: object) -> Document:
    """Return the key with that id or name. Raises Refused (not_found)."""
    found = project.find_named("ssh_key", key)
    if found is None:
        raise not_found("SSH key", key)
    return found


def list_keys(call: Call) -> Reply:
    """Return the SSH keys."""
    return listed(call, "ssh_keys", call.project.all("ssh_key"), ("fingerprint",))


def get_key(call: Call) -> Reply:
    """Return one SSH key."""
    return Reply(200, {"ssh_key": call.project.get("ssh_key", call.id)})


def create_key(call: Call) -> Reply:
    """Store a public key."""
    name = call.project.claim_name("ssh_key", call.body.text("name"))
    public_key = call.body.text("public_key").strip()
    digest = fingerprint(public_key)
    if any(each["fingerprint"] == digest for each in call.project.all("ssh_key")):
        raise Refused("uniqueness_error", "SSH key with the same fingerprint already exists")
    fields = {"name": name, "fingerprint": digest, "public_key": public_key, "labels": call.body.labels()}
    return Reply(201, {"ssh_key": call.project.new("ssh_key", fields)})


def put_key(call: Call) -> Reply:
    """Change a key's name or labels."""
    key, changed = put_name_and_labels(call, "ssh_key")
    return Reply(200, {"ssh_key": key}, changed=changed)


def delete_key(call: Call) -> Reply:
    """Delete a key."""
    call.project.forget("ssh_key", call.project.get("ssh_key", call.id)["id"])
    return Reply(204)


ROUTES: Final = [
    Route("GET", "/ssh_keys", list_keys),
    Route("POST", "/ssh_keys", create_key),
    Route("GET", "/ssh_keys/{id}", get_key),
    Route("PUT", "/ssh_keys/{id}", put_key),
    Route("DELETE", "/ssh_keys/{id}", delete_key),
]
