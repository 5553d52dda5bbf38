"""What `diagnose --fix` does: only what is safe at any moment, each a step that looks again before it acts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from tallship.engine import Flow, Seen, State, Step
from tallship.env import Env
from tallship.manifests.diagnosis import Finding, diagnose
from tallship.manifests.picture import of_cluster
from tallship.ops.addons import CiliumInstalled, HetznerCcmInstalled, TalosCcmInstalled
from tallship.ops.kinds import MACHINE
from tallship.ops.picture import gather
from tallship.ops.secret import TokenSecretMatches

RELEASES = {"cilium": CiliumInstalled, "hcloud-ccm": HetznerCcmInstalled, "talos-ccm": TalosCcmInstalled}
HEALTH_CHECK = ("cluster.x-k8s.io/v1beta1", "MachineHealthCheck")


@dataclass(frozen=True)
class ForgottenMachineDeleted(Step[Env]):
    """The Machine that has left etcd and that nobody comes back to is being deleted."""

    name: ClassVar[str] = "fix-machine"
    title: ClassVar[str] = "Delete the Machine that left etcd"

    machine: str

    def probe(self, env: Env) -> Seen:
        """Look again whether it is exactly this one."""
        told = [each.fix for each in diagnose(gather(env)) if each.code == "member-left"]
        if told == [f"machine {self.machine}"]:
            return Seen(State.MISSING, change=f"delete Machine {self.machine}")
        return Seen(State.READY, "it is not so any more")

    def act(self, env: Env, seen: Seen) -> None:
        """Delete it."""
        env.home.delete(*MACHINE, self.machine, "default")


class EarlyChecksRemoved(Step[Env]):
    """No health check is there while no node has a network."""

    name = "fix-health-checks"
    title = "Take early health checks away"

    def probe(self, env: Env) -> Seen:
        """Look again whether they are early."""
        told = [each for each in diagnose(gather(env)) if each.code == "check-early"]
        return Seen(State.MISSING, change=f"delete {', '.join(told[0].evidence)}") if told else Seen(State.READY)

    def act(self, env: Env, seen: Seen) -> None:
        """Delete them; `up` applies them again when the nodes are ready."""
        for each in of_cluster(env.home.list(*HEALTH_CHECK, "default"), env.spec.name):
            env.home.delete(*HEALTH_CHECK, each["metadata"]["name"], "default")


def fixes(findings: Iterable[Finding]) -> Flow[Env]:
    """Return the steps that mend what can be mended safely."""
    steps: list[Step[Env]] = []
    for finding in findings:
        kind, _, name = finding.fix.partition(" ")
        if kind == "machine":
            steps.append(ForgottenMachineDeleted(name))
        elif kind == "release":
            steps.append(RELEASES[name]())
        elif kind == "token":
            steps.append(TokenSecretMatches())
        elif kind == "health-checks":
            steps.append(EarlyChecksRemoved())
    return tuple(steps)
