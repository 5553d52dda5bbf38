"""The Cluster API documents of the pools: for each part of one a MachineDeployment and its two templates.

Templates cannot be changed: they are named after what they say, and a MachineDeployment that names another one
replaces its servers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tallship.manifests import image, talos
from tallship.manifests.cluster import CLUSTER_API, INFRASTRUCTURE_API, fingerprint
from tallship.manifests.conditions import config_of
from tallship.manifests.rollout import same_patches
from tallship.manifests.yaml_text import Annotated, Comments
from tallship.spec import Spec
from tallship.spec.names import CLUSTER_LABEL, NAMESPACE, POOL_LABEL
from tallship.spec.pools import Pool

BOOTSTRAP_API = "bootstrap.cluster.x-k8s.io/v1alpha3"

DEPLOYMENT_LABEL = "cluster.x-k8s.io/deployment-name"
"""Cluster API: on everything of a MachineDeployment, its name."""

DRAIN = "10m0s"
"""How long Pods may take to leave a node that goes, and their volumes: one that cannot must not hold up the rest."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """As much of a pool as fits into one placement group."""

    spec: Spec
    pool: Pool
    number: int
    replicas: int

    @property
    def name(self) -> str:
        """The name of its MachineDeployment."""
        return self.spec.names.pool(self.pool.name, self.number)

    @property
    def placement_group(self) -> str:
        """The placement group as documents name it."""
        return self.spec.names.placement_group_of(self.pool.name, self.number)


def parts(spec: Spec) -> list[Part]:
    """Return the parts of all pools, in the order of the cluster file."""
    return [
        Part(spec, pool, number, replicas)
        for pool in spec.workers
        for number, replicas in enumerate(pool.parts, start=1)
    ]


def documents(
    spec: Spec, deployments: Sequence[Mapping[str, Any]] = (), configs: Sequence[Mapping[str, Any]] = ()
) -> list[Document]:
    """Return everything that makes up the pools: each MachineDeployment behind the templates that it names.

    A TalosConfigTemplate that a live MachineDeployment names stays where it means the same.
    """
    live = {each["metadata"]["name"]: each for each in deployments}
    stored = {each["metadata"]["name"]: each for each in configs}
    found: dict[tuple[str, str], Document] = {}
    for part in parts(spec):
        config = _kept(live.get(part.name), stored, config_template(spec, part.pool))
        for document in (machine_template(part), config, machine_deployment(part, config["metadata"]["name"])):
            found.setdefault((document["kind"], document["metadata"]["name"]), document)
    return list(found.values())


def _kept(live: Mapping[str, Any] | None, stored: Mapping[str, Mapping[str, Any]], wanted: Document) -> Document:
    """Return the template that a MachineDeployment names now, where it means the same as the wanted one; else that."""
    if live is None:
        return wanted
    name = config_of(live["spec"]["template"]["spec"])
    if name not in stored:
        return wanted
    before, after = (each["spec"]["template"]["spec"] for each in (stored[name], wanted))
    rest = [
        {key: value for key, value in each.items() if key != "strategicPatches" and value} for each in (before, after)
    ]
    if rest[0] != rest[1] or not same_patches(before.get("strategicPatches") or [], after["strategicPatches"]):
        return wanted
    config = {**wanted["spec"]["template"]["spec"], "strategicPatches": list(before["strategicPatches"])}
    return {
        **wanted,
        "metadata": {**wanted["metadata"], "name": name},
        "spec": {"template": {"spec": config}},
    }


def machine_template(part: Part) -> Document:
    """Return the HCloudMachineTemplate of a part, named after what it says."""
    spec, pool = part.spec, part.pool
    machine = {
        "type": pool.server_type,
        "imageName": image.name(image.for_architecture(spec, pool.architecture)),
        "placementGroupName": part.placement_group,
        "publicNetwork": {"enableIPv4": True, "enableIPv6": False},
    }
    return _template(spec, pool, INFRASTRUCTURE_API, "HCloudMachineTemplate", machine)


def config_template(spec: Spec, pool: Pool) -> Document:
    """Return the TalosConfigTemplate of a pool, named after what it says."""
    config = {
        "generateType": "worker",
        "talosVersion": spec.talos.version,
        "hostname": {"source": "InfrastructureName"},
        "strategicPatches": talos.worker_patches(spec, pool),
    }
    return _template(spec, pool, BOOTSTRAP_API, "TalosConfigTemplate", config)


def _template(spec: Spec, pool: Pool, api: str, kind: str, content: Document) -> Document:
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {
            "name": f"{spec.names.pool(pool.name)}-{fingerprint(content)}",
            "namespace": NAMESPACE,
            "labels": _labels(spec, pool),
        },
        "spec": {"template": {"spec": content}},
    }


def _labels(spec: Spec, pool: Pool) -> dict[str, str]:
    return {CLUSTER_LABEL: spec.names.cluster, POOL_LABEL: pool.name}


def machine_deployment(part: Part, config: str) -> Document:
    """Return the MachineDeployment of a part; `config` is the name of its TalosConfigTemplate."""
    spec, labels = part.spec, _labels(part.spec, part.pool)
    own = {CLUSTER_LABEL: spec.names.cluster, DEPLOYMENT_LABEL: part.name}
    return {
        "apiVersion": CLUSTER_API,
        "kind": "MachineDeployment",
        "metadata": {"name": part.name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "clusterName": spec.names.cluster,
            "replicas": part.replicas,
            "selector": {"matchLabels": own},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": {**part.pool.machine_labels, **own, POOL_LABEL: part.pool.name}},
                "spec": {
                    "clusterName": spec.names.cluster,
                    "version": spec.kubernetes.version,
                    "failureDomain": part.pool.location or spec.hetzner.location,
                    "nodeDrainTimeout": DRAIN,
                    "nodeVolumeDetachTimeout": DRAIN,
                    "bootstrap": {"configRef": _reference(BOOTSTRAP_API, "TalosConfigTemplate", config)},
                    "infrastructureRef": _reference(
                        INFRASTRUCTURE_API, "HCloudMachineTemplate", machine_template(part)["metadata"]["name"]
                    ),
                },
            },
        },
    }


def _reference(api: str, kind: str, name: str) -> dict[str, str]:
    return {"apiVersion": api, "kind": kind, "name": name, "namespace": NAMESPACE}


_MACHINE_COMMENTS: Comments = {
    (): (
        "A template cannot be changed: the name ends with a hash of what stands below. To change it, write a new one\n"
        "under another name and name that in the MachineDeployment, which then replaces its servers one by one."
    ),
    ("spec", "template", "spec", "placementGroupName"): (
        "A group holds 10 servers, and an update adds one: a pool of more than 9 has more than one."
    ),
}
_DEPLOYMENT_COMMENTS: Comments = {
    ("spec", "replicas"): "At most 9: the rest of a larger pool is a MachineDeployment of its own.",
    (
        "spec",
        "template",
        "spec",
        "failureDomain",
    ): "Hetzner's location. CAPH chooses one by itself where none is given.",
    ("spec", "template", "spec", "nodeDrainTimeout"): "Without it a Pod that cannot leave keeps its server forever.",
}


def annotated(spec: Spec) -> list[Annotated]:
    """Return the documents of manifests/workers.yaml with comments for their reader."""
    comments = {
        config_template(spec, pool)["metadata"]["name"]: dict(_config_comments(spec, pool)) for pool in spec.workers
    }
    notes = {"HCloudMachineTemplate": _MACHINE_COMMENTS, "MachineDeployment": _DEPLOYMENT_COMMENTS}
    return [Annotated(each, notes.get(each["kind"]) or comments[each["metadata"]["name"]]) for each in documents(spec)]


def _config_comments(spec: Spec, pool: Pool) -> Iterator[tuple[tuple[str | int, ...], str]]:
    yield (), "What Talos on the pool's servers is told."
    place = ("spec", "template", "spec", "strategicPatches")
    yield from (((*place, index), text) for index, text in enumerate(talos.worker_comments(spec, pool)))
