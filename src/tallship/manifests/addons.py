"""The values of the Helm charts; those of the cluster file win over ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tallship.manifests.yaml_text import dump
from tallship.spec import Spec
from tallship.spec.models import Addon
from tallship.spec.names import CCM_SECRET

Values = dict[str, Any]

KUBEPRISM_PORT = 7445
"""Talos' own load balancer for the API servers, on every machine's localhost."""

PRIVATE_NETWORK_MTU = 1450
"""Hetzner's private networks."""

_NOT_READY = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"}

_AGENT_CAPABILITIES = [
    "CHOWN",
    "KILL",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "SYS_ADMIN",
    "SYS_RESOURCE",
    "DAC_OVERRIDE",
    "FOWNER",
    "SETGID",
    "SETUID",
]
"""What Cilium's chart asks for without SYS_MODULE, which Talos gives to nobody."""


def cilium(spec: Spec) -> Values:
    """Return Cilium in kube-proxy's place, with Hubble; Hetzner's network routes the pods' addresses."""
    return {
        "ipam": {"mode": "kubernetes"},
        "kubeProxyReplacement": True,
        "k8sServiceHost": "localhost",
        "k8sServicePort": KUBEPRISM_PORT,
        "routingMode": "native",
        "ipv4NativeRoutingCIDR": spec.network.pods,
        "MTU": PRIVATE_NETWORK_MTU,
        "cgroup": {"autoMount": {"enabled": False}, "hostRoot": "/sys/fs/cgroup"},
        "securityContext": {
            "capabilities": {
                "ciliumAgent": list(_AGENT_CAPABILITIES),
                "cleanCiliumState": ["NET_ADMIN", "SYS_ADMIN", "SYS_RESOURCE"],
            }
        },
        "hubble": {"enabled": True, "relay": {"enabled": True}, "ui": {"enabled": False}},
        "operator": {"replicas": min(2, spec.control_plane.replicas)},
    }


def hcloud_ccm(spec: Spec) -> Values:
    """Return the Hetzner CCM with the private network: node addresses, routes, load balancers for Services."""
    return {
        "env": {
            "HCLOUD_TOKEN": _from_secret("token"),
            "HCLOUD_LOAD_BALANCERS_LOCATION": {"value": spec.hetzner.location},
            "HCLOUD_LOAD_BALANCERS_USE_PRIVATE_IP": {"value": "true"},
            "HCLOUD_LOAD_BALANCERS_DISABLE_PRIVATE_INGRESS": {"value": "true"},
        },
        "networking": {"enabled": True, "clusterCIDR": spec.network.pods, "network": _from_secret("network")},
        "additionalTolerations": [dict(_NOT_READY)],
    }


def talos_ccm(spec: Spec) -> Values:
    """Return the Talos CCM, which approves the kubelets' serving certificates and does nothing else."""
    return {"enabledControllers": ["node-csr-approval"]}


def _from_secret(key: str) -> Values:
    return {"valueFrom": {"secretKeyRef": {"name": CCM_SECRET, "key": key}}}


_OWN = {"cilium": cilium, "hcloud-ccm": hcloud_ccm, "talos-ccm": talos_ccm}


def addon(component: str, spec: Spec) -> Addon:
    """Return what the cluster file says about an add-on: its version and values."""
    return {"cilium": spec.addons.cilium, "hcloud-ccm": spec.addons.hcloud_ccm, "talos-ccm": spec.addons.talos_ccm}[
        component
    ]


def values(component: str, spec: Spec) -> Values:
    """Return the values of `cilium`, `hcloud-ccm` or `talos-ccm`."""
    return merged(_OWN[component](spec), addon(component, spec).values)


def cilium_image(spec: Spec) -> str:
    """Return the image of Cilium's agent, as the chart puts it together; its digest is left out."""
    image = values("cilium", spec).get("image") or {}
    repository = image.get("repository", "quay.io/cilium/cilium")
    return str(image.get("override") or f"{repository}:{image.get('tag') or f'v{spec.addons.cilium.version}'}")


def merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Values:
    """Return both as one, as Helm merges values: mappings by key, everything else as a whole, `theirs` first."""
    result = dict(ours)
    for key, value in theirs.items():
        own = result.get(key)
        result[key] = merged(own, value) if isinstance(own, Mapping) and isinstance(value, Mapping) else value
    return result


_COMMENTS: dict[str, dict[tuple[str | int, ...], str]] = {
    "cilium": {
        ("k8sServiceHost",): "KubePrism: Talos' own way to the API servers on every machine.",
        ("ipv4NativeRoutingCIDR",): (
            "The pods' range alone: traffic to the rest of the private network leaves with the node's address, else\n"
            "Hetzner drops it."
        ),
        ("MTU",): "Of Hetzner's private networks.",
        ("securityContext",): "Without SYS_MODULE, which Talos gives to nobody.",
    },
    "hcloud-ccm": {
        ("networking",): "Private node addresses and routes for the pods; it also puts the CCM on the host's network.",
        ("additionalTolerations",): "It starts before there is a pod network: nodes are ready only with it.",
    },
    "talos-ccm": {
        ("enabledControllers",): "Nothing else: the Hetzner CCM knows the nodes' addresses and provider IDs.",
    },
}


def text(component: str, spec: Spec) -> str:
    """Return the values file of an add-on, with comments for its reader."""
    return dump(values(component, spec), _COMMENTS[component])
