"""Cluster API core v1.10.10: Clusters, Machines, MachineSets, MachineDeployments and MachineHealthChecks."""

from __future__ import annotations

from tallship.lab.clock import LabClock
from tallship.lab.controllers.core.cluster import Clusters
from tallship.lab.controllers.core.health_check import HealthChecks
from tallship.lab.controllers.core.machine import Machines
from tallship.lab.controllers.core.machine_deployment import MachineDeployments
from tallship.lab.controllers.core.machine_set import MachineSets
from tallship.lab.controllers.core.references import DEPLOYMENT_LABEL, PROVIDER_KINDS, TEMPLATE_KINDS, cluster_of
from tallship.lab.controllers.core.remote import Remotes
from tallship.lab.controllers.informer import CachedApi, Mapper, ProviderProcess, beyond_status, itself, owners
from tallship.lab.controllers.ownership import CLUSTER_LABEL
from tallship.lab.controllers.reconciler import Controller, Key
from tallship.lab.controllers.workload import WorkloadClients
from tallship.lab.kubeclient import KubeClient, Object

USER_AGENT = "cluster-api-controller-manager/v1.10.10"


def build(client: KubeClient, clock: LabClock) -> ProviderProcess:
    """Return the process of Cluster API core."""
    process = ProviderProcess(client, clock)
    api = process.api
    remotes = Remotes(WorkloadClients(api, USER_AGENT), clock)
    process.beside(remotes.run)
    clusters = process.add(Controller("cluster", Clusters(api, remotes).reconcile, clock))
    machines = process.add(Controller("machine", Machines(api, remotes).reconcile, clock))
    sets = process.add(Controller("machineset", MachineSets(api, remotes).reconcile, clock))
    deployments = process.add(Controller("machinedeployment", MachineDeployments(api).reconcile, clock))
    checks = process.add(Controller("machinehealthcheck", HealthChecks(api, remotes).reconcile, clock, workers=1))

    def on_remote(key: Key) -> None:
        clusters.add([key])
        for controller, kind in ((machines, "Machine"), (sets, "MachineSet"), (checks, "MachineHealthCheck")):
            controller.add(_named(api, kind, key[0], {CLUSTER_LABEL: key[1]}))

    process.watch("Cluster", clusters, itself)
    for kind in ("Machine", "MachineDeployment"):
        process.watch(kind, clusters, cluster_of)
    for kind in ("HetznerCluster", "TalosControlPlane"):
        process.watch(kind, clusters, owners("Cluster"))
    process.watch("Machine", machines, itself)
    for kind in ("HCloudMachine", "TalosConfig"):
        process.watch(kind, machines, owners("Machine"))
    process.watch("Cluster", machines, _of_cluster(api, "Machine"))
    process.watch("MachineDeployment", machines, _of_deployment(api, "Machine"), beyond_status)
    process.watch("MachineSet", sets, itself)
    process.watch("Machine", sets, owners("MachineSet"))
    process.watch("MachineDeployment", sets, _of_deployment(api, "MachineSet"))
    process.watch("Cluster", sets, _of_cluster(api, "MachineSet"))
    process.watch("MachineDeployment", deployments, itself)
    process.watch("MachineSet", deployments, owners("MachineDeployment"))
    process.watch("Cluster", deployments, _of_cluster(api, "MachineDeployment"))
    process.watch("MachineHealthCheck", checks, itself)
    for kind in ("Machine", "Cluster"):
        process.watch(kind, checks, _of_cluster(api, "MachineHealthCheck"))
    for kind in (*PROVIDER_KINDS, *TEMPLATE_KINDS, "Secret", "HCloudRemediation"):
        api.follow(kind)
    remotes.on_change(on_remote)
    return process


def _of_cluster(api: CachedApi, kind: str) -> Mapper:
    """Return a mapper to the objects of a kind that belong to the same Cluster as an object, or to that Cluster."""

    def keys(item: Object) -> list[Key]:
        name = item["metadata"]["name"] if item["kind"] == "Cluster" else item["spec"]["clusterName"]
        return _named(api, kind, item["metadata"]["namespace"], {CLUSTER_LABEL: name})

    return keys


def _of_deployment(api: CachedApi, kind: str) -> Mapper:
    """Return a mapper to the objects of a kind that belong to a MachineDeployment."""

    def keys(item: Object) -> list[Key]:
        meta = item["metadata"]
        return _named(api, kind, meta["namespace"], {DEPLOYMENT_LABEL: meta["name"]})

    return keys


def _named(api: CachedApi, kind: str, namespace: str, labels: dict[str, str]) -> list[Key]:
    found = api.list(kind, namespace, labels)
    return [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in found]
