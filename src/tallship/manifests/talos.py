"""The machines' configuration: strategic merge patches over what Cluster API generates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tallship.manifests import firewall_talos
from tallship.manifests.yaml_text import dump
from tallship.spec import Spec
from tallship.spec.models import Oidc
from tallship.spec.patches import is_of_control_planes
from tallship.spec.pools import Pool

EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
"""Talos puts it on control planes; with it a load balancer of a Service would have no targets."""

Patch = dict[str, Any]

_HOST_DNS = {"enabled": True, "resolveMemberNames": True}

WITHOUT_DHCP_PATCH = """\
Never JSON patches: they do not work with Talos 1.12 and later.
Both interfaces, public (eth0) and private (eth1), get their addresses by DHCP, and no patch says so: Talos runs
DHCP on every physical link that no configuration names. Naming eth0 and eth1 would be a guess, since without
a public interface eth0 is the private one; and one document about any link switches the default off for all
the others since Talos 1.12, whereupon the private one has no address."""
"""Which way was taken to DHCP, and why; for the reader of the patches."""


def patches(spec: Spec, load_balancer_ip: str) -> list[str]:
    """Return the strategic merge patches of the control plane, ours first; never empty."""
    own = [dump(patch) for _, patch in _patches(spec, load_balancer_ip)]
    return own + [patch if isinstance(patch, str) else dump(patch) for patch in spec.talos.patches]


def worker_patches(spec: Spec, pool: Pool) -> list[str]:
    """Return the strategic merge patches of a pool's servers, ours first; never empty.

    `talos.patches` of the cluster file follow, but for those that only control planes may be told.
    """
    own = [dump(patch) for _, patch in _worker_patches(spec, pool)]
    return own + [patch if isinstance(patch, str) else dump(patch) for patch in _for_workers(spec)]


def worker_comments(spec: Spec, pool: Pool) -> list[str]:
    """Return for each patch of a pool's servers what its reader needs to know."""
    own = [comment for comment, _ in _worker_patches(spec, pool)]
    return own + ["From `talos.patches` of the cluster file."] * len(_for_workers(spec))


def _for_workers(spec: Spec) -> list[str | dict[str, Any]]:
    return [patch for patch in spec.talos.patches if not is_of_control_planes(patch)]


def comments(spec: Spec) -> list[str]:
    """Return for each patch what its reader needs to know."""
    own = [comment for comment, _ in _patches(spec, "")]
    return own + ["From `talos.patches` of the cluster file."] * len(spec.talos.patches)


def _patches(spec: Spec, load_balancer_ip: str) -> Iterator[tuple[str, Patch]]:
    yield (
        "The load balancer's address, so that talosctl reaches the Talos API through it.",
        {"machine": {"certSANs": [load_balancer_ip]}},
    )
    yield (
        "The kubelet waits for the CCM, asks for its serving certificate, and has the private address.",
        {"machine": {"kubelet": _kubelet(spec)}},
    )
    yield (
        "Names of the cluster's members resolve on the host; pods in kube-system may read the Talos API (Talos CCM).",
        {"machine": {"features": _features()}},
    )
    yield (
        "Control planes carry everything: pods run on them, and load balancers of Services lead to them.\n"
        "Talos always generates this label. Deleting what may be absent makes machinery v1.12.0 panic.",
        {
            "machine": {"nodeLabels": {EXCLUDE_LABEL: {"$patch": "delete"}}},
            "cluster": {"allowSchedulingOnControlPlanes": True},
        },
    )
    yield "Cilium is the network and takes kube-proxy's place; it is installed when the API answers.", _network(spec)
    yield (
        "The Hetzner CCM initialises nodes; etcd's members reach each other through the private network.",
        {
            "cluster": {
                "externalCloudProvider": {"enabled": True},
                "etcd": {"advertisedSubnets": [spec.network.control_plane_subnet]},
            }
        },
    )
    if spec.oidc:
        yield "People log in through OpenID Connect.", {"cluster": {"apiServer": {"extraArgs": _arguments(spec.oidc)}}}
    if spec.extra_manifests:
        yield "Applied by Talos when the cluster is made.", {"cluster": {"extraManifests": list(spec.extra_manifests)}}
    if spec.firewall.talos:
        about = "Talos' own firewall: a port that no rule names is closed, on the private network too."
        yield from ((about, document) for document in firewall_talos.documents(spec))


def _worker_patches(spec: Spec, pool: Pool) -> Iterator[tuple[str, Patch]]:
    yield (
        "The kubelet waits for the CCM, asks for its serving certificate, and has the private address.",
        {"machine": {"kubelet": _kubelet(spec)}},
    )
    yield "Names of the cluster's members resolve on the host.", {"machine": {"features": {"hostDNS": _HOST_DNS}}}
    yield "The Hetzner CCM initialises nodes.", {"cluster": {"externalCloudProvider": {"enabled": True}}}
    if pool.node_labels:
        yield "The pool's labels.", {"machine": {"nodeLabels": pool.node_labels}}
    if pool.taints:
        # siderolabs/talos #10935: `machine.nodeTaints` does nothing on a worker.
        taints = [{key: value for key, value in taint.model_dump().items() if value} for taint in pool.taints]
        yield (
            "The pool's taints. A worker's kubelet may set them when it registers its node, and never after.",
            {"machine": {"kubelet": {"extraConfig": {"registerWithTaints": taints}}}},
        )
    if spec.firewall.talos:
        about = "Talos' own firewall: a port that no rule names is closed, on the private network too."
        yield from ((about, document) for document in firewall_talos.worker_documents(spec))


def _kubelet(spec: Spec) -> Patch:
    return {
        "extraArgs": {"cloud-provider": "external", "rotate-server-certificates": "true"},
        # Not the whole network: the pods' range lies in it, and Talos would look for a node's address there.
        "nodeIP": {"validSubnets": [spec.network.control_plane_subnet]},
    }


def _features() -> Patch:
    return {
        "hostDNS": _HOST_DNS,
        "kubernetesTalosAPIAccess": {
            "enabled": True,
            "allowedRoles": ["os:reader"],
            "allowedKubernetesNamespaces": ["kube-system"],
        },
    }


def _network(spec: Spec) -> Patch:
    return {
        "cluster": {
            "network": {
                "cni": {"name": "none"},
                "podSubnets": [spec.network.pods],
                "serviceSubnets": [spec.network.services],
            },
            "proxy": {"disabled": True},
        }
    }


def _arguments(oidc: Oidc) -> dict[str, str]:
    given = {
        "oidc-issuer-url": oidc.issuer,
        "oidc-client-id": oidc.client_id,
        "oidc-username-claim": oidc.username_claim,
        "oidc-username-prefix": oidc.username_prefix,
        "oidc-groups-claim": oidc.groups_claim,
        "oidc-groups-prefix": oidc.groups_prefix,
    }
    return {key: value for key, value in given.items() if value}
