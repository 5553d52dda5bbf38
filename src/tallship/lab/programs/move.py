"""clusterctl 1.10.10 `move`: what belongs to a Cluster goes to another API server, or into a folder and back."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from tallship.lab.clock import LabClock
from tallship.lab.kinds import CLUSTER_API
from tallship.lab.kubeclient import KubeClient, KubeRefused, Object
from tallship.lab.programs import times
from tallship.lab.programs.conversation import Failed, Output, ProgramRequest, Say, WriteFile

MOVE_LABEL = "clusterctl.cluster.x-k8s.io/move"
DELETE_FOR_MOVE = "clusterctl.cluster.x-k8s.io/delete-for-move"
KINDS = (*(each.kind for each in CLUSTER_API if each.kind != "Provider"), "Secret", "ConfigMap")
SOFT_OWNED = ("kubeconfig", "ca", "etcd", "sa", "proxy", "apiserver-etcd-client")
"""A Secret without owners that is named after a Cluster and one of these belongs to it."""
OF_THE_SERVER = ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "ownerReferences")


class Graph:
    """The objects of one namespace that belong to its Clusters, in the order in which they must be made."""

    def __init__(self, found: Iterable[Object]) -> None:
        self._all = {each["metadata"]["uid"]: each for each in found}
        self.clusters = [each for each in self._all.values() if each["kind"] == "Cluster"]
        chosen = self._chosen()
        self.groups = self._grouped(chosen)

    def owners(self, item: Object) -> list[Object]:
        """Return an object's references to its owners; a Secret may be owned by its name alone."""
        listed: list[Object] = item["metadata"].get("ownerReferences") or []
        return listed

    def _chosen(self) -> set[str]:
        names = [cluster["metadata"]["name"] for cluster in self.clusters]
        soft = {f"{name}-{purpose}" for name in names for purpose in SOFT_OWNED}
        chosen = {uid for uid, each in self._all.items() if self._is_begin(each, soft)}
        while more := {uid for uid, each in self._all.items() if uid not in chosen and self._is_below(each, chosen)}:
            chosen |= more
        return chosen

    def _is_begin(self, item: Object, soft: set[str]) -> bool:
        if item["kind"] == "Cluster" or MOVE_LABEL in (item["metadata"].get("labels") or {}):
            return True
        return item["kind"] == "Secret" and not self.owners(item) and item["metadata"]["name"] in soft

    def _is_below(self, item: Object, chosen: set[str]) -> bool:
        return any(owner["uid"] in chosen for owner in self.owners(item))

    def _grouped(self, chosen: set[str]) -> list[list[Object]]:
        """Return the chosen objects, owners first; one that has an owner elsewhere is never reached."""
        groups: list[list[Object]] = []
        done: set[str] = set()
        while group := [uid for uid in chosen - done if all(o["uid"] in done for o in self.owners(self._all[uid]))]:
            ordered = sorted(group, key=lambda uid: KINDS.index(self._all[uid]["kind"]))
            groups.append([self._all[uid] for uid in ordered])
            done |= set(group)
        return groups


class Move:
    """One run of `clusterctl move`."""

    def __init__(self, request: ProgramRequest, clock: LabClock, namespace: str) -> None:
        self._request = request
        self._clock = clock
        self._namespace = namespace

    async def to_cluster(self, source: KubeClient, target: KubeClient) -> AsyncGenerator[Output, None]:
        """Create everything in the target, then delete it from the source."""
        yield Say("Performing move...\n")
        graph = await self._discover(source)
        yield Say(f"Discovering Cluster API objects\nMoving Cluster API objects Clusters={len(graph.clusters)}\n")
        await _check_inventory(source, target)
        _check_ready(graph)
        await self._pause(source, graph, True)
        paused = await self._discover(source)
        yield Say("Creating objects in the target cluster\n")
        made = Cluster(target)
        for group in paused.groups:
            for item in group:
                await self._request.wait(self._clock, times.CLUSTERCTL_MOVE_OBJECT)
                await made.put(item, paused.owners(item))
        yield Say("Deleting objects from the source cluster\n")
        for group in reversed(paused.groups):
            for item in group:
                await self._request.wait(self._clock, times.CLUSTERCTL_MOVE_OBJECT)
                await _delete_for_move(source, item)
        await self._pause(target, paused, False)

    async def to_directory(self, source: KubeClient, directory: str) -> AsyncGenerator[Output, None]:
        """Write one document per object, with everything secret in it in clear; delete nothing."""
        yield Say("Performing move...\n")
        graph = await self._discover(source)
        yield Say(f"Discovering Cluster API objects\nMoving Cluster API objects Clusters={len(graph.clusters)}\n")
        _check_ready(graph)
        await self._pause(source, graph, True)
        paused = await self._discover(source)
        yield Say(f"Saving files to {directory}\n")
        for item in (item for group in paused.groups for item in group):
            await self._request.wait(self._clock, times.CLUSTERCTL_MOVE_OBJECT)
            metadata = item["metadata"]
            name = f"{item['kind']}_{metadata.get('namespace', '')}_{metadata['name']}.yaml"
            yield WriteFile(self._request.path(f"{directory}/{name}"), json.dumps(item))
        await self._pause(source, graph, False)

    async def from_directory(self, target: KubeClient, documents: Iterable[str]) -> AsyncGenerator[Output, None]:
        """Make everything that is not there yet, and let the controllers begin."""
        yield Say("Performing move...\nRestoring from directory\n")
        graph = Graph(json.loads(text) for text in documents)
        made = Cluster(target, keeps=True)
        for item in (item for group in graph.groups for item in group):
            await self._request.wait(self._clock, times.CLUSTERCTL_MOVE_OBJECT)
            await made.put(item, graph.owners(item))
        await self._pause(target, graph, False)

    async def _discover(self, client: KubeClient) -> Graph:
        found: list[Object] = []
        for kind in KINDS:
            try:
                found += await client.list(kind, self._namespace)
            except KubeRefused as refused:
                if refused.code != 404:
                    raise
        return Graph(found)

    async def _pause(self, client: KubeClient, graph: Graph, wanted: bool) -> None:
        for cluster in graph.clusters:
            await client.patch(cluster, {"spec": {"paused": True if wanted else None}})


