"""A cluster whose etcd is lost, and what is to come back."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

from ship import Ship

from tallship.adapters import talos_recovery
from tallship.engine import Flow, Outcome, Run
from tallship.env import Env
from tallship.lab.talos.machine import Machine
from tallship.ops import restore
from tallship.ops.restore_nodes import NOTE
from tallship.talosproto import machine_pb2
from tallship.talosproto.machine_grpc import MachineServiceStub

BEFORE, AFTER = "before", "after"


def machines(ship: Ship) -> list[Machine]:
    return sorted(ship.world.lab.machines.list(), key=lambda each: each.hostname)


def note(ship: Ship, name: str) -> None:
    """Write an object through the API."""
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}
    with closing(ship.env()) as env:
        ship.world.run(lambda: env.workload.apply({**document, "data": {"told": name}}))


def notes(ship: Ship) -> set[str]:
    with closing(ship.env()) as env:
        found = ship.world.run(lambda: env.workload.list("v1", "ConfigMap", "default"))
    return {each["metadata"]["name"] for each in found} & {BEFORE, AFTER}


def take(ship: Ship) -> Path:
    """Save a snapshot of etcd, as its second machine gives it."""
    found: list[bytes] = []
    node, request = machines(ship)[1].private_ip, machine_pb2.EtcdSnapshotRequest()
    with closing(ship.env()) as env:
        ship.world.run(
            lambda: env.talos.follow(
                node, "EtcdSnapshot", MachineServiceStub, request, lambda each: found.append(each.bytes), 60
            )
        )
    file = ship.world.folder / "etcd.snapshot"
    file.write_bytes(b"".join(found))
    return file


def wipe(ship: Ship, *which: int) -> None:
    """Lose the disks of some machines."""
    nodes = [machines(ship)[number].private_ip for number in which]
    with closing(ship.env()) as env:

        def reset() -> None:
            for node in nodes:
                talos_recovery.wipe(env.talos, node)

        ship.world.run(reset)
    ship.world.wait(lambda: all(machines(ship)[number].boots == 2 for number in which), 200)
    ship.world.wait(lambda: all(machines(ship)[number].serves_talos for number in which), 200)


def sail(ship: Ship, file: Path, timeout: float | None = None, flow: Flow[Env] | None = None) -> list[Outcome]:
    with closing(ship.env()) as env:
        run = Run(env, ship.world.clock, ship.recorder, timeout, stop=threading.Event())
        return ship.world.run(lambda: run.make(restore.flow(file) if flow is None else flow))


def labels(ship: Ship) -> list[str]:
    with closing(ship.env()) as env:
        found = env.hetzner.list_servers(env.spec.names.owned_by_caph)
    return [each.labels[NOTE] for each in found if NOTE in each.labels]
