"""The Cluster API documents of a cluster: first what stands before the servers, then the control plane itself."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tallship.manifests import image, talos
from tallship.manifests.firewall import API_PORT, TALOS_PORT
from tallship.manifests.yaml_text import Annotated, Comments
from tallship.spec import Spec
from tallship.spec.names import HETZNER_SECRET, HETZNER_SECRET_KEY, NAMESPACE

UNKNOWN_ADDRESS = "${LOAD_BALANCER_IP}"
"""Stands for the load balancer's address in rendered files until it is known."""

CLUSTER_API = "cluster.x-k8s.io/v1beta1"
INFRASTRUCTURE_API = "infrastructure.cluster.x-k8s.io/v1beta1"
CONTROL_PLANE_API = "controlplane.cluster.x-k8s.io/v1alpha3"

PLACEMENT_GROUP = "control-plane"
"""The placement group as documents name it; CAPH puts the cluster's name before it at Hetzner."""

Document = dict[str, Any]


def infrastructure(spec: Spec, load_balancer_ip: str = "") -> list[Document]:
    """Return what must stand before the servers: Cluster, HetznerCluster and HCloudMachineTemplate.

    The address is empty until CAPH has made the load balancer and written it down; given back empty after that,
    it would take the endpoint away again.
    """
    return [cluster(spec), hetzner_cluster(spec, load_balancer_ip), machine_template(spec)]


def cluster(spec: Spec) -> Document:
    """Return the Cluster."""
    return {
        "apiVersion": CLUSTER_API,
        "kind": "Cluster",
        "metadata": {"name": spec.names.cluster, "namespace": NAMESPACE},
        "spec": {
            "clusterNetwork": {
                "pods": {"cidrBlocks": [spec.network.pods]},
                "services": {"cidrBlocks": [spec.network.services]},
                "serviceDomain": "cluster.local",
            },
            "infrastructureRef": {
                "apiVersion": INFRASTRUCTURE_API,
                "kind": "HetznerCluster",
                "name": spec.names.cluster,
                "namespace": NAMESPACE,
            },
            "controlPlaneRef": {
                "apiVersion": CONTROL_PLANE_API,
                "kind": "TalosControlPlane",
                "name": spec.names.control_plane,
                "namespace": NAMESPACE,
            },
        },
    }


def hetzner_cluster(spec: Spec, load_balancer_ip: str = "") -> Document:
    """Return the HetznerCluster: network, load balancer and placement group."""
    location = spec.hetzner.location
    balancer: Document = {
        "enabled": True,
        "region": location,
        "type": spec.load_balancer.type,
        "algorithm": "round_robin",
        "port": API_PORT,
    }
    if spec.load_balancer.talos_api:
        service = {"protocol": "tcp", "listenPort": TALOS_PORT, "destinationPort": TALOS_PORT}
        balancer["extraServices"] = [service]
    return {
        "apiVersion": INFRASTRUCTURE_API,
        "kind": "HetznerCluster",
        "metadata": {"name": spec.names.cluster, "namespace": NAMESPACE},
        "spec": {
            "controlPlaneRegions": [location],
            "controlPlaneEndpoint": {"host": load_balancer_ip, "port": API_PORT},
            "controlPlaneLoadBalancer": balancer,
            "hcloudNetwork": {
                "enabled": True,
                "cidrBlock": spec.network.cidr,
                "subnetCidrBlock": spec.network.control_plane_subnet,
                "networkZone": spec.hetzner.network_zone,
            },
            "hcloudPlacementGroups": [{"name": each, "type": "spread"} for each in placement_groups(spec)],
            "sshKeys": {"hcloud": []},
            "hetznerSecretRef": {"name": HETZNER_SECRET, "key": {"hcloudToken": HETZNER_SECRET_KEY}},
        },
    }


def placement_groups(spec: Spec) -> list[str]:
    """Return the names of all placement groups as documents name them: the control plane's, and each part of a pool."""
    pools = [
        spec.names.placement_group_of(pool.name, part + 1) for pool in spec.workers for part in range(len(pool.parts))
    ]
    return [PLACEMENT_GROUP, *pools]


def machine_template(spec: Spec) -> Document:
    """Return the HCloudMachineTemplate, named after what it says."""
    return {
        "apiVersion": INFRASTRUCTURE_API,
        "kind": "HCloudMachineTemplate",
        "metadata": {"name": template_name(spec), "namespace": NAMESPACE},
        "spec": {"template": {"spec": _machine(spec)}},
    }


