"""Beginning etcd, once: when all Machines of the control plane have addresses."""

from __future__ import annotations

from tallship.lab.controllers.cacppt.access import Access
from tallship.lab.controllers.cacppt.talos import TalosFailed
from tallship.lab.kubeclient import Object


async def bootstrap(access: Access, machines: list[Object]) -> None:
    """Begin etcd on the machine with the smallest address, unless one has etcd's data already.

    CACPPT v0.5.12: one List to all nodes through whichever answers, then one Bootstrap; raises TalosFailed.
    """
    client = access.client(machines)
    nodes = [_node_address(machine) for machine in machines]
    if not await client.has_etcd_data(nodes):
        await client.bootstrap(min(nodes))


def _node_address(machine: Object) -> str:
    listed = machine.get("status", {}).get("addresses", [])
    for kind in ("InternalIP", "ExternalIP"):
        for each in listed:
            if each["type"] == kind:
                return str(each["address"])
    name = machine["metadata"]["name"]
    raise TalosFailed("", f'machine "{name}" doesn\'t have an any InternalIP or ExternalIP address yet')
