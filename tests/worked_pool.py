"""A pool of worker servers beside the three control planes, as documents: data for tests that need no tallship."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

POOL = "k8s-workers"
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
    example.com/pool: workers
cluster:
  externalCloudProvider:
    enabled: true
"""

_CLUSTER_LABEL = "cluster.x-k8s.io/cluster-name"
_DEPLOYMENT_LABEL = "cluster.x-k8s.io/deployment-name"
_INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io/v1beta1"
_BOOTSTRAP = "bootstrap.cluster.x-k8s.io/v1alpha3"


def documents(
    replicas: int = 2,
    *,
    template: str = POOL,
    server_type: str = "cx33",
    patch: str = PATCH,
    group: str = "",
    version: str = "v1.32.2",
    image: str = IMAGE_NAME,
) -> list[dict[str, Any]]:
    """Return the pool's objects in the order in which they are applied.

    `template` names both templates: they never change, so another machine has templates of another name. `group` is
    a placement group of the HetznerCluster.
    """
    return [
        machine_template(template, server_type, group, image),
        config_template(template, patch),
        machine_deployment(replicas, template, version),
    ]


def machine_template(name: str, server_type: str = "cx33", group: str = "", image: str = IMAGE_NAME) -> dict[str, Any]:
    """Return what Hetzner is asked for."""
    spec: dict[str, Any] = {
        "type": server_type,
        "imageName": image,
        "publicNetwork": {"enableIPv4": True, "enableIPv6": False},
    }
    if group:
        spec["placementGroupName"] = group
    return _document(_INFRASTRUCTURE, "HCloudMachineTemplate", name, {"template": {"spec": spec}})


def config_template(name: str, patch: str = PATCH) -> dict[str, Any]:
    """Return what the machines are told."""
    spec = {
        "generateType": "worker",
        "talosVersion": "v1.12.2",
        "hostname": {"source": "InfrastructureName"},
        "strategicPatches": [patch],
    }
    return _document(_BOOTSTRAP, "TalosConfigTemplate", name, {"template": {"spec": spec}})


def machine_deployment(replicas: int, template: str = POOL, version: str = "v1.32.2") -> dict[str, Any]:
    """Return the pool itself."""
    labels = {_CLUSTER_LABEL: "k8s", _DEPLOYMENT_LABEL: POOL}
    machine = {
        "clusterName": "k8s",
        "version": version,
        "failureDomain": "nbg1",
        "bootstrap": {"configRef": _reference(_BOOTSTRAP, "TalosConfigTemplate", template)},
        "infrastructureRef": _reference(_INFRASTRUCTURE, "HCloudMachineTemplate", template),
    }
    spec = {
        "clusterName": "k8s",
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": machine},
    }
    return _document("cluster.x-k8s.io/v1beta1", "MachineDeployment", POOL, spec)


def _document(api_version: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def _reference(api_version: str, kind: str, name: str) -> dict[str, str]:
    return {"apiVersion": api_version, "kind": kind, "name": name, "namespace": "default"}


def recorded() -> dict[str, Any]:
    """Return the facts of a pool of two that Cluster API's own manager v1.10.10 has made."""
    found: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text())
    return found


def facts(objects: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return what Cluster API writes on the pool's objects, by kind, without names and times.

    All objects of a kind must be alike.
    """
    found: dict[str, Any] = {}
    for kind, items in objects.items():
        told = [_facts(each) for each in items]
        assert all(each == told[0] for each in told), (kind, told)
        found[kind] = told[0]
    same: dict[str, Any] = json.loads(json.dumps(found))
    return same


def _facts(item: dict[str, Any]) -> dict[str, Any]:
    meta, status = item["metadata"], item.get("status", {})
    owners = meta.get("ownerReferences", [])
    return {
        "labels": sorted(meta.get("labels", {})),
        "annotations": sorted(each for each in meta.get("annotations", {}) if "kubectl" not in each),
        "finalizers": meta.get("finalizers", []),
        "owners": [(each["kind"], each.get("controller", False)) for each in owners],
        "spec": sorted(item["spec"]),
        "status": sorted(status),
        "counts": {key: value for key, value in status.items() if key.endswith("Replicas") or key == "replicas"},
        "conditions": _conditions(status.get("conditions", [])),
        "v1beta2": _conditions(status.get("v1beta2", {}).get("conditions", [])),
    }


def _conditions(listed: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(each["type"], each["status"], each.get("reason", "")) for each in listed]
