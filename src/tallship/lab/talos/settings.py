"""PURE: what a machine takes from its user data."""

from __future__ import annotations

import base64
import binascii
import gzip
import ipaddress
import ssl
from collections.abc import Iterable
from urllib.parse import urlsplit

from tallship.lab.talos.config import pki, validate
from tallship.lab.talos.config.validate import MachineConfig
from tallship.lab.world import load_pair


def load(user_data: str) -> MachineConfig:
    """Return the configuration in the user data. Raises ConfigError when Talos could not load it."""
    try:
        return validate.load(_plain(user_data))
    except (OSError, UnicodeDecodeError) as error:
        raise validate.ConfigError(f"user data: {error}") from error


def talos_hosts(config: MachineConfig, own: Iterable[str]) -> list[str]:
    """Return the names in the Talos API's certificate. Talos v1.12: its own addresses and `machine.certSANs` only."""
    return [*own, *config.cert_sans]


def kubernetes_hosts(config: MachineConfig, own: Iterable[str]) -> list[str]:
    """Return the names in the Kubernetes API's certificate; the endpoint's host is among them."""
    network = config.cluster.get("network") or {}
    domain = network.get("dnsDomain") or "cluster.local"
    services = [str(ipaddress.ip_network(each)[1]) for each in _service_networks(config)]
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{domain}"]
    host = urlsplit(config.endpoint).hostname or "localhost"
    return [host, "localhost", "127.0.0.1", *names, *services, *config.api_server_cert_sans, *own]


def service_network(config: MachineConfig) -> str:
    """Return the network of the cluster's Service addresses."""
    return _service_networks(config)[0]


def _service_networks(config: MachineConfig) -> list[str]:
    return (config.cluster.get("network") or {}).get("serviceSubnets") or ["10.96.0.0/12"]


def etcd_address(config: MachineConfig, addresses: list[str]) -> str | None:
    """Return the address that etcd advertises: the first in `advertisedSubnets`, or None while none is there."""
    subnets = (config.cluster.get("etcd") or {}).get("advertisedSubnets") or []
    networks = [ipaddress.ip_network(each) for each in subnets]
    if not networks:
        return next(iter(addresses), None)
    return next((each for each in addresses if any(ipaddress.ip_address(each) in net for net in networks)), None)


def server_tls(ca: str, key: str, hosts: Iterable[str], clients: ssl.VerifyMode) -> ssl.SSLContext:
    """Return a serving context of the authority's for the hosts, which trusts the authority's clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair(context, *pki.issue(ca, key, hosts=tuple(hosts)))
    context.load_verify_locations(cadata=ca)
    context.verify_mode = clients
    return context


def _plain(user_data: str) -> str:
    """Return the YAML. Talos v1.12: on Hetzner it may also be base64, of plain or of gzipped YAML."""
    try:
        decoded = base64.b64decode(user_data, validate=True)
    except (binascii.Error, ValueError):
        return user_data
    return (gzip.decompress(decoded) if decoded.startswith(b"\x1f\x8b") else decoded).decode()
