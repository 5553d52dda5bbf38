"""The end of a cluster: Cluster API deletes what it made, and what is left of it at Hetzner goes by label."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from tallship.adapters.hetzner_resources import Resource
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import ApiError, Unreachable
from tallship.manifests import firewall, image
from tallship.ops import image_uses
from tallship.ops.kinds import CLUSTER, HCLOUD_MACHINE
from tallship.ops.pivot import UNPAUSE_HINT
from tallship.ops.sides import Side, inside, outside

SWEPT = ("servers", "load_balancers", "volumes", "placement_groups", "networks", "firewalls")
"""What is deleted by label, in this order: a network waits for those in it, a firewall for the servers behind it, and
a volume for the server that it is attached to."""

BUSY = 8.0
"""Seconds until something that is in use may be tried again."""
CCM_LABEL = "hcloud-ccm/service-uid"
"""Hetzner CCM: on each load balancer that it made for a Service."""


class DeletionAllowed(Step[Env]):
    """The cluster file does not protect the cluster."""

    name = "destroy-allowed"
    title = "See whether it may be deleted"

    def probe(self, env: Env) -> Seen:
        """Read the file."""
        if env.spec.delete_protection:
            hint = "set `delete_protection: false` in the cluster file first"
            return Seen(State.BROKEN, f"the cluster file protects `{env.spec.name}`", hint=hint)
        return Seen(State.READY)


class ServicesDeleted(Step[Env]):
    """No Service of type LoadBalancer is left, so that the cluster's own controllers delete their load balancers."""

    name = "destroy-services"
    title = "Delete the Services' load balancers"
    timeout = 300

    def probe(self, env: Env) -> Seen:
        """Ask the cluster, if it still answers."""
        if not env.workload_answers:
            is_known = env.kubeconfig.exists()
            return Seen(State.READY, "the cluster does not answer: what it left goes by label" if is_known else "")
        found = env.workload.list("v1", "Service")
        names = [_place(each) for each in found if each["spec"].get("type") == "LoadBalancer"]
        deleting = [_place(each) for each in found if each["metadata"].get("deletionTimestamp")]
        if set(names) - set(deleting):
            return Seen(State.MISSING, change=f"delete Services {', '.join(sorted(set(names) - set(deleting)))}")
        return Seen(State.WORKING, f"waiting for {', '.join(names)} to go") if names else Seen(State.READY)

    def act(self, env: Env, seen: Seen) -> None:
        """Delete them."""
        for each in env.workload.list("v1", "Service"):
            if each["spec"].get("type") == "LoadBalancer":
                env.workload.delete("v1", "Service", each["metadata"]["name"], each["metadata"]["namespace"])


@dataclass(frozen=True)
class ClusterDeleted(Step[Env]):
    """Cluster API holds no Cluster of this name: it has deleted what it made, or is held back where it would die."""

    name: ClassVar[str] = "destroy-cluster"
    title: ClassVar[str] = "Delete the Cluster"
    timeout: ClassVar[float] = 1200
    interval: ClassVar[float] = 4

    by_label: bool = False
    """The person says that the management cluster is gone for good."""
    homes: set[str] = field(default_factory=set, compare=False)
    """Where this run has seen the Cluster: one that was outside is not looked for in the cluster that goes with it."""

    def probe(self, env: Env) -> Seen:
        """Look where the Cluster is. One that manages itself is paused: its controllers go with its servers."""
        here = Side(None) if self.by_label else _outside(env)
        if not self.homes and _inside(env).is_active:
            return Seen(State.MISSING, change="pause the Cluster, which manages itself, so that nothing is made anew")
        if here.cluster is None:
            return Seen(State.READY, "by label alone" if self.by_label else "")
        self.homes.add("outside")
        if here.is_paused:
            return Seen(State.BROKEN, "the Cluster is paused: its controllers would delete nothing", hint=UNPAUSE_HINT)
        if not here.cluster["metadata"].get("deletionTimestamp"):
            return Seen(State.MISSING, change=f"delete Cluster {env.spec.name}")
        left = len(env.management.list(*HCLOUD_MACHINE, "default"))
        return Seen(State.WORKING, f"{left} servers are left" if left else "network and load balancer are left")

    def act(self, env: Env, seen: Seen) -> None:
        """Pause it, or delete it."""
        if seen.change.startswith("pause"):
            env.workload.patch(*CLUSTER, env.spec.name, "default", {"spec": {"paused": True}})
        else:
            env.management.delete(*CLUSTER, env.spec.name, "default")


