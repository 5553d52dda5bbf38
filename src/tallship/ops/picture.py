"""Gathers everything that a diagnosis looks at, side by side; what is down is noted and hides nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from tallship import versions
from tallship.adapters.kube import Kube
from tallship.env import Env
from tallship.errors import ApiError, TallshipError
from tallship.manifests.picture import Document, Ends, Picture, of_cluster
from tallship.ops import controller_logs
from tallship.ops.firewall_view import view
from tallship.ops.kinds import CLUSTER
from tallship.ops.node_list import look_at_etcd
from tallship.ops.restore_nodes import list_planes, talos_of
from tallship.ops.status_parts import certificates

MANAGEMENT_KINDS = (
    ("cluster.x-k8s.io/v1beta1", "Cluster"),
    ("cluster.x-k8s.io/v1beta1", "Machine"),
    ("cluster.x-k8s.io/v1beta1", "MachineDeployment"),
    ("cluster.x-k8s.io/v1beta1", "MachineSet"),
    ("cluster.x-k8s.io/v1beta1", "MachineHealthCheck"),
    ("infrastructure.cluster.x-k8s.io/v1beta1", "HetznerCluster"),
    ("infrastructure.cluster.x-k8s.io/v1beta1", "HCloudMachine"),
    ("infrastructure.cluster.x-k8s.io/v1beta1", "HCloudMachineTemplate"),
    ("bootstrap.cluster.x-k8s.io/v1alpha3", "TalosConfig"),
    ("controlplane.cluster.x-k8s.io/v1alpha3", "TalosControlPlane"),
    ("v1", "Secret"),
    ("v1", "Event"),
)
"""Looked at in the namespace of the Cluster API objects."""
WORKLOAD_KINDS = (("v1", "Pod"), ("v1", "Secret"), ("apps/v1", "Deployment"), ("apps/v1", "DaemonSet"), ("v1", "Event"))
"""Looked at in kube-system."""
EVERYWHERE = (("v1", "Node"), ("certificates.k8s.io/v1", "CertificateSigningRequest"))
OF_CLUSTER, OF_PROJECT = ("servers", "load_balancers", "placement_groups"), ("networks", "firewalls", "images")
LOG_LINES = 100


def gather(env: Env, *, logs: bool = False) -> Picture:
    """Return what can be seen now; `logs`: the controllers' last lines too."""
    picture = Picture(env.spec, env.clock.today())
    looks: dict[str, Callable[[], None]] = {
        "Cluster API": partial(_see_management, env, picture),
        "the cluster": partial(_see_workload, env, picture),
        "Hetzner": partial(_see_hetzner, env, picture),
        "certificates": partial(_see_certificates, env, picture),
        "the other management cluster": partial(_see_other_side, env, picture),
    }
    with ExitStack() as moment:
        if env.kubeconfig.exists():
            moment.enter_context(env.workload.memory.kept())
        if env.management_kubeconfig.exists():
            moment.enter_context(env.management.memory.kept())
        moment.enter_context(env.hetzner.memory.kept())
        _run(env, picture, looks)
        after: dict[str, Callable[[], None]] = {
            "Talos": partial(_see_talos, env, picture),
            "the firewall": partial(_see_firewall, env, picture),
        }
        if logs:
            after |= {f"the log of {name}": partial(_see_log, env, picture, name) for name in controller_logs.NAMES}
        _run(env, picture, after)
    return picture


def _run(env: Env, picture: Picture, looks: dict[str, Callable[[], None]]) -> None:
    def guarded(part: str, look: Callable[[], None]) -> Callable[[], None]:
        def guard() -> None:
            try:
                look()
            except TallshipError as error:
                picture.unseen[part] = error.message

        return guard

    env.clock.run_threads([guarded(part, look) for part, look in looks.items()])


def _see_management(env: Env, picture: Picture) -> None:
    if not env.manages_itself and not env.management_kubeconfig.exists():
        picture.unseen["Cluster API"] = "there is no kubeconfig of a management cluster here"
        return
    kube = env.home
    for kind in MANAGEMENT_KINDS:
        found = _list(kube, *kind, "default")
        picture.management[kind[1]] = of_cluster(found, env.spec.name) if "cluster.x-k8s.io" in kind[0] else found
    for api_version, name in (("v1", "Pod"), ("apps/v1", "Deployment")):
        places = sorted({each.namespace for each in versions.PROVIDERS})
        picture.management[name] = [each for place in places for each in _list(kube, api_version, name, place)]


def _see_workload(env: Env, picture: Picture) -> None:
    if not env.kubeconfig.exists():
        picture.unseen["the cluster"] = "there is no kubeconfig of it here"
        return
    for kind in EVERYWHERE:
        picture.workload[kind[1]] = _list(env.workload, *kind)
    for kind in WORKLOAD_KINDS:
        picture.workload[kind[1]] = _list(env.workload, *kind, "kube-system")


def _list(kube: Kube, api_version: str, kind: str, namespace: str = "") -> list[Document]:
    return list(kube.list(api_version, kind, namespace))


def _see_hetzner(env: Env, picture: Picture) -> None:
    selector = env.spec.names.owned_by_caph
    for path in OF_CLUSTER:
        picture.hetzner[path] = list(env.hetzner.list_documents(path, selector))
    for path in OF_PROJECT:
        picture.hetzner[path] = list(env.hetzner.list_documents(path))


def _see_certificates(env: Env, picture: Picture) -> None:
    picture.certificates = [Ends(each.what, each.days, each.hint) for each in certificates(env)]


def _see_other_side(env: Env, picture: Picture) -> None:
    """Look for the Cluster where Cluster API is not; a bootstrap cluster that is gone is none."""
    if not env.management_kubeconfig.exists() or not env.kubeconfig.exists():
        return
    other = env.management if env.manages_itself else env.workload
    try:
        found = other.find(*CLUSTER, env.spec.name, "default")
    except ApiError:
        return
    picture.other_side = [found] if found else []


def _see_talos(env: Env, picture: Picture) -> None:
    if not env.talosconfig.exists():
        picture.unseen["Talos"] = "there is no talosconfig here"
        return
    # The load balancer may send to machines that have just gone: without the cluster's API each is asked itself.
    direct = None if picture.nodes else talos_of(env, list_planes(env))
    seen = look_at_etcd(env, [dict(each) for each in picture.hosts], direct)
    if seen.unseen:
        picture.unseen["etcd"] = "; ".join(seen.unseen)
    else:
        picture.members = seen.members
    picture.services = seen.services
    picture.alarms = [each.kind for each in seen.alarms]
    picture.etcd_errors = [
        f"etcd on {address}: {error}"
        for address, status in seen.statuses.items()
        if not isinstance(status, ApiError)
        for error in status.errors
    ]
    picture.stages = {
        address: " ".join((stage.stage, *stage.unmet))
        for address, stage in seen.stages.items()
        if not isinstance(stage, ApiError)
    }


def _see_firewall(env: Env, picture: Picture) -> None:
    if picture.hetzner.get("servers"):
        picture.firewall = view(env).problems


def _see_log(env: Env, picture: Picture, name: str) -> None:
    picture.logs[name] = controller_logs.tail(env, name, LOG_LINES)
