"""Names, labels and owners, as all providers of Cluster API write them."""

from __future__ import annotations

import base64
import random

from tallship.lab.kubeclient import Object

CLUSTER_LABEL = "cluster.x-k8s.io/cluster-name"
CONTROL_PLANE_LABEL = "cluster.x-k8s.io/control-plane"
PAUSED = "cluster.x-k8s.io/paused"

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes: apimachinery's names, no vowels


def generated(prefix: str) -> str:
    """Return a name that begins with the prefix and ends with five random characters."""
    return f"{prefix}-" + "".join(random.choices(_LETTERS, k=5))  # noqa: S311 - a name, no secret


def reference(owner: Object, controller: bool = False) -> Object:
    """Return an ownerReference to the object."""
    meta = owner["metadata"]
    found = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"]}
    return found | ({"controller": True, "blockOwnerDeletion": True} if controller else {})


def add_owner(item: Object, owner: Object, controller: bool = False) -> None:
    """Make the object owned by the owner; an entry for the same owner is replaced."""
    fresh = reference(owner, controller)
    listed = item["metadata"].get("ownerReferences", [])
    others = [each for each in listed if (each["kind"], each["name"]) != (fresh["kind"], fresh["name"])]
    if fresh not in listed:
        item["metadata"]["ownerReferences"] = [*others, fresh]


def drop_owner(item: Object, kind: str, name: str = "") -> None:
    """Remove the owners of that kind (and name)."""
    listed = item["metadata"].get("ownerReferences", [])
    left = [each for each in listed if each["kind"] != kind or name not in ("", each["name"])]
    if left != listed:
        item["metadata"]["ownerReferences"] = left


def controller_of(item: Object) -> Object | None:
    """Return the reference to the owner that controls the object, or None."""
    listed = item["metadata"].get("ownerReferences", [])
    return next((each for each in listed if each.get("controller")), None)


def owner_name(item: Object, kind: str) -> str:
    """Return the name of the first owner of that kind, or an empty string."""
    listed = item["metadata"].get("ownerReferences", [])
    return next((str(each["name"]) for each in listed if each["kind"] == kind), "")


def add_finalizer(item: Object, finalizer: str) -> bool:
    """Add a finalizer; True when it was not there."""
    listed = item["metadata"].setdefault("finalizers", [])
    if finalizer in listed:
        return False
    item["metadata"]["finalizers"] = [*listed, finalizer]
    return True


def drop_finalizer(item: Object, finalizer: str) -> None:
    """Remove a finalizer."""
    item["metadata"]["finalizers"] = [each for each in item["metadata"].get("finalizers", []) if each != finalizer]


def set_label(item: Object, key: str, value: str) -> None:
    """Set a label."""
    item["metadata"].setdefault("labels", {})[key] = value


def is_paused(cluster: Object, item: Object) -> bool:
    """True when the Cluster, or the object itself, asks to be left alone."""
    return bool(cluster["spec"].get("paused")) or PAUSED in item["metadata"].get("annotations", {})


def is_deleting(item: Object) -> bool:
    """True when the object's deletion was asked for."""
    return "deletionTimestamp" in item["metadata"]


def secret_value(secret: Object, key: str) -> str:
    """Return a value of a Secret as text; empty when it has no such key."""
    return base64.b64decode(secret.get("data", {}).get(key, "")).decode()


def new_secret(
    name: str, namespace: str, cluster: str, values: dict[str, str], owner: Object, kind: str = "Opaque"
) -> Object:
    """Return a Secret of a cluster, controlled by the owner."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {CLUSTER_LABEL: cluster},
            "ownerReferences": [reference(owner, controller=True)],
        },
        "type": kind,
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }
