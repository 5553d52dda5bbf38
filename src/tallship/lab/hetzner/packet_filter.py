"""Firewalls in force: which are applied to which server by now, and what a packet meets."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Final

from tallship.lab.births import PROTECTED
from tallship.lab.hetzner.networks import membership
from tallship.lab.hetzner.project import Project
from tallship.lab.hetzner.selectors import matches
from tallship.lab.hetzner.times import FIREWALL_LAG, action_seconds
from tallship.lab.own_address import seen_address
from tallship.lab.store import Document, Table

PENDING: Final = "pending"
APPLIED: Final = "applied"
LINK: Final = "firewall_link"


def settle_links(project: Project) -> None:
    """Begin to apply firewalls to servers that are meant to have them, and to take away those that are not."""
    wanted = _wanted(project)
    links = {(link["firewall"], link["server"]) for link in project.all(LINK)}
    for firewall_id, server_id in wanted.keys() - links:
        fields = {"firewall": firewall_id, "server": server_id, "status": PENDING, "settling": False}
        project.keep(LINK, {"id": f"{firewall_id}/{server_id}", **fields})
    for link in list(project.all(LINK)):
        pair = (link["firewall"], link["server"])
        if not link["settling"] and (pair in wanted) != (link["status"] == APPLIED):
            project.keep(LINK, {**link, "settling": True})
            lag = wanted.get(pair, FIREWALL_LAG)
            project.timers.set(lag, "settle_link", firewall=link["firewall"], server=link["server"])


async def settle_link(project: Project, firewall: int, server: int) -> None:
    """Make one link what it is meant to be by now."""
    link = project.find(LINK, f"{firewall}/{server}")
    if link is None:
        return
    if (firewall, server) in _wanted(project):
        project.keep(LINK, {**link, "status": APPLIED, "settling": False})
        project.births.note(server, PROTECTED)
    else:
        project.table(LINK).pop(str(link["id"]), None)


def forget_firewall(project: Project, firewall_id: int) -> None:
    """Drop a deleted firewall from the servers where it was still in force."""
    for link in [each for each in project.all(LINK) if each["firewall"] == firewall_id]:
        project.table(LINK).pop(str(link["id"]), None)


def forget_server(project: Project, server_id: int) -> None:
    """Drop what was applied to a deleted server."""
    for link in [each for each in project.all(LINK) if each["server"] == server_id]:
        project.table(LINK).pop(str(link["id"]), None)
    gone = {"type": "server", "server": {"id": server_id}}
    for firewall in list(project.all("firewall")):
        if gone in firewall["applied_to"]:
            kept = [each for each in firewall["applied_to"] if each != gone]
            project.keep("firewall", {**firewall, "applied_to": kept})


def selected(project: Project, resource: Document) -> Iterator[Document]:
    """Yield the servers that a label selector resource matches now."""
    selector = resource["label_selector"]["selector"]
    return (server for server in project.all("server") if matches(selector, server["labels"]))


def servers_under(project: Project, firewall_id: int) -> set[int]:
    """Return the servers on which the firewall is in force."""
    return {
        link["server"] for link in project.all(LINK) if link["firewall"] == firewall_id and link["status"] == APPLIED
    }


def of_server(project: Project, server_id: int) -> list[Document]:
    """Return the server's firewalls as its document shows them."""
    links = project.derived(LINK, _by_server).get(server_id, ())
    return [{"id": link["firewall"], "status": link["status"]} for link in links]


def _by_server(links: Table) -> dict[int, list[Document]]:
    found: dict[int, list[Document]] = {}
    for link in links.values():
        found.setdefault(link["server"], []).append(link)
    return found


def admits(project: Project, server_id: int, port: int, source: str) -> bool:
    """True when a TCP packet from the source reaches the port at the server's public address.

    Hetzner API: with no firewall everything is let in, with one only what a rule lets in. What comes by the
    private network meets no firewall: from a load balancer to its targets, from server to server (in the lab it comes
    from the public addresses of both).
    """
    in_force = [each["id"] for each in of_server(project, server_id) if each["status"] == APPLIED]
    if not in_force or _private_source(project, server_id, source):
        return True
    rules = (rule for key in in_force for rule in project.get("firewall", key)["rules"])
    return any(_lets_in(rule, port, seen_address(project.faults, source)) for rule in rules)


def source_at(project: Project, server_id: int, source: str) -> str:
    """Return the address that the server itself sees: a private one for what comes by the private network."""
    return _private_source(project, server_id, source) or seen_address(project.faults, source)


def _wanted(project: Project) -> dict[tuple[int, int], float]:
    """Which firewall is meant for which server, and how many seconds it needs to get there."""
    wanted: dict[tuple[int, int], float] = {}
    for firewall in project.all("firewall"):
        for resource in firewall["applied_to"]:
            if resource["type"] == "server":
                wanted[firewall["id"], resource["server"]["id"]] = action_seconds("apply_firewall")
                continue
            for server in selected(project, resource):
                exists_in = max(server["installed_at"] - project.clock.now(), 0)
                wanted.setdefault((firewall["id"], server["id"]), exists_in + FIREWALL_LAG)
    return wanted


def _private_source(project: Project, server_id: int, source: str) -> str:
    """Return the private address of a load balancer or server behind the source, in a network that both are in."""
    server = project.get("server", server_id)
    neighbours = [each for each in project.all("load_balancer") if each["ip"] == source]
    neighbours += [project.get("server", key) for key, ip in _public_addresses(project) if ip == source]
    shared = (net for each in neighbours for net in each["private_net"] if membership(server, net["network"]))
    return next((str(net["ip"]) for net in shared), "")


def _public_addresses(project: Project) -> Iterator[tuple[int, str]]:
    """Yield each server with the address that the lab knows it by: it stands for its private one, too."""
    public = {each["assignee_id"]: str(each["ip"]) for each in project.all("primary_ip") if each["type"] == "ipv4"}
    for server in project.all("server"):
        yield server["id"], public.get(server["id"]) or project.address("server", server["id"])


def _lets_in(rule: Document, port: int, source: str) -> bool:
    if rule["direction"] != "in" or rule["protocol"] != "tcp":
        return False
    first, _, last = rule["port"].partition("-")
    if first != "any" and not int(first) <= port <= int(last or first):
        return False
    address = ip_address(source)
    return any(address in ip_network(text) for text in rule["source_ips"])