@dataclass(frozen=True)
class LeftoversDeleted(Step[Env]):
    """Nothing at Hetzner carries the cluster's labels; snapshots stay."""

    name: ClassVar[str] = "destroy-sweep"
    title: ClassVar[str] = "Delete what is left at Hetzner"
    timeout: ClassVar[float] = 600
    interval: ClassVar[float] = 4

    left: list[Resource] = field(default_factory=list, compare=False)
    """What this run's last look has found: the kind that is deleted now, which alone is looked at until it is gone."""

    def probe(self, env: Env) -> Seen:
        """Look for the next kind of thing that is left; at the end for all."""
        now = of_kind(env, self.left[0].path) if self.left else []
        self.left[:] = now or _first_kind(leftovers(env))
        if not self.left:
            return Seen(State.READY, "nothing is left at Hetzner")
        names = ", ".join(f"{each.noun} {each.name}" for each in self.left)
        return Seen(State.MISSING, f"left: {names}", change=f"delete {names}")

    def act(self, env: Env, seen: Seen) -> None:
        """Delete all of that kind. Raises ApiError that passes for what is in use: what uses it may be going."""
        busy: list[ApiError] = []
        for each in self.left:
            try:
                env.hetzner.delete_resource(each)
            except ApiError as error:
                if error.code not in ("locked", "resource_in_use"):
                    raise
                busy.append(error)
        if busy:
            first = busy[0]
            raise ApiError(first.message, code=first.code, hint=first.hint, may_pass=True, again_after=BUSY) from first


class ImagesDeleted(Step[Env]):
    """No snapshot that only this cluster booted from is left."""

    name = "destroy-images"
    title = "Delete its Talos snapshots"
    timeout = 120

    def probe(self, env: Env) -> Seen:
        """Look for them."""
        names = ", ".join(each.name for each in own_images(env))
        return Seen(State.MISSING, change=f"delete {names}") if names else Seen(State.READY)

    def act(self, env: Env, seen: Seen) -> None:
        """Delete them."""
        for each in own_images(env):
            env.hetzner.delete_resource(each)


class CredentialsRemoved(Step[Env]):
    """No kubeconfig or talosconfig of a cluster that is gone is left; exports stay."""

    name = "destroy-files"
    title = "Remove the credentials"

    def probe(self, env: Env) -> Seen:
        """Look for the files."""
        names = ", ".join(path.name for path in (env.kubeconfig, env.talosconfig) if path.exists())
        return Seen(State.MISSING, change=f"remove {names}") if names else Seen(State.READY)

    def act(self, env: Env, seen: Seen) -> None:
        """Remove them."""
        for path in (env.kubeconfig, env.talosconfig):
            path.unlink(missing_ok=True)
        env.look_again()


def leftovers(env: Env) -> list[Resource]:
    """Return everything at Hetzner that belongs to the cluster, by its labels, in the order of its deletion."""
    with env.hetzner.memory.kept_alone():
        return [each for path in SWEPT for each in of_kind(env, path)]


def of_kind(env: Env, path: str) -> list[Resource]:
    """Return what belongs to the cluster in one collection; of load balancers those too that its services have."""
    hetzner, spec = env.hetzner, env.spec
    if path == "firewalls":
        return hetzner.list_resources(path, f"{firewall.CLUSTER_LABEL}={spec.name}")
    ours = hetzner.list_resources(path, spec.names.owned_by_caph)
    if path == "load_balancers":
        networks = {each.id for each in hetzner.list_resources("networks", spec.names.owned_by_caph)}
        made_by_ccm = hetzner.list_resources(path, CCM_LABEL) if networks else []
        ours += [each for each in made_by_ccm if each.networks & networks]
    return ours


def own_images(env: Env) -> list[Resource]:
    """Return the snapshots of the cluster file's image that no other cluster uses."""
    uses = image_uses.find(env)
    found = env.hetzner.list_resources("images", image.selector(env.spec))
    return [each for each in found if set(uses.of(each.id, image.name(env.spec))) <= {env.spec.name}]


def _first_kind(left: list[Resource]) -> list[Resource]:
    return [each for each in left if each.path == left[0].path] if left else []


def _outside(env: Env) -> Side:
    try:
        return outside(env)
    except Unreachable as silence:
        hint = "start it; if it is gone for good, `tallship destroy --by-label` does without it"
        raise Unreachable(f"the management cluster does not answer: {silence.message}", hint=hint) from silence


def _inside(env: Env) -> Side:
    return inside(env) if env.workload_answers else Side(None)


def _place(item: dict[str, Any]) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"