class Cluster:
    """An API server that takes objects; their owners' references are those of the objects that it made itself."""

    def __init__(self, client: KubeClient, keeps: bool = False) -> None:
        self._client = client
        self._keeps = keeps
        self._uids: dict[str, str] = {}

    async def put(self, item: Object, owners: list[Object]) -> None:
        """Create an object without its status; one that is there is replaced, or kept."""
        metadata = {key: value for key, value in item["metadata"].items() if key not in OF_THE_SERVER}
        if owners:
            metadata["ownerReferences"] = [{**owner, "uid": self._uids[owner["uid"]]} for owner in owners]
        wanted: dict[str, Any] = {
            **{key: value for key, value in item.items() if key != "status"},
            "metadata": metadata,
        }
        there = await self._client.get(item["kind"], metadata["name"], metadata.get("namespace", ""))
        if there is None:
            there = await self._client.create(wanted)
        elif not self._keeps:
            version = there["metadata"]["resourceVersion"]
            there = await self._client.update({**wanted, "metadata": {**metadata, "resourceVersion": version}})
        self._uids[item["metadata"]["uid"]] = there["metadata"]["uid"]


async def _check_inventory(source: KubeClient, target: KubeClient) -> None:
    """Raise Failed unless the target has every provider of the source; without an inventory nothing is checked."""
    have, there = await _inventory(source), await _inventory(target)
    for name, version in have.items():
        if name not in there:
            raise Failed(f"Error: failed to check providers in target cluster: provider {name} not found in the target")
        if there[name] < version:
            raise Failed(
                f"Error: failed to check providers in target cluster: provider {name} in target cluster "
                f"is older than in source cluster (source: {version}, target: {there[name]})"
            )


async def _inventory(client: KubeClient) -> dict[str, tuple[int, ...]]:
    try:
        found = await client.list("Provider")
    except KubeRefused as refused:
        if refused.code != 404:
            raise
        return {}
    return {each["metadata"]["name"]: _numbers(each["version"]) for each in found}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.lstrip("v").split("."))


def _check_ready(graph: Graph) -> None:
    """Raise Failed while a Cluster or a Machine is still being made."""
    why = []
    for cluster in graph.clusters:
        who, status = _named(cluster), cluster.get("status") or {}
        if not status.get("infrastructureReady"):
            why.append(f"cannot start the move operation while {who} is still provisioning the infrastructure")
        conditions = {each["type"]: each["status"] for each in status.get("conditions") or []}
        if conditions.get("ControlPlaneInitialized") != "True":
            why.append(f"cannot start the move operation while the control plane for {who} is not yet initialized")
        if not status.get("controlPlaneReady"):
            why.append(f"cannot start the move operation while the control plane for {who} is not yet ready")
    machines = [item for group in graph.groups for item in group if item["kind"] == "Machine"]
    why += [
        f"cannot start the move operation while {_named(each)} is still provisioning the node"
        for each in machines
        if not (each.get("status") or {}).get("nodeRef")
    ]
    if why:
        raise Failed(f"Error: failed to get object graph: [{', '.join(why)}]" if len(why) > 1 else f"Error: {why[0]}")


def _named(item: Object) -> str:
    group = item["apiVersion"].partition("/")[0]
    return f'"{group}, Kind={item["kind"]}" {item["metadata"].get("namespace", "")}/{item["metadata"]["name"]}'


async def _delete_for_move(client: KubeClient, item: Object) -> None:
    """Delete an object of the source whatever holds it; nobody may take that for the wish to delete what it means."""
    metadata = item["metadata"]
    try:
        await client.patch(item, {"metadata": {"annotations": {DELETE_FOR_MOVE: ""}, "finalizers": None}})
    except KubeRefused as refused:
        if refused.code != 404:
            raise
    await client.delete(item["kind"], metadata["name"], metadata.get("namespace", ""))
