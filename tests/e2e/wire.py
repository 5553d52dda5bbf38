"""Plain requests to any API server that a kubeconfig leads to."""

from __future__ import annotations

import json
import ssl
import tempfile
import time
from base64 import b64decode
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tallship.lab.kinds import BY_NAME

Document = dict[str, Any]

APPLY = "application/apply-patch+yaml"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ESTABLISHED_SECONDS = 30.0


class Refused(Exception):
    """The server answered with a Status."""

    def __init__(self, status: Document) -> None:
        super().__init__(f"{status['code']} {status.get('reason')}: {status.get('message')}")
        self.status = status


class Wire:
    """An API server, and an administrator who asks it."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        tls = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]))
        with tempfile.NamedTemporaryFile() as pair:
            certificate, key = user["client-certificate-data"], user["client-key-data"]
            pair.write(f"{_decoded(certificate)}\n{_decoded(key)}".encode())
            pair.flush()
            tls.load_cert_chain(pair.name)
        self._http = httpx2.Client(base_url=cluster["server"], verify=tls, trust_env=False, timeout=30)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def send(self, method: str, path: str, body: Any = None, kind: str = "application/json", **query: str) -> Document:
        """Return the answer to a request. Raises Refused."""
        content = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": kind}
        answer = self._http.request(method, path, params=query, content=content, headers=headers)
        found: Document = answer.json()
        if answer.status_code >= 400:
            raise Refused(found)
        return found

    def apply(self, document: Document, manager: str = "tallship", **query: str) -> Document:
        """Server-side apply an object, with strict field validation."""
        options = {"fieldManager": manager, "fieldValidation": "Strict", **query}
        return self.send("PATCH", path_of(document), document, APPLY, **options)

    def create(self, document: Document, **query: str) -> Document:
        """Create an object, with strict field validation."""
        collection = path_of(document).rpartition("/")[0]
        return self.send("POST", collection, document, fieldValidation="Strict", **query)

    def define(self, definitions: list[Document]) -> None:
        """Install CustomResourceDefinitions; returns when all are established."""
        for each in definitions:
            self.apply(each, "definitions", force="true")
        deadline = time.monotonic() + ESTABLISHED_SECONDS
        for each in definitions:
            while not _is_established(self.send("GET", f"{DEFINITIONS}/{each['metadata']['name']}")):
                assert time.monotonic() < deadline, f"{each['metadata']['name']} is not established"
                time.sleep(0.05)


def path_of(document: Document) -> str:
    """Return the path of an object."""
    metadata = document["metadata"]
    return BY_NAME[document["kind"]].path(metadata.get("namespace", ""), metadata["name"])


def _is_established(definition: Document) -> bool:
    conditions = definition.get("status", {}).get("conditions", [])
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def _decoded(text: str) -> str:
    return b64decode(text).decode()
