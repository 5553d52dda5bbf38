"""CAPH v1.0.7: Cluster API's provider for Hetzner Cloud."""

from __future__ import annotations

from tallship.lab.clock import LabClock
from tallship.lab.controllers.caph.cluster import HetznerClusters
from tallship.lab.controllers.caph.hcloud import USER_AGENT as USER_AGENT
from tallship.lab.controllers.caph.hcloud import Hetzner
from tallship.lab.controllers.caph.machine import HCloudMachines
from tallship.lab.controllers.caph.remediation import Remediations
from tallship.lab.controllers.caph.scope import Scope
from tallship.lab.controllers.caph.target import TargetCluster
from tallship.lab.controllers.caph.template import Templates
from tallship.lab.controllers.informer import Mapper, ProviderProcess, beyond_status, itself
from tallship.lab.controllers.ownership import CLUSTER_LABEL
from tallship.lab.controllers.reconciler import Controller, Key
from tallship.lab.controllers.workload import WorkloadClients
from tallship.lab.kubeclient import KubeClient, Object


def build(client: KubeClient, clock: LabClock, hetzner: Hetzner) -> ProviderProcess:
    """Return the process of CAPH."""
    process = ProviderProcess(client, clock)
    api = process.api
    scope = Scope(api, hetzner)
    target = TargetCluster(scope, WorkloadClients(api, USER_AGENT))
    process.beside(target.run)
    # CAPH's own default is one worker for each kind.
    clusters = process.add(Controller("hetznercluster", HetznerClusters(scope, target).reconcile, clock, workers=1))
    machines = process.add(Controller("hcloudmachine", HCloudMachines(scope).reconcile, clock, workers=1))
    templates = process.add(Controller("hcloudmachinetemplate", Templates(scope).reconcile, clock, workers=1))
    remediations = process.add(Controller("hcloudremediation", Remediations(scope).reconcile, clock, workers=1))

    def infrastructure(kind: str) -> Mapper:
        return lambda item: [
            (item["metadata"]["namespace"], ref["name"])
            for ref in [item["spec"].get("infrastructureRef") or {}]
            if ref.get("kind") == kind
        ]

    def machines_of(item: Object) -> list[Key]:
        labels = item["metadata"].get("labels", {})
        name = item["metadata"]["name"] if item["kind"] == "Cluster" else labels.get(CLUSTER_LABEL, "")
        found = api.list("HCloudMachine", item["metadata"]["namespace"], {CLUSTER_LABEL: name})
        return [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in found]

    process.watch("HetznerCluster", clusters, itself, beyond_status)
    process.watch("Cluster", clusters, infrastructure("HetznerCluster"), beyond_status)
    process.watch("HCloudMachine", machines, itself, beyond_status)
    process.watch("Machine", machines, infrastructure("HCloudMachine"), beyond_status)
    process.watch("HetznerCluster", machines, machines_of, beyond_status)
    process.watch("Cluster", machines, machines_of, beyond_status)
    process.watch("HCloudMachineTemplate", templates, itself, beyond_status)
    process.watch("HCloudRemediation", remediations, itself)
    api.follow("Secret")
    return process
