"""What Talos' own validation says of a configuration in mode `cloud`, by the rules of its machinery v1.12.0.

Covered are the sections that a cluster on Hetzner uses; a rule that is not here lets everything pass.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

Document = dict[str, Any]

CONTROL_PLANES = ("init", "controlplane")
WORKERS = ("worker", "join", "")
ROLES = (
    "os:admin",
    "os:etcd:backup",
    "os:image:verifier",
    "os:impersonator",
    "os:meta:writer",
    "os:operator",
    "os:reader",
)
TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
KUBELET_FIELDS = (
    "apiVersion", "authentication", "authorization", "cgroupRoot", "kind", "kubeletCgroups", "port",
    "protectKernelDefaults", "resolvConf", "rotateCertificates", "systemCgroups", "staticPodPath", "seccompDefault",
)  # fmt: skip
"""What Talos sets in the kubelet's configuration itself."""
NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
DOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
DNS_NAME = r"([a-zA-Z0-9_][a-zA-Z0-9_-]{0,62})(\.[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62})*[._]?"


def problems(documents: list[Document]) -> list[str]:
    """Return what is wrong; nothing for a good configuration."""
    found: list[str] = []
    main = next((each for each in documents if "kind" not in each), None)
    if main is not None:
        found += _main(main)
    for each in documents:
        kind = each.get("kind", "")
        whose = f"{kind}/{each.get('name', '')}" if kind in NAMED else kind
        wrong = "\n".join(DOCUMENTS[kind](each)) if kind in DOCUMENTS else ""
        found += [f"{whose}: {wrong}"] if wrong else []
    if main is not None and any(each.get("kind") == "HostnameConfig" for each in documents):
        found += _hostname_of_old(main)
    return found


def _hostname_of_old(main: Document) -> Iterator[str]:
    if _at(main, "machine", "network").get("hostname"):
        yield "static hostname is already set in v1alpha1 config"
    elif _at(main, "machine", "features").get("stableHostname"):
        yield "stable hostname is already set in v1alpha1 config"


def _main(document: Document) -> list[str]:
    machine, cluster = document.get("machine"), document.get("cluster")
    if machine is None:
        return ["machine instructions are required"]
    kind = machine.get("type", "")
    is_control_plane = kind in CONTROL_PLANES
    found = list(_cluster(cluster, is_control_plane)) if cluster else ["cluster instructions are required"]
    if kind not in CONTROL_PLANES + WORKERS:
        found.append(f'unknown machine type "{kind}"')
    if document.get("persist") is False:
        found.append(".persist should be enabled")
    if is_control_plane:
        found += [*_authority_of_control_plane(machine), *_cni(_at(cluster or {}, "network", "cni"))]
    elif kind in WORKERS:
        found += _authority_of_worker(machine, cluster or {})
    return [*found, *_trust(machine), *_machine(machine, is_control_plane)]


def _trust(machine: Document) -> Iterator[str]:
    if not machine.get("ca") and not machine.get("acceptedCAs"):
        yield "issuing CA or some accepted CAs are required (.machine.ca, machine.acceptedCAs)"


def _authority_of_control_plane(machine: Document) -> Iterator[str]:
    if not machine.get("ca"):
        yield "issuing CA is required (.machine.ca)"
    elif not machine["ca"].get("key"):
        yield "issuing CA key is required for controlplane nodes (.machine.ca.key)"


def _authority_of_worker(machine: Document, cluster: Document) -> Iterator[str]:
    if _at(machine, "ca").get("key"):
        yield "issuing Talos API CA key is not allowed on non-controlplane nodes (.machine.ca)"
    if machine.get("ca") and not machine["ca"].get("crt") and not machine.get("acceptedCAs"):
        yield "trusted CA certificates are required on non-controlplane nodes (.machine.ca.crt, .machine.acceptedCAs)"
    if _at(cluster, "ca").get("key"):
        yield "issuing Kubernetes API CA key is not allowed on non-controlplane nodes (.cluster.ca)"


def _machine(machine: Document, is_control_plane: bool) -> Iterator[str]:
    for subnet in _at(machine, "kubelet", "nodeIP").get("validSubnets") or ():
        if not _is_subnet(subnet):
            yield f'kubelet nodeIP subnet is not valid: "{subnet}"'
    for name in _at(machine, "kubelet").get("extraConfig") or ():
        if name in KUBELET_FIELDS:
            yield f'kubelet configuration field "{name}" can\'t be overridden'
    for name, value in (machine.get("nodeLabels") or {}).items():
        yield from _name(name)
        if value and not re.fullmatch(NAME, value):
            yield f'label value "{value}" is invalid'
    for name in machine.get("nodeAnnotations") or ():
        yield from _name(name)
    for name, taint in (machine.get("nodeTaints") or {}).items():
        yield from _name(name)
        if taint.rpartition(":")[2] not in TAINT_EFFECTS:
            yield f'invalid taint effect: "{taint.rpartition(":")[2]}"'
    access = _at(machine, "features", "kubernetesTalosAPIAccess")
    if access.get("enabled"):
        if not is_control_plane:
            yield "feature Kubernetes Talos API Access can only be enabled on control plane machines"
        for role in access.get("allowedRoles") or ():
            if role not in ROLES:
                yield f'invalid role "{role}" in allowed roles for Kubernetes Talos API Access'
    for interface in _at(machine, "network").get("interfaces") or ():
        yield from _interface(interface)


