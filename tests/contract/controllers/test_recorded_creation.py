"""The same documents, applied at once, lead to the same conditions as with the real controllers, lies included."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from condition_sequences import RECORDINGS, Recorder, Step, recorded, sequences
from controller_world import ControllerWorld, manifests

from tallship.lab.kubeclient import KubeClient
from tallship.lab.talos import durations

pytestmark = pytest.mark.skipif(not RECORDINGS.exists(), reason=f"{RECORDINGS} is not there")

NO_NETWORK = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)


@dataclass(frozen=True)
class Difference:
    """Why a sequence cannot be equal, and how it may differ; its end is always the same."""

    reason: str
    parts: tuple[str, ...]
    """Steps that only one side has contain one of these."""


_CHANCE = "three Machines get on side by side: which is seen first, and how often, is chance"
DIFFERENCES = {
    ("Cluster 1", "v1beta2:ControlPlaneMachinesReady"): Difference(_CHANCE, ("* Machine",)),
    ("TalosControlPlane 1", "MachinesReady"): Difference(_CHANCE, ("WaitingForInfrastructure", "BootstrapNotReady")),
    ("TalosControlPlane 1", "MachinesBootstrapped"): Difference(_CHANCE, ("doesn't have an any InternalIP",)),
    ("TalosControlPlane 1", "EtcdClusterHealthyCondition"): Difference(
        "Talos knows etcd's health only some seconds after its start; the recorded machines knew it at once",
        ("service is not healthy", "expected to have 3 members"),
    ),
}


async def register(client: KubeClient, name: str, server_id: int) -> None:
    """Register a node as kubelet does, with the providerID that a cloud controller gives it."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    node["metadata"]["labels"] = {"node-role.kubernetes.io/control-plane": ""}  # type: ignore[index]
    await client.create({**node, "spec": {"providerID": f"hcloud://{server_id}"}})
    await set_ready(client, name, "False", NO_NETWORK)


async def set_ready(client: KubeClient, name: str, status: str, message: str = "") -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    condition = {"type": "Ready", "status": status, "message": message}
    await client.patch(node, {"status": {"conditions": [condition]}}, subresource="status")


@pytest.fixture
def ours(booting_world: ControllerWorld, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], list[Step]]:
    """The sequences of a creation: servers boot, etcd and the API come up, nodes register, then turn ready."""
    world = booting_world
    # As recorded, the control plane's next poll meets the API before Cluster API's probe does.
    monkeypatch.setattr(durations, "API_SERVER_FIRST", 25.0)
    world.run(world.deploy())
    recorder = Recorder(world)
    recorder.start()
    world.run(world.apply(*manifests(world.token)))
    world.wait(158)
    client = world.workload()
    servers = [(each["name"], each["id"]) for each in world.call(lambda: world.hetzner.servers())]
    for name, server_id in servers:
        world.run(register(client, name, server_id))
        world.wait(6)
    for name, _ in servers:
        world.run(set_ready(client, name, "True"))
        world.wait(6)
    world.wait(30)
    world.run(client.close())
    return sequences(recorder.events)


def test_conditions_are_those_that_the_real_controllers_were_seen_to_set(
    ours: dict[tuple[str, str], list[Step]],
) -> None:
    theirs = sequences(recorded())
    assert ours.keys() == theirs.keys()
    wrong = {key: (steps, ours[key]) for key, steps in theirs.items() if not agree(key, ours[key], steps)}
    assert not wrong, "\n".join(f"{key}\n  recorded {a}\n  ours     {b}" for key, (a, b) in wrong.items())


def agree(key: tuple[str, str], mine: list[Step], recorded_steps: list[Step]) -> bool:
    difference = DIFFERENCES.get(key)
    if difference is None:
        return mine == recorded_steps
    odd = set(mine) ^ set(recorded_steps)
    known = all(any(part in "".join(step) for part in difference.parts) for step in odd)
    return known and mine[-1] == recorded_steps[-1]
