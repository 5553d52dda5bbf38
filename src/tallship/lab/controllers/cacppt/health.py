"""What CACPPT checks on the machines: etcd's members against the Machines, and the health of services."""

from __future__ import annotations

from tallship.lab.controllers.cacppt.access import Access
from tallship.lab.controllers.cacppt.talos import TalosClient, TalosFailed
from tallship.lab.controllers.conditions import Conditions
from tallship.lab.controllers.ownership import is_deleting
from tallship.lab.controllers.reconciler import Again, Outcome
from tallship.lab.kubeclient import Object

RETRY = 10.0


class Health:
    """Checks of one control plane."""

    def __init__(self, access: Access, plane: Object, machines: list[Object], conditions: Conditions) -> None:
        self._access = access
        self._plane = plane
        self._machines = machines
        self._conditions = conditions

    async def check(self) -> Outcome:
        """Audit etcd, check etcd, check services; each sets its condition."""
        audited = await self._audit()
        etcd = await self._etcd()
        services = await self._services()
        return None if audited and etcd and services else Again(RETRY)

    async def _audit(self) -> bool:
        """Remove members of etcd that belong to no Machine; False while that cannot be told."""
        if not self._machines:
            return True
        nodes = [each.get("status", {}).get("nodeRef", {}).get("name") for each in self._machines]
        asked = next((each for each in self._machines if not is_deleting(each)), None)
        if None in nodes or asked is None:
            return False
        known = {str(name).split(".")[0].lower() for name in nodes}
        try:
            client = self._access.client([asked])
            for member in await client.members():
                if member.hostname and member.hostname.split(".")[0].lower() not in known:
                    await client.remove_member(member.id)
        except TalosFailed:
            return False
        return True

    async def _etcd(self) -> bool:
        staying = [each for each in self._machines if not is_deleting(each)]
        names: set[str] = set()
        for machine in staying:
            try:
                names = await self._etcd_on(self._access.client([machine]), len(staying), names)
            except TalosFailed as failure:
                text = f'error checking etcd health on machine "{machine["metadata"]["name"]}": {failure}'
                self._conditions.false("EtcdClusterHealthyCondition", "EtcdClusterUnhealthy", "Warning", text)
                return False
        self._conditions.true("EtcdClusterHealthyCondition")
        return True

    @staticmethod
    async def _etcd_on(client: TalosClient, expected: int, names: set[str]) -> set[str]:
        """Check etcd on one machine and return its members' names; raises TalosFailed with what is wrong."""
        for service in await client.services():
            if service.id != "etcd":
                continue
            events = service.events.events
            if not events:
                raise TalosFailed("", ': no events recorded yet for service "etcd"')
            if events[-1].state != "Running":
                state = f"current state [{events[-1].state}] {events[-1].msg}"
                raise TalosFailed("", f': service "etcd" not in expected state "Running": {state}')
            if not service.health.healthy:
                raise TalosFailed("", ": service is not healthy: etcd")
        found = {member.hostname for member in await client.members()}
        if len(found) != expected:
            raise TalosFailed("", f": expected to have {expected} members, got {len(found)}")
        if names and (extra := sorted(found - names)):
            raise TalosFailed("", f": found extra etcd member {extra[0]}")
        return found

    async def _services(self) -> bool:
        for machine in self._machines:
            name = machine["metadata"]["name"]
            try:
                sick = _sick(await self._access.client([machine]).services())
            except TalosFailed as failure:
                reason, text = "ControlPlaneComponentsInspectionFailed", f'machine "{name}": {failure}'
                self._conditions.false("ControlPlaneComponentsHealthy", reason, "Warning", text)
                return False
            if sick:
                text = f'machine "{name}": services unhealthy: {", ".join(sick)}'
                reason = "ControlPlaneComponentsUnhealthy"
                self._conditions.false("ControlPlaneComponentsHealthy", reason, "Warning", text)
                return False
        self._conditions.true("ControlPlaneComponentsHealthy")
        return True


def _sick(services: list[object]) -> list[str]:
    return [
        each.id  # type: ignore[attr-defined]
        for each in services
        if not each.health.unknown and not each.health.healthy and each.health.last_message  # type: ignore[attr-defined]
    ]
