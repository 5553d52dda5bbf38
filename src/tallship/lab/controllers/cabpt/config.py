"""The TalosConfig controller: a machine configuration for each Machine, and the talosconfig of the cluster."""

from __future__ import annotations

from tallship.lab.controllers.cabpt.generation import GenerationFailed, bootstrap_data
from tallship.lab.controllers.cabpt.secrets import ClusterSecrets
from tallship.lab.controllers.conditions import Conditions
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import is_deleting, is_paused, new_secret, owner_name
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import Outcome
from tallship.lab.kubeclient import Object

GENERATION = 0.3
"""Seconds that generating one configuration takes (a guess; seen: 0.3 to 1 s with three at once on two cores)."""


class TalosConfigs:
    """Reconciles TalosConfigs."""

    def __init__(self, api: CachedApi) -> None:
        self._api = api
        self._secrets = ClusterSecrets(api)

    async def reconcile(self, namespace: str, name: str) -> Outcome:
        """Bring one TalosConfig a step further."""
        before = self._api.get("TalosConfig", name, namespace)
        machine = None if before is None else self._api.get("Machine", owner_name(before, "Machine"), namespace)
        if before is None or machine is None or is_deleting(before):
            return None
        cluster = self._api.get("Cluster", machine["spec"]["clusterName"], namespace)
        if cluster is None or is_paused(cluster, before):
            return None
        after = copy_json(before)
        if after.get("status", {}).get("ready"):
            await self._secrets.put_talosconfig(cluster)
            Conditions(after, self._api.now()).true("ClientConfigAvailable")
        else:
            await self._converge(cluster, machine, after)
        after.setdefault("status", {})["observedGeneration"] = after["metadata"].get("generation", 1)
        Conditions(after, self._api.now()).summarize()
        await self._api.save(before, after)
        return None

    async def _converge(self, cluster: Object, machine: Object, config: Object) -> None:
        conditions = Conditions(config, self._api.now())
        if not cluster.get("status", {}).get("infrastructureReady"):
            conditions.false("DataSecretAvailable", "WaitingForClusterInfrastructure", "Info")
            return
        known = machine["spec"]["bootstrap"].get("dataSecretName")
        if not known:
            try:
                known = await self._generate(cluster, machine, config)
            except GenerationFailed as failure:
                conditions.false("DataSecretAvailable", "DataSecretGenerationFailed", "Error", str(failure))
                return
        conditions.true("DataSecretAvailable")
        config["status"] |= {"dataSecretName": known, "ready": True}

    async def _generate(self, cluster: Object, machine: Object, config: Object) -> str:
        """Make the bootstrap data of a Machine and return its Secret's name; a Secret that exists is kept."""
        meta = machine["metadata"]
        bundle = await self._secrets.bundle(cluster)
        await self._secrets.put_authority(cluster, bundle)
        await self._api.clock.sleep(GENERATION)
        data = bootstrap_data(bundle, cluster, machine, config)
        config.setdefault("status", {})["talosConfig"] = self._secrets.talosconfig(cluster, bundle, [])
        name, values = f"{meta['name']}-bootstrap-data", {"value": data}
        if self._api.get("Secret", name, meta["namespace"]) is None:
            cluster_name = cluster["metadata"]["name"]
            await self._api.create(new_secret(name, meta["namespace"], cluster_name, values, config))
        return name
