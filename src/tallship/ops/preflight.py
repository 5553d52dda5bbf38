"""Everything that can be known to fail before anything is created."""

from __future__ import annotations

from dataclasses import dataclass

from tallship import versions
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import ApiError, ManyErrors, ProgramError, SetupError, StepFailed, TallshipError, Unreachable
from tallship.localplane import plane
from tallship.localplane.kubernetes import LOOPBACK
from tallship.localplane.manager import WEBHOOK_PORT
from tallship.localplane.processes import is_free
from tallship.manifests import cluster, firewall
from tallship.ops import bootstrap, server_choice
from tallship.ops.cluster import has_providers
from tallship.ops.firewall import problems as firewall_problems
from tallship.ops.kinds import CLUSTER

NO_DOCKER_HINT = "or, on Linux, `management: local` needs neither kind nor Docker"
MORE_THAN_ONE_HINT = (
    "`--kubeconfig FILE` names the cluster that holds its state; or choose another name in the cluster file"
)


class Preflight(Step[Env]):
    """Programs, token, server type, and names are all right. Everything that is not is told at once."""

    name = "preflight"
    title = "Check what can be known before"
    timeout = 60

    def probe(self, env: Env) -> Seen:
        """Raise all findings together, or find nothing."""
        found = [*programs(env), *container_engine(env), *local_plane(env), *own_management(env), *token(env)]
        if not found:
            found = [*server_types(env), *names(env), *firewall_problems(env)]
        if len(found) == 1:
            raise found[0]
        if found:
            raise ManyErrors(found)
        return Seen(State.READY)


def programs(env: Env) -> list[TallshipError]:
    """Return an error for each program that is missing or too old."""
    found: list[TallshipError] = []
    for name, wanted in versions.PROGRAMS.items():
        if name == "kind" and not needs_kind(env):
            continue
        program = env.programs.search(name)
        if program is None:
            hint = f"{wanted.how_to_get}; {NO_DOCKER_HINT}" if name == "kind" else wanted.how_to_get
            found.append(SetupError(f"`{name}` is not installed", hint=hint))
        elif problem := wanted.problem(program.version):
            found.append(SetupError(f"`{program.path}`: {problem}", hint=wanted.how_to_get))
    return found


def needs_kind(env: Env) -> bool:
    """True when a kind cluster is to hold the Cluster API objects."""
    return env.spec.management.mode == "kind" and not env.manages_itself


def container_engine(env: Env) -> list[TallshipError]:
    """Return an error when kind has nothing to run its cluster in."""
    if not needs_kind(env) or env.management_kubeconfig.exists() or env.programs.search("kind") is None:
        return []
    try:
        env.programs.kind_clusters()
    except ProgramError as error:
        hint = f"start Docker; {NO_DOCKER_HINT}"
        return [SetupError("kind cannot use a container engine", detail=error.detail, hint=hint)]
    return []


def local_plane(env: Env) -> list[TallshipError]:
    """Return an error for everything that a local plane lacks on this machine."""
    if env.spec.management.mode != bootstrap.LOCAL or env.manages_itself:
        return []
    try:
        bootstrap.missing_programs(env)
    except SetupError as error:
        return [error]
    if plane.find(bootstrap.LocalCluster(env).folder) is None and not is_free(LOOPBACK, WEBHOOK_PORT):
        hint = "end what listens there (`ss -ltnp` shows it): another local plane, perhaps"
        return [SetupError(f"port {WEBHOOK_PORT} is in use, and CAPH can take no other", hint=hint)]
    return []


def own_management(env: Env) -> list[TallshipError]:
    """Return an error when Cluster API does not run on the Kubernetes that the file names; silence is told later."""
    if env.spec.management.mode != "kubeconfig" or env.manages_itself or not env.management_kubeconfig.exists():
        return []
    try:
        problem = versions.check_management(env.management.version())
    except Unreachable:
        return []
    return [] if problem is None else [SetupError(problem.message, hint=problem.hint)]


