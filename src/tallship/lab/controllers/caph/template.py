"""The HCloudMachineTemplate controller: what a machine of this template can do."""

from __future__ import annotations

from tallship.lab.controllers.caph.hcloud import HCloudError
from tallship.lab.controllers.caph.scope import Scope
from tallship.lab.controllers.conditions import Conditions
from tallship.lab.controllers.ownership import is_paused, owner_name
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import Again, Outcome


class Templates:
    """Reconciles HCloudMachineTemplates."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._api = scope.api

    async def reconcile(self, namespace: str, name: str) -> Outcome:
        """Note a template's capacity, once it belongs to a Cluster."""
        before = self._api.get("HCloudMachineTemplate", name, namespace)
        cluster_name = "" if before is None else owner_name(before, "Cluster")
        cluster = self._api.get("Cluster", cluster_name, namespace) if cluster_name else None
        if before is None or cluster is None or is_paused(cluster, before):
            return None
        if before.get("status", {}).get("capacity"):
            return None
        ref = cluster["spec"].get("infrastructureRef") or {}
        hetzner_cluster = self._api.get("HetznerCluster", ref.get("name", ""), namespace)
        hcloud = None if hetzner_cluster is None else self._scope.client(hetzner_cluster)
        if hcloud is None:
            return Again(60)
        after = copy_json(before)
        conditions = Conditions(after, self._api.now())
        conditions.true("HCloudTokenAvailable")
        try:
            types = await hcloud.list("/server_types", "server_types", per_page="50")
        except HCloudError as error:
            self._scope.meet_error(after, error, "reconcile")
            await self._api.save(before, after)
            return Again()
        wanted = before["spec"]["template"]["spec"]["type"]
        found = next((each for each in types if each["name"] == wanted), None)
        status = after.setdefault("status", {})
        if found is not None:
            status["capacity"] = {"cpu": str(found["cores"]), "memory": f"{found['memory']:g}G"}
        status["ownerType"] = "Cluster"
        await self._api.save(before, after)
        return None
