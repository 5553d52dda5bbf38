"""What Talos puts into its cluster is what the Talos that runs would put there: CoreDNS, and rules of Talos' own.

Talos v1.12 only makes what is missing. So after an upgrade, by new servers or in place, what an older release has made
stays as that made it; `talosctl upgrade-k8s` applies it at its end.
"""

from __future__ import annotations

from typing import Any, ClassVar

from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.manifests import conditions
from tallship.ops.objects import equals_stored

Document = dict[str, Any]


class ManifestsSynced(Step[Env]):
    """Every object that Talos makes in a new cluster is as the Talos that runs here would make it."""

    name: ClassVar[str] = "manifests"
    title: ClassVar[str] = "Bring Talos' own objects up to date"
    timeout: ClassVar[float] = 120

    def probe(self, env: Env) -> Seen:
        """Ask a control plane for its manifests, and the API server whether applying them would change anything."""
        if not env.kubeconfig.exists() or not env.talosconfig.exists():
            return Seen(State.BLOCKED, "needs `kubeconfig` and `talosconfig` first")
        different = self._different(env)
        if not different:
            return Seen(State.READY)
        names = ", ".join(f"{each['kind']} {conditions.name(each)}" for each in different)
        return Seen(State.MISSING, change=f"apply {names}")

    def act(self, env: Env, seen: Seen) -> None:
        """Apply those that differ; what somebody has set beside them stays."""
        for each in self._different(env):
            env.workload.apply(each)

    def _different(self, env: Env) -> list[Document]:
        nodes = [each for each in env.workload.list("v1", "Node") if conditions.is_control_plane(each)]
        documents = env.talos.manifests(conditions.internal_ip(nodes[0]))
        return [each for each in documents if not equals_stored(env.workload, each)]
