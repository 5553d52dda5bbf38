"""Three control planes on Hetzner, as documents and values: data for tests of the lab that need no tallship."""

from __future__ import annotations

from typing import Any

IMAGE_NAME = "talos-v1.12.2-amd64"

PATCH = """\
machine:
  kubelet:
    extraArgs:
      rotate-server-certificates: "true"
    nodeIP:
      validSubnets:
        - 10.10.64.0/25
  nodeLabels:
    node.kubernetes.io/exclude-from-external-load-balancers:
      $patch: delete
  features:
    kubernetesTalosAPIAccess:
      enabled: true
      allowedRoles:
        - os:reader
      allowedKubernetesNamespaces:
        - kube-system
cluster:
  allowSchedulingOnControlPlanes: true
  externalCloudProvider:
    enabled: true
  network:
    cni:
      name: none
  proxy:
    disabled: true
  etcd:
    advertisedSubnets:
      - 10.10.64.0/25
"""

PROVIDERS = (
    ("--core", "cluster-api:v1.10.10"),
    ("--bootstrap", "talos:v0.6.11"),
    ("--control-plane", "talos:v0.5.12"),
    ("--infrastructure", "hetzner:v1.0.7"),
)


def documents(token: str) -> list[dict[str, Any]]:
    """Return the cluster's objects in the order in which they are applied."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": _named("hetzner"),
            "type": "Opaque",
            "stringData": {"hcloud": token},
        },
        _document(
            "cluster.x-k8s.io/v1beta1",
            "Cluster",
            "k8s",
            {
                "clusterNetwork": {
                    "pods": {"cidrBlocks": ["10.10.128.0/17"]},
                    "services": {"cidrBlocks": ["10.96.0.0/12"]},
                    "serviceDomain": "cluster.local",
                },
                "infrastructureRef": _reference("infrastructure.cluster.x-k8s.io/v1beta1", "HetznerCluster", "k8s"),
                "controlPlaneRef": _reference(
                    "controlplane.cluster.x-k8s.io/v1alpha3", "TalosControlPlane", "k8s-control-plane"
                ),
            },
        ),
        _document(
            "infrastructure.cluster.x-k8s.io/v1beta1",
            "HetznerCluster",
            "k8s",
            {
                "controlPlaneRegions": ["nbg1"],
                "controlPlaneEndpoint": {"host": "", "port": 6443},
                "controlPlaneLoadBalancer": {
                    "enabled": True,
                    "region": "nbg1",
                    "type": "lb11",
                    "algorithm": "round_robin",
                    "port": 6443,
                    "extraServices": [{"protocol": "tcp", "listenPort": 50000, "destinationPort": 50000}],
                },
                "hcloudNetwork": {
                    "enabled": True,
                    "cidrBlock": "10.10.0.0/16",
                    "subnetCidrBlock": "10.10.64.0/25",
                    "networkZone": "eu-central",
                },
                "hcloudPlacementGroups": [{"name": "control-plane", "type": "spread"}],
                "sshKeys": {"hcloud": []},
                "hetznerSecretRef": {"name": "hetzner", "key": {"hcloudToken": "hcloud"}},
            },
        ),
        _document(
            "infrastructure.cluster.x-k8s.io/v1beta1",
            "HCloudMachineTemplate",
            "k8s-control-plane",
            {
                "template": {
                    "spec": {
                        "type": "cx33",
                        "imageName": IMAGE_NAME,
                        "placementGroupName": "control-plane",
                        "publicNetwork": {"enableIPv4": True, "enableIPv6": False},
                    }
                }
            },
        ),
        _document(
            "controlplane.cluster.x-k8s.io/v1alpha3",
            "TalosControlPlane",
            "k8s-control-plane",
            {
                "replicas": 3,
                "version": "v1.32.2",
                "infrastructureTemplate": _reference(
                    "infrastructure.cluster.x-k8s.io/v1beta1", "HCloudMachineTemplate", "k8s-control-plane"
                )
                | {"namespace": "default"},
                "rolloutStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
                "controlPlaneConfig": {
                    "controlplane": {
                        "generateType": "controlplane",
                        "talosVersion": "v1.12.2",
                        "hostname": {"source": "InfrastructureName"},
                        "strategicPatches": [PATCH],
                    }
                },
            },
        ),
    ]


CILIUM: dict[str, Any] = {
    "ipam": {"mode": "kubernetes"},
    "kubeProxyReplacement": True,
    "k8sServiceHost": "localhost",
    "k8sServicePort": 7445,
    "routingMode": "native",
    "ipv4NativeRoutingCIDR": "10.10.128.0/17",
    "cgroup": {"autoMount": {"enabled": False}, "hostRoot": "/sys/fs/cgroup"},
    "securityContext": {
        "capabilities": {
            "ciliumAgent": ["CHOWN", "KILL", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "SYS_ADMIN", "SYS_RESOURCE"],
            "cleanCiliumState": ["NET_ADMIN", "SYS_ADMIN", "SYS_RESOURCE"],
        }
    },
    "hubble": {"enabled": True, "relay": {"enabled": True}, "ui": {"enabled": False}},
    "operator": {"replicas": 1},
}

HCLOUD_CCM: dict[str, Any] = {
    "env": {
        "HCLOUD_TOKEN": {"valueFrom": {"secretKeyRef": {"name": "hcloud", "key": "token"}}},
        "HCLOUD_LOAD_BALANCERS_LOCATION": {"value": "nbg1"},
    },
    "networking": {
        "enabled": True,
        "clusterCIDR": "10.10.128.0/17",
        "network": {"valueFrom": {"secretKeyRef": {"name": "hcloud", "key": "network"}}},
    },
}

TALOS_CCM: dict[str, Any] = {"enabledControllers": ["node-csr-approval"]}

CHARTS: tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...] = (
    ("cilium", ("cilium", "--repo", "https://helm.cilium.io", "--version", "1.18.6"), CILIUM),
    (
        "hccm",
        ("hcloud-cloud-controller-manager", "--repo", "https://charts.hetzner.cloud", "--version", "1.29.2"),
        HCLOUD_CCM,
    ),
    (
        "talos-cloud-controller-manager",
        ("oci://ghcr.io/siderolabs/charts/talos-cloud-controller-manager", "--version", "0.5.4"),
        TALOS_CCM,
    ),
)


def _document(api_version: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": _named(name), "spec": spec}


def _named(name: str) -> dict[str, str]:
    return {"name": name, "namespace": "default"}


def _reference(api_version: str, kind: str, name: str) -> dict[str, str]:
    return {"apiVersion": api_version, "kind": kind, "name": name}
