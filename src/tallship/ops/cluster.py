"""The Cluster API documents, and the control plane that comes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tallship.adapters import reach
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import ApiError, Unreachable
from tallship.manifests import access, changes, cluster, conditions, pivot, roll, rollout, worker_rollout
from tallship.ops import bootstrap, nudges
from tallship.ops.kinds import CLUSTER, CONTROL_PLANE, HCLOUD_MACHINE, HETZNER_CLUSTER, MACHINE, TALOS_CONFIG
from tallship.ops.objects import find, missing
from tallship.ops.server_choice import placed
from tallship.spec.names import CLUSTER_LABEL, CONTROL_PLANE_LABEL

Document = dict[str, Any]

TALOS_PORT = 50000
APPLY_CONTROL_PLANE = "apply TalosControlPlane"
PAUSED = "the Cluster is paused: no controller works on it"
UNPAUSE = "`tallship pivot` finishes a move; else whoever paused it sets its `spec.paused` to false"
DIAGNOSE = "`tallship diagnose` looks for the cause; the same command goes on from here"
"""What a person can do when machines or controllers are late."""


class ClusterApplied(Step[Env]):
    """Every document is applied and unchanged: the infrastructure, then, with its address, the control plane."""

    name = "apply"
    title = "Apply the cluster's documents"
    timeout = 300
    interval = 3

    def probe(self, env: Env) -> Seen:
        """Compare each document with what is stored."""
        if not has_providers(env):
            return Seen(State.BLOCKED, "needs `capi-init` first")
        if is_paused(env):
            return Seen(State.BROKEN, PAUSED, hint=UNPAUSE)
        wanted = infrastructure(env)
        if fixed := _refused(env, wanted):
            hint = "change it back, or make another cluster with it"
            return Seen(State.BROKEN, f"a cluster that stands cannot change this: {'; '.join(fixed)}", hint=hint)
        if (seen := missing(env.home, wanted)) is not None:
            return seen
        address = load_balancer_address(env)
        if not address:
            return Seen(State.WORKING, "waiting for the load balancer's address")
        seen = self.see_control_plane(env, address)
        if seen.state is State.READY and not env.hetzner.list_load_balancers(env.spec.names.owned_by_caph):
            told = f"Hetzner lists no load balancer of this cluster: has somebody deleted it? {address} was its address"
            return Seen(State.WORKING, told, hint=DIAGNOSE)
        return seen

    def act(self, env: Env, seen: Seen) -> None:
        """Apply what is known by now; what is stored and means the same keeps its bytes."""
        if seen.change.startswith(APPLY_CONTROL_PLANE):
            env.home.apply(control_plane(env, load_balancer_address(env)))
            # Cluster API v1.10 looks again only after 30 s when a Cluster's control plane was not there.
            nudges.tell(env, Seen(State.MISSING, change="tell CAPI: control-plane"))
            return
        for document in infrastructure(env):
            env.home.apply(document)

    def explain(self, env: Env) -> list[str]:
        """Return what CAPH says of the HetznerCluster."""
        live = find_hetzner_cluster(env)
        return conditions.why_not_ready(live) if live else []

    def see_control_plane(self, env: Env, address: str) -> Seen:
        """Compare the control plane's document, which must not replace or delete servers unasked."""
        wanted = control_plane(env, address)
        seen = missing(env.home, [wanted])
        live = find(env.home, wanted)
        if live is None or seen is None or env.replace:
            return seen or Seen(State.READY)
        hands = seen.change.removeprefix(APPLY_CONTROL_PLANE)
        if replaced := conditions.replaces_machines(live, wanted):
            return Seen(
                State.BROKEN,
                f"applying it would replace every server: {'; '.join(replaced)}{hands}",
                hint="`tallship plan` shows the difference; `tallship up --replace` agrees to it",
            )
        have, want = int(live["spec"]["replicas"]), int(wanted["spec"]["replicas"])
        if want < have:
            return Seen(
                State.BROKEN,
                f"applying it would delete {have - want} of {have} control planes{hands}",
                hint=f"`tallship scale {want}` deletes them one by one; or put {have} into the cluster file",
            )
        return seen


class ControlPlaneInitialized(Step[Env]):
    """The control plane is initialized. Not Ready: a node is Ready only after the CNI, which comes later."""

    name = "wait-cp"
    title = "Wait for the control plane"
    timeout = 1500
    interval = 4
    advice = DIAGNOSE

    def probe(self, env: Env) -> Seen:
        """Read the control plane's status; a server that runs unseen is a reason to nudge CAPH."""
        if not has_providers(env):
            return Seen(State.BLOCKED, "needs `capi-init` first")
        live = find_control_plane(env)
        if live is None:
            return Seen(State.BLOCKED, "needs `apply` first")
        if conditions.initialized(live):
            return Seen(State.READY)
        found, servers = list_control_planes(env), env.home.list(*HCLOUD_MACHINE, "default")
        seen = nudges.see(
            conditions.machines(found, servers),
            nudges.News("CAPH", find_hetzner_cluster(env), running_unseen(env, servers)),
            nudges.News("CACPPT", live, self._answering_unseen(env, live, found)),
        )
        return with_pause(env, seen)

    def act(self, env: Env, seen: Seen) -> None:
        """Tell the controller of the event."""
        nudges.tell(env, seen)

    def explain(self, env: Env) -> list[str]:
        """Return what the controllers say of the control plane and of each machine."""
        live = find_control_plane(env)
        objects = [live] if live else []
        objects += env.home.list(*HCLOUD_MACHINE, "default") + env.home.list(*TALOS_CONFIG, "default")
        return [line for each in objects for line in conditions.why_not_ready(each)]

    def _answering_unseen(self, env: Env, live: Document, machines: list[Document]) -> list[str]:
        """Return an event for what answers and CACPPT still waits for: Talos on each machine, then the API server."""
        if conditions.bootstrapped(live):
            return ["api-server"] if env.kubeconfig.exists() and env.workload.is_up() else []
        addresses = access.node_addresses(machines).external
        answering = reach.listening(addresses, TALOS_PORT)
        return [f"talos-{each}" for each in addresses if each in answering]


