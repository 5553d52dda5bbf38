"""What can be wrong between the settings of one cluster file, each of which is right by itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network
from typing import Any

from tallship import bounded, versions
from tallship.spec import patches, pools
from tallship.spec.models import Spec
from tallship.spec.names import SERVER_NAME_LIMIT
from tallship.spec.server_types import architecture_of, check_server_type
from tallship.spec.values import PRIVATE_NETWORKS, is_vast
from tallship.versions import Problem

LINK_DOCUMENTS = {
    *("LinkConfig", "DHCPv4Config", "DHCPv6Config", "VLANConfig", "BondConfig", "BridgeConfig"),
    *("DummyLinkConfig", "WireguardConfig"),
}
"""Talos 1.12: any of these switches off the DHCP that links have by default."""

HOSTNAME_IS_OURS = "the host name is the server's name, else the node is never matched with its server"


def check(spec: Spec) -> list[Problem]:
    """Return every problem between the settings of a spec."""
    return [
        *_check_name(spec),
        *_check_servers(spec),
        *pools.check(spec),
        *_check_networks(spec),
        *_check_patches(spec),
        *_check_sources(spec),
        *_check_firewall(spec),
        *_check_backup(spec),
        *versions.check(
            versions.Choice(
                talos=spec.talos.version,
                kubernetes=spec.kubernetes.version,
                cilium=spec.addons.cilium.version,
                hcloud_ccm=spec.addons.hcloud_ccm.version,
                talos_ccm=spec.addons.talos_ccm.version,
            )
        ),
    ]


def _check_name(spec: Spec) -> Iterator[Problem]:
    example = spec.names.longest_server
    if (excess := len(example) - SERVER_NAME_LIMIT) > 0:
        message = f"makes servers named like `{example}`, which is longer than {SERVER_NAME_LIMIT} characters"
        yield Problem(("name",), message, f"shorten it by {excess}, to at most {len(spec.name) - excess} characters")


def _check_servers(spec: Spec) -> Iterator[Problem]:
    plane = spec.control_plane
    if plane.replicas % 2 == 0:
        hint = f"{plane.replicas} fail as early as {plane.replicas - 1}: write an odd number"
        yield Problem(("control_plane", "replicas"), f"etcd needs an odd number of servers, not {plane.replicas}", hint)
    yield from check_server_type(("control_plane", "server_type"), plane.server_type, spec.hetzner.location)
    for index, fallback in enumerate(plane.fallback_types):
        path = ("control_plane", "fallback_types", index)
        yield from check_server_type(path, fallback, spec.hetzner.location)
        if architecture_of(fallback) != plane.architecture:
            message = f"`{fallback}` has {architecture_of(fallback)} processors, `{plane.server_type}` has others"
            yield Problem(path, message, "the servers of a control plane boot from one image")
        if fallback in plane.types[: index + 1]:
            yield Problem(path, f"`{fallback}` is named before", "leave it out")
    if spec.architecture != plane.architecture:
        message = f"`{plane.server_type}` has {plane.architecture} processors and cannot boot {spec.architecture}"
        yield Problem(("image", "architecture"), message, "leave it out: it follows the server type")


def _check_networks(spec: Spec) -> Iterator[Problem]:
    network = spec.network
    ranges = {
        "control_plane_subnet": IPv4Network(network.control_plane_subnet),
        "pods": IPv4Network(network.pods),
        "services": IPv4Network(network.services),
    }
    whole = IPv4Network(network.cidr)
    yield from _check_whole(whole)
    for key, why in (
        ("control_plane_subnet", "a subnet lies inside its network"),
        ("pods", "Hetzner's DHCP routes only the network's own range to the servers"),
    ):
        if not ranges[key].subnet_of(whole):
            message = f"{ranges[key]}{_default_note(spec, key)} is not inside `network.cidr` {whole}"
            yield Problem(("network", key), message, why)
    for one, other in itertools.combinations(ranges, 2):
        if ranges[one].overlaps(ranges[other]):
            message = f"{ranges[other]}{_default_note(spec, other)} overlaps `network.{one}` {ranges[one]}"
            yield Problem(("network", other), message, "the three ranges inside the network must be apart")
    yield from _check_sizes(spec, ranges)


def _default_note(spec: Spec, key: str) -> str:
    return "" if key in spec.network.model_fields_set else " (the default)"


def _check_whole(whole: IPv4Network) -> Iterator[Problem]:
    if not any(whole.subnet_of(IPv4Network(private)) for private in PRIVATE_NETWORKS):
        yield Problem(("network", "cidr"), f"{whole} is not private", f"Hetzner takes {', '.join(PRIVATE_NETWORKS)}")
    if whole.prefixlen > 24:
        yield Problem(("network", "cidr"), f"{whole} is smaller than Hetzner takes", "/24 is the smallest")


def _check_sizes(spec: Spec, ranges: dict[str, IPv4Network]) -> Iterator[Problem]:
    servers = pools.most_servers(spec)
    subnet, pod_range, services = ranges.values()
    # Hetzner keeps the first two and the last address; the load balancer takes one more.
    if subnet.num_addresses < servers + 4:
        message = f"{subnet} has no room for {servers} servers and the load balancer"
        yield Problem(("network", "control_plane_subnet"), message, "an update adds one server before it removes one")
    # The CCM gives every node a /24 of the pods' range.
    if pod_range.prefixlen > 24 or 2 ** (24 - pod_range.prefixlen) < servers:
        message = f"{pod_range} has no room for {servers} nodes, each of which gets a /24"
        yield Problem(("network", "pods"), message, "a /20 is enough for 16 nodes")
    if not 12 <= services.prefixlen <= 28:
        message = f"{services} is not a range that the Kubernetes API server takes"
        yield Problem(("network", "services"), message, "/12 is the largest, /28 the smallest that is of use")


def _check_sources(spec: Spec) -> Iterator[Problem]:
    hetzner, management = spec.hetzner, spec.management
    if hetzner.token_file and hetzner.token_command:
        yield Problem(
            ("hetzner", "token_command"), "the token comes from `token_file` or from this", "keep one of both"
        )
    if management.mode == "kubeconfig" and not management.kubeconfig:
        yield Problem(("management", "kubeconfig"), "mode `kubeconfig` needs the path of one", "add `kubeconfig: PATH`")
    if management.mode != "kubeconfig":
        for key in ("kubeconfig", "context"):
            if getattr(management, key):
                message = f"mode `{management.mode}` uses a cluster of its own"
                yield Problem(("management", key), message, "write `mode: kubeconfig`, or leave this out")
    masquerade = spec.addons.cilium.values.get("bpf")
    if isinstance(masquerade, dict) and masquerade.get("masquerade") and not masquerade.get("hostLegacyRouting"):
        message = "`bpf.masquerade` cuts CoreDNS off from Talos' host DNS"
        hint = "add `hostLegacyRouting: true` beside it, or leave it out (siderolabs/talos #8836)"
        yield Problem(("addons", "cilium", "values", "bpf"), message, hint)


def _check_firewall(spec: Spec) -> Iterator[Problem]:
    """After a pivot the load balancer and the admin networks are the only ways to the Talos API."""
    firewall = spec.firewall
    if not spec.load_balancer.talos_api:
        if not firewall.admin_networks:
            message = "after a pivot nobody can reach the Talos API: the load balancer does not lead there"
            hint = "name the networks that may, in `firewall.admin_networks`"
            yield Problem(("load_balancer", "talos_api"), message, hint)
        elif not firewall.talos_api:
            message = "after a pivot nobody can reach the Talos API: the load balancer does not lead there either"
            yield Problem(("firewall", "talos_api"), message, "leave it out, or one of the two", fatal=False)
    for index, network in enumerate(firewall.admin_networks):
        if is_vast(network):
            message = f"`{network}` opens the servers to much of the internet"
            yield Problem(("firewall", "admin_networks", index), message, "name smaller networks", fatal=False)
    egress = spec.management.egress_cidr
    if egress is not None and is_vast(egress):
        message = f"`{egress}` opens the Talos API to much of the internet"
        yield Problem(("management", "egress_cidr"), message, "name a smaller network", fatal=False)
    if firewall.talos and egress is None:
        message = "Talos' own firewall leaves port 50000 to Hetzner's: nobody knows from where Cluster API dials"
        hint = "`management.egress_cidr` names a fixed network"
        yield Problem(("firewall", "talos"), message, hint, fatal=False)


def _check_backup(spec: Spec) -> Iterator[Problem]:
    storage = spec.backup.s3
    if storage is None:
        return
    if not spec.backup.recipients:
        message = "every secret of the cluster would leave this machine in clear"
        yield Problem(("backup", "s3"), message, "`backup.recipients` names who can read backups")
    if storage.credentials_file is not None and storage.credentials_command is not None:
        yield Problem(("backup", "s3", "credentials_file"), "credentials come from one place", "remove one of the two")


def _check_patches(spec: Spec) -> Iterator[Problem]:
    for index, patch in enumerate(spec.talos.patches):
        path = ("talos", "patches", index)
        try:
            documents = patches.documents(patch)
        except bounded.Unreadable as error:
            message = f"this patch cannot be read: on its line {error.line}: {error.message}"
            yield Problem(path, message, "write a strategic merge patch")
            continue
        if not any(documents):
            yield Problem(path, "an empty patch is read as a JSON patch, which fails", "remove it")
        for document in filter(None, documents):
            yield from _check_patch(path, document)
        if spec.workers and patches.is_of_control_planes(patch):
            message = "is given to the control planes alone: workers cannot be told all of it"
            yield Problem(path, message, "what workers should have too goes into a patch of its own", fatal=False)


def _check_patch(path: Sequence[str | int], document: Any) -> Iterator[Problem]:
    where = tuple(path)
    if isinstance(document, list):
        hint = "write a strategic merge patch: a mapping with the keys that change"
        yield Problem(where, "JSON patches do not work with Talos 1.12 and later", hint)
        return
    if not isinstance(document, dict):
        yield Problem(where, "a patch is a mapping", "write the keys that change, like `machine:` or `cluster:`")
        return
    machine = document.get("machine")
    network = machine.get("network") if isinstance(machine, dict) else None
    if isinstance(network, dict) and "hostname" in network:
        yield Problem(where, "`machine.network.hostname` cannot be set here", HOSTNAME_IS_OURS)
    if document.get("kind") == "HostnameConfig":
        yield Problem(where, "a HostnameConfig cannot be given here", HOSTNAME_IS_OURS)
    if document.get("kind") in LINK_DOCUMENTS:
        message = f"a {document['kind']} switches DHCP off for every link without a document of its own"
        yield Problem(where, message, "give the private link a DHCPv4Config too", fatal=False)
    if _deletes(document):
        message = "`$patch: delete` stops the bootstrap provider when a section above it is absent"
        yield Problem(where, message, "set the value instead; siderolabs/talos eb8480c4c tells more")


def _deletes(value: Any) -> bool:
    if isinstance(value, dict):
        return value.get("$patch") == "delete" or any(map(_deletes, value.values()))
    return isinstance(value, list) and any(map(_deletes, value))
