"""Parts of the cluster's status: the add-ons, the certificates, and the load balancer's view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tallship import versions
from tallship.adapters.hetzner_resources import LoadBalancer
from tallship.env import Env
from tallship.manifests import access, conditions

Document = dict[str, Any]

NAMESPACE = "kube-system"
"""Where every add-on runs."""


@dataclass(frozen=True)
class Addon:
    """A Helm release that the cluster file asks for."""

    name: str
    wanted: str
    installed: str
    """The chart's version; nothing when it is not installed."""
    state: str
    """Helm's word, such as `deployed`."""
    waiting: tuple[str, ...]
    """Its Deployments and DaemonSets that are not whole."""

    @property
    def problem(self) -> str:
        """What is wrong with it, or nothing."""
        if not self.installed:
            return f"{self.name} is not installed"
        if self.state != "deployed":
            return f"{self.name} is {self.state}"
        if self.installed != self.wanted:
            return f"{self.name} is {self.installed}, the cluster file says {self.wanted}"
        return f"{self.name} is not whole: {', '.join(self.waiting)}" if self.waiting else ""


@dataclass(frozen=True)
class Certificate:
    """A certificate, and its end."""

    what: str
    ends: datetime
    days: int
    """Whole days until then; negative when it is over."""
    hint: str

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        return {"what": self.what, "ends": self.ends.isoformat(), "days": self.days}


def addons(env: Env) -> list[Addon]:
    """Return each add-on of the cluster file as it is in the cluster (three calls)."""
    records = env.workload.list("v1", "Secret", NAMESPACE, labels="owner=helm")
    workloads = env.workload.list("apps/v1", "Deployment", NAMESPACE) + env.workload.list(
        "apps/v1", "DaemonSet", NAMESPACE
    )
    return [_addon(name, env, records, workloads) for name in versions.CHARTS]


def _addon(name: str, env: Env, records: list[Document], workloads: list[Document]) -> Addon:
    chart = versions.CHARTS[name]
    own = [each for each in records if (each["metadata"].get("labels") or {}).get("name") == chart.release]
    release = conditions.newest_release(own)
    waiting = tuple(
        sorted(
            f"{each['kind']} {conditions.name(each)} ({why})"
            for each in workloads
            if _release(each) == chart.release and (why := _why_not_whole(each))
        )
    )
    wanted = str(getattr(env.spec.addons, name.replace("-", "_")).version)
    return Addon(name, wanted, release.chart_version if release else "", release.status if release else "", waiting)


def _release(workload: Document) -> str:
    notes = workload["metadata"].get("annotations") or {}
    return str(notes.get("meta.helm.sh/release-name", ""))


def _why_not_whole(workload: Document) -> str:
    """Return how many of its pods are ready, when these are not all."""
    status = workload.get("status") or {}
    if workload["kind"] == "DaemonSet":
        want, have = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    else:
        want, have = workload["spec"].get("replicas", 1), status.get("readyReplicas", 0)
    return f"{have} of {want} ready" if have < want else ""


def certificates(env: Env) -> list[Certificate]:
    """Return the certificates in the local kubeconfig and talosconfig: the person's own, and the authorities'."""
    found = []
    today = env.clock.today()
    for noun, path in (("kubeconfig", env.kubeconfig), ("talosconfig", env.talosconfig)):
        if not path.exists():
            continue
        try:
            given = access.read(noun, path.read_text(encoding="utf-8"))
            ends = access.expires(given.certificate), access.expires(given.authority)
        except ValueError:
            continue  # the step that writes it tells, and writes it again
        renewal = f"`tallship up --only {noun}` fetches a new one"
        found.append(Certificate(f"the certificate in the {noun}", ends[0], (ends[0] - today).days, renewal))
        rotation = "authorities are renewed by hand: Talos' documentation on CA rotation"
        found.append(Certificate(f"the authority in the {noun}", ends[1], (ends[1] - today).days, rotation))
    return found


def balancer_problems(balancers: Iterable[LoadBalancer], servers: Mapping[int, str]) -> list[str]:
    """Return each server, by name, that a load balancer does not send to."""
    return [
        f"load balancer {each.name} finds {servers.get(server, server)} {state} on port {port}"
        for each in balancers
        for server, ports in sorted(each.health.items())
        for port, state in sorted(ports.items())
        if state == "unhealthy"
    ]
