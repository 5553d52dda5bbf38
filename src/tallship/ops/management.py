"""The cluster that runs Cluster API, and the providers in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tallship import versions
from tallship.adapters.kube import Kube
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import Unreachable
from tallship.manifests import clusterctl, conditions
from tallship.ops import bootstrap, local_providers


class ManagementRunning(Step[Env]):
    """The API that holds the Cluster API objects answers: the cluster itself after a pivot, else kind or your own."""

    name = "kind-create"
    title = "Create the management cluster"
    timeout = 600

    def probe(self, env: Env) -> Seen:
        """Ask the API; only when it is silent ask kind."""
        if env.manages_itself:
            return Seen(State.READY, "the cluster manages itself")
        cluster = bootstrap.of(env)
        if cluster is None:
            return self._probe_own(env)
        if env.management_kubeconfig.exists() and env.management.is_up():
            return Seen(State.READY)
        return cluster.probe()

    def _probe_own(self, env: Env) -> Seen:
        hint = "`management.kubeconfig` names the cluster that runs Cluster API; is it up?"
        if not env.management_kubeconfig.exists():
            return Seen(State.BROKEN, f"there is no {env.management_kubeconfig}", hint=hint)
        try:
            env.management.find("v1", "Namespace", "default")
        except Unreachable as silence:
            said = f"the Kubernetes of {env.management_kubeconfig} does not answer"
            raise Unreachable(said, detail=silence.message, hint=hint) from silence
        return Seen(State.READY)

    def act(self, env: Env, seen: Seen) -> None:
        """Create it, start it, or write its kubeconfig."""
        cluster = bootstrap.of(env)
        if cluster is not None:
            cluster.act(seen, lambda text: env.tell(self, text))


class ProvidersInstalled(Step[Env]):
    """Cluster API and its providers are there at the pinned versions, and their Deployments are available."""

    name = "capi-init"
    title = "Install Cluster API and its providers"
    timeout = 900
    interval = 3

    def probe(self, env: Env) -> Seen:
        """Compare clusterctl's inventory and the Deployments with the pinned versions."""
        if self._is_local(env):
            return local_providers.probe(env)
        if not self.is_up(env):
            return Seen(State.BLOCKED, "needs `kind-create` first")
        kube = self.api(env)
        absent, other = conditions.provider_problems(kube.list("clusterctl.cluster.x-k8s.io/v1alpha3", "Provider"))
        if other:
            hint = "these are not the versions that this release was tried with; another cluster may need them"
            return Seen(State.BROKEN, "; ".join(other), hint=hint)
        if absent and (problem := versions.check_management(kube.version())) is not None:
            return Seen(State.BROKEN, problem.message, hint=problem.hint)
        if absent:
            if kube.find("v1", "Namespace", "cert-manager-test"):
                return Seen(State.WORKING, "waiting for namespace cert-manager-test to go")
            return Seen(State.MISSING, change=f"install {', '.join(absent)}")
        waiting = [each for each in self._deployments(kube) if not conditions.deployment_available(each)]
        if waiting:
            names = ", ".join(each["metadata"]["name"] for each in waiting)
            return Seen(State.WORKING, f"waiting for {names}")
        return Seen(State.READY)

    def act(self, env: Env, seen: Seen) -> None:
        """Run `clusterctl init` with every version given."""
        if self._is_local(env):
            local_providers.act(env, lambda text: env.tell(self, text))
            return
        config = clusterctl.config(env.site.components)
        env.programs.clusterctl_init(*self.target(env), config, clusterctl.init_arguments(), self.timeout)

    def explain(self, env: Env) -> list[str]:
        """Return the last events of the providers' namespaces."""
        if self._is_local(env):
            return local_providers.explain(env)
        return [line for each in versions.PROVIDERS for line in self.api(env).events(each.namespace)[-3:]]

    def api(self, env: Env) -> Kube:
        """Return the API that holds the Cluster API objects."""
        return env.home

    def is_up(self, env: Env) -> bool:
        """True when that API answers. Raises Unreachable when it is there and silent."""
        return bootstrap.home_answers(env)

    def target(self, env: Env) -> tuple[Path, str | None]:
        """Return its kubeconfig and context."""
        if env.manages_itself:
            return env.kubeconfig, None
        return env.management_kubeconfig, env.spec.management.context

    def _is_local(self, env: Env) -> bool:
        return env.spec.management.mode == bootstrap.LOCAL and self.target(env)[0] != env.kubeconfig

    def _deployments(self, kube: Kube) -> list[dict[str, Any]]:
        found = [kube.find("apps/v1", "Deployment", each.deployment, each.namespace) for each in versions.PROVIDERS]
        return [each for each in found if each is not None]