def _machine(spec: Spec) -> Document:
    return {
        "type": spec.control_plane.server_type,
        "imageName": image.name(spec),
        "placementGroupName": PLACEMENT_GROUP,
        "publicNetwork": {"enableIPv4": True, "enableIPv6": False},
    }


def template_name(spec: Spec) -> str:
    """Return `NAME-control-plane-HASH8`: a template cannot be changed, so another content has another name."""
    return f"{spec.names.control_plane}-{fingerprint(_machine(spec))}"


def fingerprint(content: Document) -> str:
    """Return eight characters that other content has differently."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def control_plane(spec: Spec, load_balancer_ip: str) -> Document:
    """Return the TalosControlPlane; its machines' certificates name the load balancer's address."""
    return {
        "apiVersion": CONTROL_PLANE_API,
        "kind": "TalosControlPlane",
        "metadata": {"name": spec.names.control_plane, "namespace": NAMESPACE},
        "spec": {
            "replicas": spec.control_plane.replicas,
            "version": spec.kubernetes.version,
            "infrastructureTemplate": {
                "apiVersion": INFRASTRUCTURE_API,
                "kind": "HCloudMachineTemplate",
                "name": template_name(spec),
                "namespace": NAMESPACE,
            },
            "rolloutStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "controlPlaneConfig": {
                "controlplane": {
                    "generateType": "controlplane",
                    "talosVersion": spec.talos.version,
                    "hostname": {"source": "InfrastructureName"},
                    "strategicPatches": talos.patches(spec, load_balancer_ip),
                }
            },
        },
    }


_HETZNER_CLUSTER_COMMENTS: Comments = {
    ("spec", "controlPlaneEndpoint"): (
        "Never left out: without it CAPH v1.0.7 crashes. CAPH fills in the host when the load balancer has an address."
    ),
    ("spec", "hcloudNetwork", "subnetCidrBlock"): "The servers' private addresses.",
    ("spec", "sshKeys"): "Talos has no SSH.",
    ("spec", "hetznerSecretRef", "key"): "Written out: CAPH's default is another key, `hcloud-token`.",
}
_TEMPLATE_COMMENTS: Comments = {
    (): (
        "A template cannot be changed: the name ends with a hash of what stands below. To change it, write a new one\n"
        "under another name and name that in the TalosControlPlane, which then replaces the servers one by one."
    ),
    ("spec", "template", "spec", "imageName"): "CAPH looks for a snapshot with label caph-image-name of this value.",
    ("spec", "template", "spec", "publicNetwork"): (
        "Written out: CAPH needs it. No IPv6: the kubelet would offer an address that the CCM does not know."
    ),
}


def annotated(spec: Spec, load_balancer_ip: str) -> list[Annotated]:
    """Return all documents of manifests/cluster.yaml with comments for their reader; the control plane is the last."""
    plane: dict[tuple[str | int, ...], str] = {
        (): CONTROL_PLANE_MARK + "\nA changed character in controlPlaneConfig replaces every server, one by one.",
        ("spec", "controlPlaneConfig", "controlplane", "talosVersion"): (
            "Written out: without it CABPT sets the host name twice, which Talos refuses."
        ),
        ("spec", "controlPlaneConfig", "controlplane", "hostname"): (
            "The server's name is the node's name: the Hetzner CCM, etcd and CAPH find a machine by it."
        ),
    }
    prefix = ("spec", "controlPlaneConfig", "controlplane", "strategicPatches")
    plane[prefix] = talos.WITHOUT_DHCP_PATCH
    plane |= {(*prefix, index): text for index, text in enumerate(talos.comments(spec))}
    return [
        Annotated(cluster(spec)),
        Annotated(hetzner_cluster(spec, load_balancer_ip), _HETZNER_CLUSTER_COMMENTS),
        Annotated(machine_template(spec), _TEMPLATE_COMMENTS),
        Annotated(control_plane(spec, load_balancer_ip), plane),
    ]


CONTROL_PLANE_MARK = "CONTROL PLANE: applied when the load balancer has an address, which stands in certSANs."
"""Divides manifests/cluster.yaml; the rendered Makefile applies what stands above this line first."""
