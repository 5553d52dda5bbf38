"""The HCloudRemediation controller: reboots a server as often as it may, then gives up."""

from __future__ import annotations

from datetime import datetime

from tallship.lab.clock import LabClock, wall
from tallship.lab.controllers.caph.hcloud import HCloudError
from tallship.lab.controllers.caph.scope import Scope
from tallship.lab.controllers.conditions import Conditions
from tallship.lab.controllers.durations import seconds
from tallship.lab.controllers.ownership import is_deleting, owner_name
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import Again, Outcome
from tallship.lab.kubeclient import Object


class Remediations:
    """Reconciles HCloudRemediations."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._api = scope.api

    async def reconcile(self, namespace: str, name: str) -> Outcome:
        """Bring one remediation a step further."""
        before = self._api.get("HCloudRemediation", name, namespace)
        if before is None or is_deleting(before):
            return None
        machine = self._api.get("Machine", owner_name(before, "Machine"), namespace)
        if machine is None:
            return None
        ref = machine["spec"]["infrastructureRef"]
        item = self._api.get("HCloudMachine", ref["name"], namespace)
        if item is None or before["spec"]["strategy"].get("type") != "Reboot":
            return None
        after = copy_json(before)
        outcome = await self._step(machine, item, after)
        await self._api.save(before, after)
        return outcome

    async def _step(self, machine: Object, item: Object, after: Object) -> Outcome:
        strategy, status = after["spec"]["strategy"], after.setdefault("status", {})
        timeout, limit = seconds(strategy["timeout"]), strategy.get("retryLimit", 0)
        if status.get("phase", "Running") == "Running":
            waited = _since(self._api.clock, status.get("lastRemediated"))
            if waited is not None and waited < timeout:
                return Again(timeout - waited)
            if status.get("retryCount", 0) >= max(limit, 1):
                status["phase"] = "Waiting"
                return Again(timeout)
            await self._reboot(item)
            status |= {
                "phase": "Running",
                "lastRemediated": self._api.now(),
                "retryCount": status.get("retryCount", 0) + 1,
            }
            return Again(timeout)
        if status["phase"] == "Waiting":
            status["phase"] = "Deleting machine"
            await self._give_up(machine)
        return None

    async def _reboot(self, item: Object) -> None:
        cluster = next(
            iter(self._api.list("HetznerCluster", item["metadata"]["namespace"], _cluster_label(item))), None
        )
        hcloud = None if cluster is None else self._scope.client(cluster)
        server = item["spec"].get("providerID", "").removeprefix("hcloud://")
        if hcloud is None or not server:
            return
        try:
            await hcloud.post(f"/servers/{server}/actions/reboot")
        except HCloudError as error:
            if error.code not in ("locked", "not_found"):
                raise

    async def _give_up(self, machine: Object) -> None:
        """Hand the Machine to its owner; CACPPT does nothing with it, so this stays."""
        after = copy_json(machine)
        Conditions(after, self._api.now()).false("OwnerRemediated", "WaitingForRemediation", "Warning")
        await self._api.save(machine, after)


def _cluster_label(item: Object) -> dict[str, str]:
    key = "cluster.x-k8s.io/cluster-name"
    return {key: item["metadata"].get("labels", {}).get(key, "")}


def _since(clock: LabClock, moment: str | None) -> float | None:
    return None if moment is None else (wall(clock) - datetime.fromisoformat(moment)).total_seconds()
