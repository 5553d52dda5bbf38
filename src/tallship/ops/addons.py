"""The three Helm releases that make nodes Ready: Cilium, the Hetzner CCM and the Talos CCM."""

from __future__ import annotations

from typing import Any, ClassVar

from tallship import versions
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import StepFailed
from tallship.manifests import addons, conditions, secret
from tallship.ops.cluster import find_hetzner_cluster
from tallship.ops.objects import missing

STALE_SECONDS = 360
"""A pending release that is older than helm's own time limit belongs to a helm that was killed."""


class ReleaseDeployed(Step[Env]):
    """The release is deployed at this chart version and with these values."""

    addon: ClassVar[str]
    timeout = 600

    def probe(self, env: Env) -> Seen:
        """Read helm's own record of the release."""
        if not env.kubeconfig.exists():
            return Seen(State.BLOCKED, "needs `kubeconfig` first")
        chart = versions.CHARTS[self.addon]
        wanted = self._version(env)
        records = env.workload.list("v1", "Secret", chart.namespace, labels=f"owner=helm,name={chart.release}")
        release = conditions.newest_release(records)
        if env.programs.helm_is_running(chart.release):  # perhaps of a run that was killed
            return Seen(State.WORKING, "helm is at it")
        if release is None:
            return Seen(State.MISSING, change=f"install {chart.name} {wanted}")
        if release.is_pending:
            return self._see_pending(env, release)
        if conditions.release_equals(release, wanted, addons.values(self.addon, env.spec)):
            return Seen(State.READY, f"{chart.name} {wanted}")
        is_same = release.status == "deployed" and release.chart_version == wanted
        differs = "its values differ" if is_same else f"it is {release.status} at {release.chart_version}"
        return Seen(State.MISSING, differs, f"upgrade {chart.name} to {wanted}: {differs}")

    def act(self, env: Env, seen: Seen) -> None:
        """Run `helm upgrade --install`, never with `--wait`: no chart becomes ready before the others are there."""
        chart = versions.CHARTS[self.addon]
        if seen.change.startswith("clean up"):
            env.programs.helm_recover(chart.release, chart.namespace, env.kubeconfig)
            return
        values = addons.values(self.addon, env.spec)
        env.programs.helm_upgrade(chart, self._version(env), values, env.kubeconfig, env.site.charts)

    def _see_pending(self, env: Env, release: conditions.Release) -> Seen:
        age = (env.clock.today() - release.changed_at).total_seconds()
        if age < STALE_SECONDS and not env.programs.helm_was_killed(release.name):
            return Seen(State.WORKING, f"{release.status} since {age:.0f} s: another helm may be at it")
        return Seen(
            State.MISSING, f"a helm that was killed left it {release.status}", f"clean up after helm ({release.status})"
        )

    def _version(self, env: Env) -> str:
        return str(getattr(env.spec.addons, self.addon.replace("-", "_")).version)


class CiliumInstalled(ReleaseDeployed):
    """Cilium is deployed with our values."""

    name = "cilium"
    title = "Install Cilium"
    addon = "cilium"


class HetznerCcmInstalled(ReleaseDeployed):
    """The Hetzner CCM is deployed with our values, and the Secret it reads is there."""

    name = "hcloud-ccm"
    title = "Install the Hetzner CCM"
    addon = "hcloud-ccm"

    def probe(self, env: Env) -> Seen:
        """Look at the Secret first: without it the pod does not start."""
        if not env.kubeconfig.exists():
            return Seen(State.BLOCKED, "needs `kubeconfig` first")
        return missing(env.workload, [self._secret(env)], "Secret kube-system/hcloud") or super().probe(env)

    def act(self, env: Env, seen: Seen) -> None:
        """Apply the Secret, or the chart."""
        if seen.change.startswith("apply Secret"):
            env.workload.apply(self._secret(env))
            return
        super().act(env, seen)

    def _secret(self, env: Env) -> dict[str, Any]:
        live = find_hetzner_cluster(env)
        network = conditions.network_id(live) if live else None
        if network is None:
            raise StepFailed("the cluster's network is not known", hint="`tallship up --only apply` makes it")
        return secret.ccm(env.site.token, network)


class TalosCcmInstalled(ReleaseDeployed):
    """The Talos CCM is deployed: it approves the kubelets' serving certificates."""

    name = "talos-ccm"
    title = "Install the Talos CCM"
    addon = "talos-ccm"
