"""CABPT v0.6.11: Cluster API's bootstrap provider for Talos."""

from __future__ import annotations

from tallship.lab.clock import LabClock
from tallship.lab.controllers.cabpt.config import TalosConfigs
from tallship.lab.controllers.informer import ProviderProcess, itself
from tallship.lab.controllers.ownership import CLUSTER_LABEL
from tallship.lab.controllers.reconciler import Controller, Key
from tallship.lab.kubeclient import KubeClient, Object

USER_AGENT = "cluster-api-bootstrap-provider-talos/v0.6.11"


def build(client: KubeClient, clock: LabClock) -> ProviderProcess:
    """Return the process of CABPT."""
    process = ProviderProcess(client, clock)
    api = process.api
    # Making keys keeps the processor busy: one configuration after the other, as it was seen.
    configs = process.add(Controller("talosconfig", TalosConfigs(api).reconcile, clock, workers=1))

    def config_of(machine: Object) -> list[Key]:
        ref = machine["spec"]["bootstrap"].get("configRef") or {}
        return [(machine["metadata"]["namespace"], ref["name"])] if ref.get("kind") == "TalosConfig" else []

    def configs_of(cluster: Object) -> list[Key]:
        meta = cluster["metadata"]
        found = api.list("TalosConfig", meta["namespace"], {CLUSTER_LABEL: meta["name"]})
        return [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in found]

    process.watch("TalosConfig", configs, itself)
    process.watch("Machine", configs, config_of)
    process.watch("Cluster", configs, configs_of)
    api.follow("Secret")
    return process
