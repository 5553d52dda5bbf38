"""The MachineHealthCheck, applied last: while nodes wait for their network it would reboot healthy servers."""

from __future__ import annotations

from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.manifests import health
from tallship.ops.cluster import has_providers
from tallship.ops.kinds import MACHINE_HEALTH_CHECK
from tallship.ops.objects import missing


class HealthChecksApplied(Step[Env]):
    """Servers whose node fails are rebooted by Cluster API, workers replaced."""

    name = "health-checks"
    title = "Apply the health checks"

    def probe(self, env: Env) -> Seen:
        """Compare the documents with what is stored."""
        if not has_providers(env):
            return Seen(State.BLOCKED, "needs `capi-init` first")
        documents = health.documents(env.spec)
        if useless := self._useless(env):
            return Seen(State.MISSING, change=f"delete MachineHealthCheck {', '.join(useless)}")
        if not documents:
            return Seen(State.READY, "switched off in the cluster file")
        return missing(env.home, documents) or Seen(State.READY)

    def act(self, env: Env, seen: Seen) -> None:
        """Apply the documents, or delete what the file has switched off."""
        for name in self._useless(env):
            env.home.delete(*MACHINE_HEALTH_CHECK, name, "default")
        for document in health.documents(env.spec):
            env.home.apply(document)

    def _useless(self, env: Env) -> list[str]:
        """Return the names of health checks of ours that the cluster file does not ask for."""
        wanted = {each["metadata"]["name"] for each in health.documents(env.spec)}
        ours = (env.spec.names.health_check, env.spec.names.workers_health_check)
        return [each for each in ours if each not in wanted and env.home.find(*MACHINE_HEALTH_CHECK, each, "default")]
