"""Following references from a Cluster or Machine to the objects of its providers."""

from __future__ import annotations

from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import CLUSTER_LABEL, CONTROL_PLANE_LABEL
from tallship.lab.controllers.reconciler import Key
from tallship.lab.kubeclient import Object

CLUSTER_FINALIZER = "cluster.cluster.x-k8s.io"
MACHINE_FINALIZER = "machine.cluster.x-k8s.io"
MACHINE_SET_FINALIZER = "cluster.x-k8s.io/machineset"
MACHINE_DEPLOYMENT_FINALIZER = "cluster.x-k8s.io/machinedeployment"

DEPLOYMENT_LABEL = "cluster.x-k8s.io/deployment-name"
SET_LABEL = "cluster.x-k8s.io/set-name"

PROVIDER_KINDS = ("HetznerCluster", "TalosControlPlane", "HCloudMachine", "TalosConfig")
TEMPLATE_KINDS = ("HCloudMachineTemplate", "TalosConfigTemplate")


def referenced(api: CachedApi, item: Object, ref: Object | None) -> Object | None:
    """Return the object that a reference in `item` names, or None."""
    if not ref or ref["kind"] not in (*PROVIDER_KINDS, *TEMPLATE_KINDS):
        return None
    return api.get(ref["kind"], ref["name"], ref.get("namespace") or item["metadata"]["namespace"])


def control_plane_machines(api: CachedApi, namespace: str, cluster: str) -> list[Object]:
    """Return the control plane Machines of a cluster, by name."""
    return api.list("Machine", namespace, {CLUSTER_LABEL: cluster, CONTROL_PLANE_LABEL: ""})


def worker_machines(api: CachedApi, namespace: str, cluster: str) -> list[Object]:
    """Return the Machines of a cluster that are no control planes, by name."""
    machines = api.list("Machine", namespace, {CLUSTER_LABEL: cluster})
    return [each for each in machines if CONTROL_PLANE_LABEL not in each["metadata"]["labels"]]


def cluster_of(item: Object) -> list[Key]:
    """Return the key of the Cluster that an object's label names."""
    name = item["metadata"].get("labels", {}).get(CLUSTER_LABEL)
    return [(item["metadata"]["namespace"], name)] if name else []
