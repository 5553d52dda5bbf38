"""CACPPT v0.5.12: Cluster API's control plane provider for Talos."""

from __future__ import annotations

import asyncio

from tallship.lab.clock import LabClock
from tallship.lab.controllers.cacppt.control_plane import TalosControlPlanes
from tallship.lab.controllers.cacppt.talos import Connections
from tallship.lab.controllers.informer import ProviderProcess, itself, owners
from tallship.lab.controllers.reconciler import Controller, Key
from tallship.lab.controllers.workload import WorkloadClients
from tallship.lab.kubeclient import KubeClient, Object

USER_AGENT = "cluster-api-control-plane-provider-talos/v0.5.12"

PASS = 0.05
"""Seconds between its looks while much happens (seen: 0.05 to 0.3 s): Machines come one look apart."""


def build(client: KubeClient, clock: LabClock, source: str = "") -> ProviderProcess:
    """Return the process of CACPPT; `source` is the address of this machine that it calls Talos from."""
    process = ProviderProcess(client, clock)
    api = process.api
    connections, clients = Connections(clock, source), WorkloadClients(api, USER_AGENT)
    reconciler = TalosControlPlanes(api, connections, clients)
    planes = process.add(Controller("taloscontrolplane", reconciler.reconcile, clock, settle=PASS))

    async def close_at_the_end() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await connections.close()
            await clients.close()

    def plane_of(cluster: Object) -> list[Key]:
        ref = cluster["spec"].get("controlPlaneRef") or {}
        if ref.get("kind") != "TalosControlPlane":
            return []
        return [(cluster["metadata"]["namespace"], ref["name"])]

    process.beside(close_at_the_end)
    process.watch("TalosControlPlane", planes, itself)
    process.watch("Machine", planes, owners("TalosControlPlane"))
    process.watch("Cluster", planes, plane_of)
    for kind in ("Secret", "HCloudMachine", "HCloudMachineTemplate", "TalosConfig"):
        api.follow(kind)
    return process
