"""A cluster of hundreds of nodes in a project of thousands of servers: documents in the lab's stores, no machines."""

from __future__ import annotations

import copy
import os
import shutil
from pathlib import Path
from typing import Any

from lab_world import LabWorld

from tallship import versions
from tallship.cli.folder import folder_name
from tallship.cli.options import Options
from tallship.lab.hetzner.packet_filter import APPLIED, LINK
from tallship.spec import Spec

Document = dict[str, Any]


def fill(world: LabWorld, spec: Spec, nodes: int, servers: int) -> None:
    """Make nodes until there are so many beside the control planes, each with a server, and servers of others too.

    The lab's controllers are stopped: nothing there looks at what has no machine.
    """
    world.ask(world.lab.clusters.stop())
    world.do(lambda: _fill(world, spec, nodes, servers))


def _fill(world: LabWorld, spec: Spec, nodes: int, servers: int) -> None:
    project = world.lab.hetzner.project
    (workload,) = world.lab.machines.workloads.values()
    objects, resource = workload._objects, workload._resources["nodes"]  # type: ignore[attr-defined]
    like, model = next(iter(objects.list(resource, "", ""))), next(iter(project.all("server")))
    firewall = next(iter(project.all("firewall")))["id"]
    names = {each["name"] for each in project.all("server")}
    ours = {spec.names.owner_label: "owned", "machine_type": "worker"}
    wanted = [(f"worker-{number}", ours) for number in range(nodes)]
    others = [(f"other-{number}", {"team": "other"}) for number in range(servers)]
    made = [(name, labels) for name, labels in wanted if name not in names]
    room = max(servers - len(names) - len(made), 0)
    made += [(name, labels) for name, labels in others if name not in names][:room]
    for name, labels in made:
        number = len(names)
        names.add(name)
        server = project.new("server", _server(model, name, labels, number))
        _give_address(project, server["id"], number)
        if labels is ours:
            link = {"firewall": firewall, "server": server["id"], "status": APPLIED, "settling": False}
            project.keep(LINK, {"id": f"{firewall}/{server['id']}", **link})
            objects.put(resource, _node(like, name, server["id"], number), None)


def _server(model: Document, name: str, labels: Document, number: int) -> Document:
    private = [{**each, "ip": private_ip(number)} for each in model["private_net"]]
    kept = {key: value for key, value in model.items() if key not in ("id", "created")}
    return {**copy.deepcopy(kept), "name": name, "labels": labels, "placement_group": None, "private_net": private}


def _give_address(project: Any, server: int, number: int) -> None:
    fields = {"type": "ipv4", "name": f"ip-{server}", "location": "nbg1", "auto_delete": True, "labels": {}, "ptr": {}}
    ip = f"127.254.{number // 250}.{number % 250 + 1}"
    project.new("primary_ip", {**fields, "assignee_id": server, "protection": {"delete": False}, "ip": ip})


def private_ip(number: int) -> str:
    """Return the private address of a node."""
    return f"10.11.{number // 250}.{number % 250 + 1}"


def _node(like: Document, name: str, server: int, number: int) -> Document:
    node = copy.deepcopy(like)
    node["metadata"] |= {"name": name, "uid": f"00000000-0000-0000-0000-{number:012d}"}
    node["metadata"]["labels"] = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    node["spec"] |= {"providerID": f"hcloud://{server}"}
    node["status"]["addresses"] = [{"type": "InternalIP", "address": private_ip(number)}]
    # A kubelet tells of the 50 largest images that it has.
    node["status"]["images"] = [
        {"names": [f"registry.example.com/some/image-{each}@sha256:{each:064x}"], "sizeBytes": 123456789}
        for each in range(50)
    ]
    return node


def shore(world: LabWorld, spec: Spec, client: Path, folder: Path) -> dict[str, str]:
    """Make a folder from which `tallship` is run as a process of its own, and return its environment.

    `client` is the state folder whose credentials it has.
    """
    places, file = world.endpoints, folder / "tallship.yaml"
    file.write_text(f"name: {spec.name}\nfirewall:\n  address_url: {places['address']}\n")
    state = folder / "state/tallship" / folder_name(Options(file=file), spec)
    shutil.copytree(client, state)
    state.chmod(0o700)
    return {
        "PATH": f"{_programs(folder)}{os.pathsep}{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "HCLOUD_TOKEN": world.token,
        "HCLOUD_ENDPOINT": places["hetzner"],
        "REQUESTS_CA_BUNDLE": str(world.ca_file),
    }


def _programs(folder: Path) -> Path:
    """Make programs that tell a version and no more: the lab's own ones wait for time to pass, and none does here."""
    place = folder / "bin"
    place.mkdir()
    for name, wanted in versions.PROGRAMS.items():
        (place / name).write_text(f"#!/bin/sh\necho v{versions.dotted(wanted.at_least)}\n")
        (place / name).chmod(0o755)
    return place