def _refused(env: Env, wanted: list[Document]) -> list[str]:
    """Return what of the infrastructure differs and cannot be changed any more."""
    found = [changes.of_document(live, each) for each in wanted[:2] if (live := find(env.home, each)) is not None]
    return [line for each in found if each.effect is changes.Effect.REFUSED for line in each.details]


def running_unseen(env: Env, servers: list[Document]) -> list[str]:
    """Return an event for each server that runs while CAPH still waits for its next poll."""
    waiting = {each["metadata"]["name"] for each in servers if not each.get("status", {}).get("ready")}
    if not waiting:
        return []
    found = env.hetzner.list_servers(env.spec.names.owned_by_caph)
    return [f"running-{each.id}" for each in found if each.name in waiting and each.status == "running"]


def has_providers(env: Env) -> bool:
    """True when the API that holds the Cluster API objects knows their kinds; False where there is none.

    Raises Unreachable when it is there and silent.
    """
    if env.manages_itself:
        return True
    if not env.management_kubeconfig.exists():
        return False
    try:
        env.home.find(*CONTROL_PLANE, env.spec.names.control_plane, "default")
    except Unreachable:
        if bootstrap.is_gone(env):
            return False
        raise
    except ApiError as error:
        if error.code == "unknown-kind":
            return False
        raise
    return True


def with_pause(env: Env, seen: Seen) -> Seen:
    """Return what is seen of work of the controllers; first that somebody has paused the Cluster, where that is so."""
    if not is_paused(env):
        return seen
    return replace(seen, detail=f"{PAUSED}; {seen.detail}", hint=UNPAUSE)


def is_paused(env: Env) -> bool:
    """True while controllers leave the cluster alone, as in the middle of a move."""
    live = env.home.find(*CLUSTER, env.spec.name, "default")
    return live is not None and pivot.is_paused(live)


def find_control_plane(env: Env) -> Document | None:
    """Return the live TalosControlPlane, or None."""
    return env.home.find(*CONTROL_PLANE, env.spec.names.control_plane, "default")


def list_control_planes(env: Env) -> list[Document]:
    """Return the Machines of the control plane."""
    return env.home.list(*MACHINE, "default", f"{CLUSTER_LABEL}={env.spec.name},{CONTROL_PLANE_LABEL}=")


def find_hetzner_cluster(env: Env) -> Document | None:
    """Return the live HetznerCluster, or None."""
    return env.home.find(*HETZNER_CLUSTER, env.spec.name, "default")


def load_balancer_address(env: Env) -> str:
    """Return the load balancer's public address, or nothing while it is not known."""
    live = find_hetzner_cluster(env)
    return conditions.load_balancer_address(live) if live else ""


def infrastructure(env: Env) -> list[Document]:
    """Return the infrastructure documents; CAPH's endpoint stays as it is, and so do placement groups with servers."""
    documents = cluster.infrastructure(placed(env))
    live = find_hetzner_cluster(env)
    if live is None:
        return documents
    servers: list[Document] = []
    if {each["name"] for each in worker_rollout.live_groups(live)} - set(cluster.placement_groups(env.spec)):
        servers = env.home.list(*HCLOUD_MACHINE, "default", f"{CLUSTER_LABEL}={env.spec.name}")
    return [_over_live(each, live, servers) for each in documents]


def _over_live(wanted: Document, live: Document, servers: list[Document]) -> Document:
    """Return a document with what must not be taken away from the live HetznerCluster."""
    if wanted["kind"] != "HetznerCluster":
        return wanted
    return worker_rollout.with_groups_in_use(conditions.with_live_endpoint(wanted, live), live, servers)


def control_plane(env: Env, address: str) -> Document:
    """Return the control plane document; patches that mean the same as the stored ones keep the stored bytes.

    Servers that were upgraded in place to what it says are not replaced for it, unless the person agreed to that.
    """
    wanted = cluster.control_plane(placed(env), address)
    live = find(env.home, wanted)
    if live is None:
        return wanted
    wanted = conditions.with_stored_patches(live, wanted)
    return rollout.without_replacing(wanted) if not env.replace and _was_in_place(env, live, wanted) else wanted


def _was_in_place(env: Env, live: Document, wanted: Document) -> bool:
    """True when every control plane runs the Talos that is wanted, and nothing else would change."""
    if not rollout.replaces_machines(live, wanted):
        return rollout.is_on_delete(live) and bool(_outdated(env, wanted))
    template = cluster.machine_template(placed(env))
    name = live["spec"]["infrastructureTemplate"]["name"]
    old = find(env.home, {**template, "metadata": {**template["metadata"], "name": name}})
    if old is None or not rollout.differs_in_talos_alone(live, wanted, (old, template)) or not env.kubeconfig.exists():
        return False
    nodes = [each for each in env.workload.list("v1", "Node") if conditions.is_control_plane(each)]
    return bool(nodes) and {conditions.talos_version(each) for each in nodes} == {env.spec.talos.version}


def _outdated(env: Env, wanted: Document) -> tuple[str, ...]:
    """Return the Machines that the document would have replaced."""
    servers, configs = env.home.list(*HCLOUD_MACHINE, "default"), env.home.list(*TALOS_CONFIG, "default")
    return roll.look(wanted, list_control_planes(env), servers, configs).outdated
