"""The MachineHealthCheck, applied last: while nodes wait for their network it would reboot healthy servers."""

from __future__ import annotations

from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.manifests import health
from tallship.ops.cluster import has_providers
from tallship.ops.objects import equals_stored


class HealthChecksApplied(Step[Env]):
    """Servers whose node fails are rebooted by Cluster API."""

    name = "health-checks"
    title = "Apply the health checks"

    def probe(self, env: Env) -> Seen:
        """Compare the documents with what is stored."""
        if not has_providers(env):
            return Seen(State.BLOCKED, "needs `capi-init` first")
        documents = health.documents(env.spec)
        if not documents:
            return Seen(State.READY, "switched off in the cluster file")
        different = [each["kind"] for each in documents if not equals_stored(env.home, each)]
        if different:
            return Seen(State.MISSING, change=f"apply {', '.join(different)}")
        return Seen(State.READY)

    def act(self, env: Env, seen: Seen) -> None:
        """Apply the documents."""
        for document in health.documents(env.spec):
            env.home.apply(document)
