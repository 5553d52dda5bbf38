"""The resources a server serves: the built-in ones, and those that definitions add."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tallship.lab.kinds import BUILT_IN

Schema = dict[str, Any]

BUILT_IN_SHORT_NAMES = {
    "Namespace": ("ns",),
    "Node": ("no",),
    "ConfigMap": ("cm",),
    "Event": ("ev",),
    "Pod": ("po",),
    "Service": ("svc",),
    "ServiceAccount": ("sa",),
    "Deployment": ("deploy",),
    "DaemonSet": ("ds",),
    "CertificateSigningRequest": ("csr",),
    "CustomResourceDefinition": ("crd", "crds"),
}
WITH_STATUS = (
    "Namespace", "Node", "Pod", "Service", "Deployment", "DaemonSet", "Job", "CertificateSigningRequest",
    "CustomResourceDefinition",
)  # fmt: skip
WITH_SCALE = ("Deployment",)
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


@dataclass(frozen=True)
class Resource:
    """One served resource."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    has_scale: bool = False
    schema: Schema | None = None
    """Of a custom resource."""
    columns: tuple[dict[str, Any], ...] = ()

    @property
    def api_version(self) -> str:
        """`v1` for the core group, else `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def id(self) -> str:
        """`secrets`, `clusters.cluster.x-k8s.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def subresources(self) -> list[str]:
        """Return the names of its subresources."""
        found = [name for name, has in (("status", self.has_status), ("scale", self.has_scale)) if has]
        if self.kind == "Pod":
            found.append("log")
        return found + (["approval"] if self.kind == "CertificateSigningRequest" else [])


def built_in() -> list[Resource]:
    """Return what every API server of the lab serves."""
    return [
        Resource(
            kind.group,
            kind.version,
            kind.kind,
            kind.plural,
            kind.namespaced,
            BUILT_IN_SHORT_NAMES.get(kind.kind, ()),
            ("all",) if kind.kind in ("Pod", "Service", "Deployment", "DaemonSet") else (),
            kind.kind in WITH_STATUS,
            kind.kind in WITH_SCALE,
        )
        for kind in BUILT_IN
    ]


def custom(definition: dict[str, Any]) -> Resource:
    """Return the resource that a CustomResourceDefinition adds: the version it stores."""
    spec = definition["spec"]
    version = next(each for each in spec["versions"] if each.get("storage"))
    names, subresources = spec["names"], version.get("subresources") or {}
    return Resource(
        spec["group"],
        version["name"],
        names["kind"],
        names["plural"],
        spec["scope"] == "Namespaced",
        tuple(names.get("shortNames", ())),
        tuple(names.get("categories", ())),
        "status" in subresources,
        "scale" in subresources,
        version["schema"]["openAPIV3Schema"],
        tuple(version.get("additionalPrinterColumns", ())),
    )