def _interface(interface: Document) -> Iterator[str]:
    if interface.get("ignore"):
        return
    names = [name for name in ("interface", "deviceSelector") if interface.get(name)]
    if len(names) != 1:
        reason = "config sections are mutually exclusive" if names else "required either config section to be set"
        yield f"[networking.os.device.interface], [networking.os.device.deviceSelector]: {reason}"
    for address in interface.get("addresses") or ():
        if not _is_subnet(address):
            yield f'[networking.os.device.addresses] "{interface.get("interface", "")}": failed to parse IP address'


def _cluster(cluster: Document, is_control_plane: bool) -> Iterator[str]:
    endpoint = _at(cluster, "controlPlane").get("endpoint")
    if endpoint is None:
        yield "cluster controlplane endpoint is required"
        return
    if problem := _endpoint_problem(endpoint):
        yield f"invalid controlplane endpoint: {problem}"
    domain = _at(cluster, "network").get("dnsDomain")
    if domain and not re.fullmatch(DNS_NAME, domain):
        yield f'"{domain}" is not a valid DNS name'
    if cluster.get("etcd") is not None:
        yield from (
            _etcd(cluster["etcd"]) if is_control_plane else ("etcd config is only allowed on control plane machines",)
        )
    if _at(cluster, "ca").get("key") and not is_control_plane:
        yield "cluster CA key is not allowed on non-controlplane nodes (.cluster.ca)"
    yield from _external_cloud(_at(cluster, "externalCloudProvider"))
    yield from _inline_manifests(cluster.get("inlineManifests") or [])
    discovery = cluster.get("discovery")
    if discovery and discovery.get("enabled") and not _at(discovery, "registries", "service").get("disabled"):
        for name in ("id", "secret"):
            if not cluster.get(name):
                yield f"cluster discovery service requires .cluster.{name}"


def _etcd(etcd: Document) -> Iterator[str]:
    if not etcd.get("ca"):
        yield "key/cert combination should not be empty"
    for subnet in etcd.get("advertisedSubnets") or ():
        if not _is_subnet(subnet):
            yield f'etcd advertised subnet is not valid: "{subnet}"'


def _external_cloud(provider: Document) -> Iterator[str]:
    if provider.get("manifests") and not provider.get("enabled"):
        yield "external cloud provider is disabled, but manifests are provided"
        return
    for manifest in provider.get("manifests") or ():
        if problem := _endpoint_problem(manifest):
            yield f'invalid external cloud provider manifest url "{manifest}": {problem}'


def _inline_manifests(manifests: list[Document]) -> Iterator[str]:
    names = [each.get("name", "") for each in manifests]
    for name in dict.fromkeys(names):
        if not name.strip():
            yield "inline manifest name can't be empty"
        if names.count(name) > 1:
            yield f'inline manifest name "{name}" is duplicate'


def _cni(cni: Document) -> Iterator[str]:
    name = cni.get("name") or "flannel"
    if name not in ("flannel", "custom", "none"):
        yield 'cni name should be one of ["flannel", "custom", "none"]'
    elif name != "custom" and cni.get("urls"):
        yield f'"urls" field should be empty for "{name}" CNI'


def _hostname(document: Document) -> Iterator[str]:
    auto, hostname = document.get("auto") or "off", document.get("hostname", "")
    if auto == "off" and not hostname:
        yield "either 'auto' or 'hostname' must be set"
    if auto != "off" and hostname:
        yield "'auto' and 'hostname' cannot be set at the same time"
    if auto == "talos-addr":
        yield "invalid value for 'auto': talos-addr"
    if hostname and not 0 < len(hostname.partition(".")[0]) < 64:
        yield f'invalid hostname "{hostname.partition(".")[0]}"'
    if len(hostname) > 253:
        yield f"fqdn is too long: {len(hostname)}"


def _rule(document: Document) -> Iterator[str]:
    if not document.get("name"):
        yield "name is required"
        return
    ports = _at(document, "portSelector").get("ports")
    if not ports:
        yield "portSelector.ports is required"
        return
    ranges = sorted((int(low), int(high or low)) for low, _, high in (str(each).partition("-") for each in ports))
    for number, (low, high) in enumerate(ranges):
        if low > high or (number and low <= ranges[number - 1][1]):
            yield f"invalid port range: {low}-{high}"
            return


def _kernel_log(document: Document) -> Iterator[str]:
    url = urlsplit(document.get("url") or "")
    if not document.get("name"):
        yield "name is required"
    elif not document.get("url"):
        yield "url is required"
    elif url.scheme not in ("tcp", "udp"):
        yield "url scheme must be tcp:// or udp://"
    elif url.path not in ("", "/"):
        yield "url path must be empty"
    elif not url.port:
        yield "url port is required"


DOCUMENTS = {"HostnameConfig": _hostname, "NetworkRuleConfig": _rule, "KmsgLogConfig": _kernel_log}
NAMED = ("NetworkRuleConfig", "KmsgLogConfig")


def _name(text: str) -> Iterator[str]:
    prefix, slash, name = text.partition("/")
    if not slash:
        prefix, name = "", text
    if "/" in name:
        yield f'invalid format: too many slashes: "{text}"'
    elif slash and not prefix:
        yield f'prefix cannot be empty: "{text}"'
    elif prefix and not re.fullmatch(DOMAIN, prefix):
        yield f'prefix "{prefix}" is invalid'
    elif not re.fullmatch(NAME, name):
        yield f'name "{name}" is invalid'


def _endpoint_problem(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return str(error)
    if not parts.hostname:
        return "hostname must not be blank"
    return "invalid port number" if port == 0 else ""


def _is_subnet(text: str) -> bool:
    try:
        ipaddress.ip_interface(text.removeprefix("!"))
    except ValueError:
        return False
    return True


def _at(value: Document, *path: str) -> Document:
    """Return the section at a path, empty when it is not there."""
    for name in path:
        value = value.get(name) or {}
    return value
