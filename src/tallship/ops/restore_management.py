"""A restored cluster that managed itself: its own Cluster API tells of servers that are gone, and must not wake up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tallship import versions
from tallship.adapters.kube import Kube
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import Unreachable
from tallship.manifests.picture import of_cluster
from tallship.ops.sides import MOVED

Document = Mapping[str, Any]

_PROVIDER_LABEL = "cluster.x-k8s.io/provider"
"""clusterctl v1.10: on everything that it installs but cert-manager."""
_PROVIDER = ("clusterctl.cluster.x-k8s.io/v1alpha3", "Provider")
_DEPLOYMENT = ("apps/v1", "Deployment")
_WEBHOOKS = (
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
)


class LostManagementRemoved(Step[Env]):
    """The restored cluster holds no Cluster API object of its own, and no controller of Cluster API.

    It comes before the lost Nodes are deleted: until then the controllers' Pods are bound to those, and none can run.
    The controllers go first, then their webhooks, which nobody serves any more, then the objects without their
    finalizers: a controller that deleted a Machine in order would look for its server.
    """

    name = "anew-management"
    title = "Take the lost management out"
    timeout = 600
    interval = 4

    def probe(self, env: Env) -> Seen:
        """List what a cluster has that managed itself."""
        if not env.kubeconfig.exists():
            return Seen(State.BLOCKED, "needs `kubeconfig` first")
        try:
            found = (*_controllers(env.workload), *_objects(env))
        except Unreachable as silence:
            return Seen(State.WORKING, silence.message)
        if not found:
            return Seen(State.READY)
        kinds = sorted({each["kind"] for each in found})
        return Seen(State.MISSING, change=f"delete the lost cluster's {', '.join(kinds)} from the restored cluster")

    def act(self, env: Env, seen: Seen) -> None:
        """Delete them; what was deleted before a kill is not there any more."""
        for each in _controllers(env.workload):
            _delete(env.workload, each)
        for each in _objects(env):
            if each["metadata"].get("finalizers"):
                meta = each["metadata"]
                change = {"metadata": {"finalizers": None}}
                env.workload.patch(each["apiVersion"], each["kind"], meta["name"], meta["namespace"], change)
            _delete(env.workload, each)


def _controllers(kube: Kube) -> list[Document]:
    """Return what makes Cluster API run: Deployments, webhooks, and the inventory that says that it is installed."""
    deployments = [kube.find(*_DEPLOYMENT, each.deployment, each.namespace) for each in versions.PROVIDERS]
    webhooks = [each for kind in _WEBHOOKS for each in kube.list(*kind) if _is_of_provider(each)]
    found = [{"apiVersion": _DEPLOYMENT[0], "kind": _DEPLOYMENT[1], **each} for each in deployments if each]
    return [*found, *webhooks, *kube.list(*_PROVIDER)]


def _is_of_provider(item: Document) -> bool:
    return _PROVIDER_LABEL in (item["metadata"].get("labels") or {})


def _objects(env: Env) -> list[Document]:
    """Return this cluster's Cluster API objects. What belongs to another Cluster stays."""
    return [each for kind in MOVED for each in of_cluster(env.workload.list(*kind, "default"), env.spec.name)]


def _delete(kube: Kube, item: Document) -> None:
    meta = item["metadata"]
    kube.delete(item["apiVersion"], item["kind"], meta["name"], meta.get("namespace", ""))
