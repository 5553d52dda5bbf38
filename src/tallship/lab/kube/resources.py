"""The resources a server serves: the built-in ones, and those that definitions add."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tallship.lab.kinds import BUILT_IN
from tallship.lab.kube.structures import built_in_structure, custom_structure

Schema = dict[str, Any]
Names = list[str]

BUILT_IN_SHORT_NAMES = {
    "Namespace": ("ns",),
    "Node": ("no",),
    "ConfigMap": ("cm",),
    "Event": ("ev",),
    "Pod": ("po",),
    "Service": ("svc",),
    "ServiceAccount": ("sa",),
    "PersistentVolume": ("pv",),
    "PersistentVolumeClaim": ("pvc",),
    "Deployment": ("deploy",),
    "DaemonSet": ("ds",),
    "CertificateSigningRequest": ("csr",),
    "CustomResourceDefinition": ("crd", "crds"),
}
WITH_STATUS = (
    "Namespace", "Node", "Pod", "Service", "Deployment", "DaemonSet", "Job", "CertificateSigningRequest",
    "CustomResourceDefinition", "PersistentVolume", "PersistentVolumeClaim",
)  # fmt: skip
WITH_GENERATION = ("Deployment", "DaemonSet", "Job", "CustomResourceDefinition")
WITH_SCALE = ("Deployment",)
IN_ALL = ("Pod", "Service", "Deployment", "DaemonSet", "Job")
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


@dataclass(frozen=True)
class Resource:
    """One served resource."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    schema: Schema = field(repr=False)
    """Its fields; of a custom resource also what they may hold, and their defaults."""
    is_custom: bool = False
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    has_scale: bool = False
    columns: tuple[dict[str, Any], ...] = ()

    @property
    def api_version(self) -> str:
        """`v1` for the core group, else `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def id(self) -> str:
        """`secrets`, `clusters.cluster.x-k8s.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def has_generation(self) -> bool:
        """True when the metadata counts changes of the spec."""
        return self.is_custom or self.kind in WITH_GENERATION

    def subresources(self) -> Names:
        """Return the names of its subresources."""
        found = [name for name, has in (("status", self.has_status), ("scale", self.has_scale)) if has]
        if self.is_custom or self.group not in ("", "certificates.k8s.io"):
            return found
        return found + {"Pod": ["log", "binding", "eviction"], "CertificateSigningRequest": ["approval"]}.get(
            self.kind, []
        )


def built_in() -> list[Resource]:
    """Return what every API server of the lab serves."""
    return [
        Resource(
            group=kind.group,
            version=kind.version,
            kind=kind.kind,
            plural=kind.plural,
            singular=kind.kind.lower(),
            namespaced=kind.namespaced,
            schema=built_in_structure(kind.kind),
            short_names=BUILT_IN_SHORT_NAMES.get(kind.kind, ()),
            categories=("all",) if kind.kind in IN_ALL else (),
            has_status=kind.kind in WITH_STATUS,
            has_scale=kind.kind in WITH_SCALE,
        )
        for kind in BUILT_IN
    ]


def custom(definition: dict[str, Any]) -> Resource:
    """Return the resource that a CustomResourceDefinition adds: the version it stores."""
    spec = definition["spec"]
    version = next(each for each in spec["versions"] if each.get("storage"))
    names, subresources = spec["names"], version.get("subresources") or {}
    return Resource(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        schema=custom_structure(version["schema"]["openAPIV3Schema"]),
        is_custom=True,
        short_names=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        has_status="status" in subresources,
        has_scale="scale" in subresources,
        columns=tuple(version.get("additionalPrinterColumns", ())),
    )
