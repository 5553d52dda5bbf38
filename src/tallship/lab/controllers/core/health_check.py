"""The MachineHealthCheck controller: counts who is healthy, and asks for remediation."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from tallship.lab.clock import created, wall
from tallship.lab.controllers.conditions import Conditions, find, is_true
from tallship.lab.controllers.core import nodes
from tallship.lab.controllers.core.cluster import pause
from tallship.lab.controllers.core.remote import Remote, Remotes
from tallship.lab.controllers.durations import seconds
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import CLUSTER_LABEL, add_owner, is_deleting, reference, set_label
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import Again, Outcome
from tallship.lab.kubeclient import Object

SOURCE = "machinehealthcheck-controller"
NOT_CONNECTED = 60.0
_STARTUP = timedelta(minutes=10)
_SKIP = "cluster.x-k8s.io/skip-remediation"
"""Cluster API v1.10: a Machine with this annotation is no target of a health check."""


def _matches(expressions: Iterable[Object], item: Object) -> bool:
    """True when every expression of a label selector is true of an object."""
    labels = item["metadata"].get("labels", {})
    for each in expressions:
        key, operator = each["key"], each["operator"]
        found = labels.get(key) in each.get("values", ()) if operator in ("In", "NotIn") else key in labels
        if found != (operator in ("In", "Exists")):
            return False
    return True


class HealthChecks:
    """Reconciles MachineHealthChecks."""

    def __init__(self, api: CachedApi, remotes: Remotes) -> None:
        self._api = api
        self._remotes = remotes

    async def reconcile(self, namespace: str, name: str) -> Outcome:
        """Look at all Machines of one health check."""
        before = self._api.get("MachineHealthCheck", name, namespace)
        if before is None or is_deleting(before):
            return None
        cluster = self._api.get("Cluster", before["spec"]["clusterName"], namespace)
        if cluster is None:
            return Again()
        after = copy_json(before)
        if before["metadata"].get("labels", {}).get(CLUSTER_LABEL) != before["spec"]["clusterName"]:
            set_label(after, CLUSTER_LABEL, before["spec"]["clusterName"])
            before = await self._api.save(before, after)
            after = copy_json(before)
        if await pause(self._api, before, after, cluster):
            return None
        remote = self._remotes.of((namespace, cluster["metadata"]["name"]))
        if is_true(cluster, "InfrastructureReady") and not remote.connected:
            return Again(NOT_CONNECTED)
        return await self._check(cluster, before, after)

    async def _check(self, cluster: Object, before: Object, after: Object) -> Outcome:
        meta, spec = after["metadata"], after["spec"]
        remote = self._remotes.of((meta["namespace"], cluster["metadata"]["name"]))
        found = self._api.list("Machine", meta["namespace"], spec["selector"].get("matchLabels", {}))
        selected = [each for each in found if _matches(spec["selector"].get("matchExpressions", ()), each)]
        machines = [each for each in selected if _SKIP not in each["metadata"].get("annotations", {})]
        verdicts = {each["metadata"]["name"]: self._verdict(cluster, remote, spec, each) for each in machines}
        sick = [each for each in machines if verdicts[each["metadata"]["name"]][0]]
        healthy = [
            each
            for each in machines
            if "nodeRef" in each.get("status", {}) and each not in sick and not is_deleting(each)
        ]
        allowed = len(healthy) >= len(machines) - _maximum(spec.get("maxUnhealthy", "100%"), len(machines))
        self._count(cluster, after, machines, healthy, allowed, len(sick))
        await self._api.save(before, after)
        for machine in sick:
            await self._ask(after, machine, verdicts[machine["metadata"]["name"]][0], allowed)
        for machine in healthy:
            await self._relax(machine)
        waits = [wait for _, wait in verdicts.values() if wait is not None]
        return Again(min(waits)) if waits else None

    def _count(
        self, cluster: Object, check: Object, machines: list[Object], healthy: list[Object], allowed: bool, sick: int
    ) -> None:
        conditions, status = Conditions(check, self._api.now()), check.setdefault("status", {})
        add_owner(check, cluster)
        if allowed:
            conditions.true("RemediationAllowed")
            conditions.new("RemediationAllowed", "True", "RemediationAllowed")
        else:
            text = "Remediation is not allowed, the number of not started or unhealthy machines exceeds maxUnhealthy"
            limit = check["spec"].get("maxUnhealthy", "100%")
            text = f"{text} (total: {len(machines)}, unhealthy: {sick}, maxUnhealthy: {limit})"
            conditions.false("RemediationAllowed", "TooManyUnhealthy", "Warning", text)
            conditions.new("RemediationAllowed", "False", "TooManyUnhealthy", text)
        spare = _maximum(check["spec"].get("maxUnhealthy", "100%"), len(machines)) - (len(machines) - len(healthy))
        status |= {
            "expectedMachines": len(machines),
            "currentHealthy": len(healthy),
            "remediationsAllowed": max(spare, 0),
            "observedGeneration": check["metadata"].get("generation", 1),
            "targets": [each["metadata"]["name"] for each in machines],
        }

    def _verdict(
        self, cluster: Object, remote: Remote, spec: Object, machine: Object
    ) -> tuple[tuple[str, str] | None, float | None]:
        """Return ((reason, message) when it is unhealthy, seconds until that may change)."""
        if not is_true(cluster, "InfrastructureReady") or is_deleting(machine):
            return None, None
        name = machine.get("status", {}).get("nodeRef", {}).get("name")
        if name is None:
            limit = timedelta(seconds=seconds(spec["nodeStartupTimeout"])) if "nodeStartupTimeout" in spec else _STARTUP
            since = created(self._api.clock, machine)
            text = f"Node failed to report startup in {spec.get('nodeStartupTimeout', '10m0s')}"
            return self._after(since, limit, ("NodeStartupTimeout", text))
        node = next((each for each in remote.list_nodes() if each["metadata"]["name"] == name), None)
        if node is None:
            return ("NodeNotFound", ""), None
        return self._by_conditions(spec, node)

    def _by_conditions(self, spec: Object, node: Object) -> tuple[tuple[str, str] | None, float | None]:
        soonest: float | None = None
        for rule in spec.get("unhealthyConditions", []):
            condition = nodes.condition(node, rule["type"])
            if condition.get("status") != rule["status"]:
                continue
            text = f"Condition {rule['type']} on node is reporting status {rule['status']} for more than"
            text = f"{text} {rule['timeout']}"
            since = datetime.fromisoformat(condition["lastTransitionTime"])
            trouble, wait = self._after(since, timedelta(seconds=seconds(rule["timeout"])), ("UnhealthyNode", text))
            if trouble is not None:
                return trouble, None
            soonest = min(filter(None, (soonest, wait)), default=None)
        return None, soonest

    def _after(
        self, since: datetime, limit: timedelta, trouble: tuple[str, str]
    ) -> tuple[tuple[str, str] | None, float | None]:
        left = (since + limit - wall(self._api.clock)).total_seconds()
        return (trouble, None) if left <= 0 else (None, left)

    async def _ask(self, check: Object, machine: Object, trouble: tuple[str, str] | None, allowed: bool) -> None:
        assert trouble is not None  # noqa: S101 - only sick Machines are asked for
        after = copy_json(machine)
        conditions = Conditions(after, self._api.now())
        conditions.false("HealthCheckSucceeded", trouble[0], "Warning", trouble[1])
        if allowed and "remediationTemplate" in check["spec"]:
            await self._request(check, machine)
        elif allowed and find(machine, "OwnerRemediated") is None:
            conditions.false("OwnerRemediated", "WaitingForRemediation", "Warning")
        if after != machine:
            await self._api.save(machine, after)

    async def _request(self, check: Object, machine: Object) -> None:
        meta, ref = machine["metadata"], check["spec"]["remediationTemplate"]
        template = await self._api.client.get(ref["kind"], ref["name"], meta["namespace"])
        if template is None or self._api.get("HCloudRemediation", meta["name"], meta["namespace"]) is not None:
            return
        await self._api.create(
            {
                "apiVersion": template["apiVersion"],
                "kind": "HCloudRemediation",
                "metadata": {
                    "name": meta["name"],
                    "namespace": meta["namespace"],
                    "labels": {CLUSTER_LABEL: machine["spec"]["clusterName"]},
                    "ownerReferences": [reference(machine)],
                },
                "spec": template["spec"]["template"]["spec"],
            }
        )

    async def _relax(self, machine: Object) -> None:
        """Take back what was asked for a Machine that is healthy again."""
        meta = machine["metadata"]
        request = self._api.get("HCloudRemediation", meta["name"], meta["namespace"])
        if request is not None and not is_deleting(request):
            await self._api.delete(request)
        if find(machine, "HealthCheckSucceeded") is not None and not is_true(machine, "HealthCheckSucceeded"):
            after = copy_json(machine)
            Conditions(after, self._api.now()).true("HealthCheckSucceeded")
            await self._api.save(machine, after)


def _maximum(limit: str | int, total: int) -> int:
    """Return how many Machines may be unhealthy; a percentage is rounded down."""
    return int(limit.rstrip("%")) * total // 100 if isinstance(limit, str) and limit.endswith("%") else int(limit)
