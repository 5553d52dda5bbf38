"""Cluster API core v1.10.10: Clusters, Machines and MachineHealthChecks."""

from __future__ import annotations

from tallship.lab.clock import LabClock
from tallship.lab.controllers.core.cluster import Clusters
from tallship.lab.controllers.core.health_check import HealthChecks
from tallship.lab.controllers.core.machine import Machines
from tallship.lab.controllers.core.references import PROVIDER_KINDS, cluster_of
from tallship.lab.controllers.core.remote import Remotes
from tallship.lab.controllers.informer import ProviderProcess, itself, owners
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
    checks = process.add(Controller("machinehealthcheck", HealthChecks(api, remotes).reconcile, clock, workers=1))

    def in_cluster(kind: str, namespace: str, cluster: str) -> list[Key]:
        return [_key(each) for each in api.list(kind, namespace, {CLUSTER_LABEL: cluster})]

    def machines_of(cluster: Object) -> list[Key]:
        return in_cluster("Machine", *_key(cluster))

    def checks_of(item: Object) -> list[Key]:
        name = item["metadata"]["name"] if item["kind"] == "Cluster" else item["spec"]["clusterName"]
        return in_cluster("MachineHealthCheck", item["metadata"]["namespace"], name)

    def on_remote(key: Key) -> None:
        clusters.add([key])
        machines.add(in_cluster("Machine", *key))
        checks.add(in_cluster("MachineHealthCheck", *key))

    process.watch("Cluster", clusters, itself)
    process.watch("Machine", clusters, cluster_of)
    process.watch("HetznerCluster", clusters, owners("Cluster"))
    process.watch("TalosControlPlane", clusters, owners("Cluster"))
    process.watch("Machine", machines, itself)
    process.watch("HCloudMachine", machines, owners("Machine"))
    process.watch("TalosConfig", machines, owners("Machine"))
    process.watch("Cluster", machines, machines_of)
    process.watch("MachineHealthCheck", checks, itself)
    process.watch("Machine", checks, checks_of)
    process.watch("Cluster", checks, checks_of)
    for kind in (*PROVIDER_KINDS, "Secret", "HCloudRemediation"):
        api.follow(kind)
    remotes.on_change(on_remote)
    return process


def _key(item: Object) -> Key:
    return item["metadata"]["namespace"], item["metadata"]["name"]
