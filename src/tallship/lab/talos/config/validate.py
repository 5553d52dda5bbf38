"""A machine's configuration as the machine reads it: loaded, or refused."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from tallship.lab.talos.config.keys import ConfigError, read
from tallship.lab.talos.config.problems import problems

__all__ = ["ConfigError", "MachineConfig", "load", "parse", "problems"]

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
    """Return the configuration in a machine's user data. Raises ConfigError when a machine cannot run with it."""
    config = parse(text)
    wrong = [*problems(list(config.documents)), *_incomplete(config)]
    if wrong:
        raise ConfigError("; ".join(wrong))
    return config


def parse(text: str) -> MachineConfig:
    """Return the configuration as it stands. Raises ConfigError when Talos cannot read it."""
    documents = read(text)
    if not documents:
        raise ConfigError("config not found")
    main = next((each for each in documents if "kind" not in each), {})
    return MachineConfig(tuple(documents), main.get("machine") or {}, main.get("cluster") or {})


def _incomplete(config: MachineConfig) -> list[str]:
    """Return what Talos' validation lets pass, and a machine of a cluster cannot do without."""
    found = []
    if not config.machine:
        found.append("no v1alpha1 document")
    if not config.token:
        found.append("machine.token is required")
    if "BEGIN CERTIFICATE" not in config.kubernetes_ca:
        found.append("cluster.ca is required")
    if config.is_control_plane and not config.kubernetes_key:
        found.append("cluster.ca.key is required")
    return found


def _pem(section: Document, name: str, part: str) -> str:
    return base64.b64decode((section.get(name) or {}).get(part) or "").decode(errors="replace")