def token(env: Env) -> list[TallshipError]:
    """Return an error when the token does not read and write."""
    try:
        env.hetzner.check_token()
    except (SetupError, ApiError) as error:
        return [error]
    return []


@dataclass(frozen=True)
class Need:
    """Servers of one kind that the cluster file asks for, and where it does."""

    setting: str
    server_type: str
    location: str
    architecture: str
    count: int


def needs(env: Env) -> list[Need]:
    """Return what the control plane and each pool ask for."""
    spec = env.spec
    plane, home = spec.control_plane, spec.hetzner.location
    wanted = [Need("control_plane.server_type", server_choice.chosen(env), home, spec.architecture, plane.replicas)]
    for index, pool in enumerate(spec.workers):
        setting = f"workers[{index}].server_type"
        wanted.append(Need(setting, pool.server_type, pool.location or home, pool.architecture, pool.replicas))
    return wanted


def server_types(env: Env) -> list[TallshipError]:
    """Return an error for each server type that does not exist, or cannot be had in its location now."""
    wanted = needs(env)
    kinds = {name: env.hetzner.find_server_type(name) for name in dict.fromkeys(each.server_type for each in wanted)}
    found: list[TallshipError] = []
    for each in wanted:
        kind = kinds[each.server_type]
        if kind is None:
            message = f"Hetzner has no server type `{each.server_type}`"
            found.append(SetupError(message, hint=f"`{each.setting}` in the cluster file"))
        elif kind.architecture != each.architecture:
            have = f"`{each.server_type}` has {kind.architecture} processors, the image is for {each.architecture}"
            found.append(SetupError(have, hint="`image.architecture` in the cluster file"))
        elif each.count and each.location not in kind.available_in and not has_servers(env, each):
            found.append(
                StepFailed(
                    f"`{each.server_type}` is sold out in {each.location} now",
                    detail=f"available in: {', '.join(sorted(kind.available_in)) or 'nowhere'}",
                    hint="choose another type or location",
                )
            )
    return found


def has_servers(env: Env, need: Need) -> bool:
    """True when the cluster has as many servers of this type there already as its pools and control plane ask for."""
    wanted = sum(
        each.count for each in needs(env) if (each.server_type, each.location) == (need.server_type, need.location)
    )
    servers = env.hetzner.list_servers(env.spec.names.owned_by_caph)
    return sum((each.server_type, each.location) == (need.server_type, need.location) for each in servers) >= wanted


def names(env: Env) -> list[TallshipError]:
    """Return an error when the project holds a cluster of this name that is not ours, or a name is taken."""
    if is_ours(env):
        return []
    spec = env.spec
    owned = env.hetzner.list_owned(spec.names.owned_by_caph)
    if owned:
        return [
            StepFailed(
                f"this Hetzner project already holds a cluster `{spec.name}` that was not made from here",
                detail=", ".join(owned),
                hint=MORE_THAN_ONE_HINT,
            )
        ]
    taken = env.hetzner.names_taken(
        network=spec.names.network,
        placement_groups=[f"{spec.name}-{each}" for each in cluster.placement_groups(spec)],
        firewall=spec.names.firewall,
        ours=(spec.names.owner_label, firewall.CLUSTER_LABEL),
    )
    return [
        StepFailed(
            f"the name of {each} is taken by something that is not ours",
            hint="rename it, or choose another cluster name",
        )
        for each in taken
    ]


def is_ours(env: Env) -> bool:
    """True when a cluster of ours, reachable or merely stopped, holds the Cluster object."""
    try:
        if has_providers(env):
            return env.home.find(*CLUSTER, env.spec.name, "default") is not None
    except Unreachable:
        if bootstrap.of(env) is None:
            raise
        return True  # it is there, stopped perhaps
    home = bootstrap.of(env)
    return home is not None and env.management_kubeconfig.exists() and home.exists()
