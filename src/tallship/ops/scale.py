"""The number of control planes changes by one at a time, each time with etcd whole before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tallship.engine import Flow, Seen, State, Step
from tallship.env import Env
from tallship.manifests import conditions
from tallship.ops.cluster import find_control_plane
from tallship.ops.kinds import CONTROL_PLANE
from tallship.ops.nodes import etcd_problems
from tallship.ops.rollout import SERVER_SECONDS, ControlPlaneRolledOut


@dataclass(frozen=True)
class ControlPlanesCounted(Step[Env]):
    """There are so many control planes, and as many healthy members of etcd."""

    name: ClassVar[str] = "scale"
    title: ClassVar[str] = "Add or remove one control plane"
    timeout: ClassVar[float] = SERVER_SECONDS
    interval: ClassVar[float] = 5

    replicas: int

    def probe(self, env: Env) -> Seen:
        """Compare the document, then the Machines, then etcd."""
        plane = find_control_plane(env)
        if plane is None or not conditions.initialized(plane):
            return Seen(State.BLOCKED, "needs `wait-cp` first")
        have = int(plane["spec"]["replicas"])
        if have != self.replicas:
            return Seen(State.MISSING, change=f"make {have} control planes {self.replicas}")
        rolled = ControlPlaneRolledOut(is_last=False).probe(env)
        if rolled.state is not State.READY:
            return rolled
        nodes = [each for each in env.workload.list("v1", "Node") if conditions.is_control_plane(each)]
        addresses = [conditions.internal_ip(node) for node in nodes]
        if sick := etcd_problems(env.talos, addresses, self.replicas):
            return Seen(State.WORKING, "; ".join(sick))
        return Seen(State.READY, f"{self.replicas} control planes")

    def act(self, env: Env, seen: Seen) -> None:
        """Say the number, or do what the roll-out lacks."""
        if seen.change.startswith("make "):
            name = env.spec.names.control_plane
            env.home.patch(*CONTROL_PLANE, name, "default", {"spec": {"replicas": self.replicas}})
        else:
            ControlPlaneRolledOut().act(env, seen)

    def explain(self, env: Env) -> list[str]:
        """Return what the controllers say."""
        return ControlPlaneRolledOut().explain(env)


def counted(env: Env) -> Flow[Env]:
    """Return a step for each number from what there is to what the file wants, both included."""
    plane = find_control_plane(env)
    have, want = int(plane["spec"]["replicas"]) if plane else 0, env.spec.control_plane.replicas
    way = range(have, want + 1) if have < want else range(have, want - 1, -1)
    return tuple(ControlPlanesCounted(number) for number in way) if have else ()
