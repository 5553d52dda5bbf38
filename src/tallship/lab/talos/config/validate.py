"""A machine's configuration as the machine reads it: loaded, or refused."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

from tallship.lab.talos.config.keys import ConfigError, check_document

__all__ = ["ConfigError", "MachineConfig", "load", "problems"]

Document = dict[str, Any]


@dataclass(frozen=True)
class MachineConfig:
    """A configuration that could be loaded. Certificates and keys are PEM."""

    documents: tuple[Document, ...]
    machine: Document
    cluster: Document

    @property
    def is_control_plane(self) -> bool:
        """True for a control plane machine."""
        return self.machine.get("type") in ("controlplane", "init")

    @property
    def hostname(self) -> str:
        """The host name that is written down, or nothing when the machine chooses it itself."""
        named = next((each for each in self.documents if each.get("kind") == "HostnameConfig"), {})
        return str(named.get("hostname") or (self.machine.get("network") or {}).get("hostname") or "")

    @property
    def token(self) -> str:
        """The token with which machines of a cluster trust each other."""
        return str(self.machine.get("token", ""))

    @property
    def os_ca(self) -> str:
        """The authority of Talos' API."""
        return _pem(self.machine, "ca", "crt")

    @property
    def os_key(self) -> str:
        """Its key; control planes only."""
        return _pem(self.machine, "ca", "key")

    @property
    def kubernetes_ca(self) -> str:
        """The authority of Kubernetes."""
        return _pem(self.cluster, "ca", "crt")

    @property
    def kubernetes_key(self) -> str:
        """Its key; control planes only."""
        return _pem(self.cluster, "ca", "key")

    @property
    def etcd_ca(self) -> str:
        """The authority of etcd."""
        return _pem(self.cluster.get("etcd") or {}, "ca", "crt")

    @property
    def cluster_id(self) -> str:
        """What all machines of a cluster share."""
        return str(self.cluster.get("id", ""))

    @property
    def cluster_secret(self) -> str:
        """The secret with which they find each other."""
        return str(self.cluster.get("secret", ""))

    @property
    def cluster_name(self) -> str:
        """The cluster's name."""
        return str(self.cluster.get("clusterName", ""))

    @property
    def endpoint(self) -> str:
        """The URL of the Kubernetes API."""
        return str((self.cluster.get("controlPlane") or {}).get("endpoint", ""))

    @property
    def cert_sans(self) -> tuple[str, ...]:
        """More names for the certificate of Talos' API."""
        return tuple(self.machine.get("certSANs") or ())

    @property
    def api_server_cert_sans(self) -> tuple[str, ...]:
        """More names for the certificate of the Kubernetes API."""
        return tuple((self.cluster.get("apiServer") or {}).get("certSANs") or ())

    @property
    def kubernetes_version(self) -> str:
        """The kubelet's version, with a leading `v`."""
        return str((self.machine.get("kubelet") or {}).get("image", "")).rpartition(":")[2]


def load(text: str) -> MachineConfig:
    """Return the configuration in a machine's user data. Raises ConfigError when Talos cannot load it."""
    try:
        documents = [each for each in yaml.load_all(text, _StrictLoader) if each is not None]
    except yaml.YAMLError as error:
        raise ConfigError(f"cannot be read: {error}") from error
    for document in documents:
        check_document(document)
    mains = [each for each in documents if "kind" not in each]
    if len(mains) != 1:
        raise ConfigError(f"{len(mains)} v1alpha1 documents")
    config = MachineConfig(tuple(documents), mains[0].get("machine") or {}, mains[0].get("cluster") or {})
    wrong = problems(config)
    if wrong:
        raise ConfigError("; ".join(wrong))
    return config


def problems(config: MachineConfig) -> list[str]:
    """Return what Talos' own validation in mode `cloud` says; nothing for a good configuration."""
    found = []
    if config.machine.get("type") not in ("controlplane", "worker", "init"):
        found.append("unknown machine type")
    if not re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", config.token):
        found.append("trustd token is not valid")
    if not config.cluster:
        return [*found, "cluster instructions are required"]
    if urlsplit(config.endpoint).scheme != "https" or not urlsplit(config.endpoint).hostname:
        found.append("cluster.controlPlane.endpoint is required")
    for name, value in (("machine.ca", config.os_ca), ("cluster.ca", config.kubernetes_ca)):
        if "BEGIN CERTIFICATE" not in value:
            found.append(f"{name} is required")
    if config.is_control_plane and not (config.os_key and config.kubernetes_key and config.etcd_ca):
        found.append("issuing CA keys are required for a control plane machine")
    found += _hostname_problems(config)
    network = config.cluster.get("network") or {}
    for name in ("podSubnets", "serviceSubnets"):
        found += [
            f"cluster.network.{name}: {each} is not a network"
            for each in network.get(name) or ()
            if not _is_network(each)
        ]
    return found


def _hostname_problems(config: MachineConfig) -> list[str]:
    """Return what is wrong with how the machine is named; two ways at once are refused."""
    documents = [each for each in config.documents if each.get("kind") == "HostnameConfig"]
    if documents and (config.machine.get("network") or {}).get("hostname"):
        return ["static hostname is already set in v1alpha1 config"]
    if any(each.get("hostname") and each.get("auto", "off") != "off" for each in documents):
        return ["'auto' and 'hostname' cannot be set at the same time"]
    return []


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _pem(section: Document, name: str, part: str) -> str:
    try:
        return base64.b64decode((section.get(name) or {}).get(part) or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, as Talos does."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    doubled = {key for key in keys if keys.count(key) > 1}
    if doubled:
        raise ConfigError(f"mapping key {sorted(map(str, doubled))[0]!r} already defined")
    return dict(loader.construct_pairs(node, deep=True))


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)
