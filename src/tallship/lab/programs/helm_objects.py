"""How helm 3 puts a release's objects into a cluster: created, or patched by what changed since the last revision."""

from __future__ import annotations

from typing import Any

from tallship.lab.kinds import BUILT_IN, BY_NAME
from tallship.lab.kubeclient import KubeClient, Object
from tallship.lab.programs.conversation import Failed

RELEASE_NAME = "meta.helm.sh/release-name"
RELEASE_NAMESPACE = "meta.helm.sh/release-namespace"

_BUILT_IN_GROUPS = {kind.group for kind in BUILT_IN}


async def check_kinds(client: KubeClient, objects: list[Object], what: str) -> None:
    """Raise Failed when the cluster does not serve a kind; helm looks before it records anything."""
    for item in objects:
        group = item["apiVersion"].rpartition("/")[0]
        if group in _BUILT_IN_GROUPS:
            continue
        plural = BY_NAME[_kind(item)].plural
        if await client.get("CustomResourceDefinition", f"{plural}.{group}") is None:
            meta = item["metadata"]
            raise Failed(
                f"Error: {what}: unable to build kubernetes objects from release manifest: resource mapping not found "
                f'for name: "{meta["name"]}" namespace: "{meta.get("namespace", "")}" from "": no matches for kind '
                f'"{item["kind"]}" in version "{item["apiVersion"]}"\nensure CRDs are installed first'
            )


async def check_owners(client: KubeClient, objects: list[Object], release: str, namespace: str) -> None:
    """Raise Failed when an object is there already and belongs to somebody else."""
    for item in objects:
        live = await _find(client, item)
        if live is None:
            continue
        marks = live["metadata"].get("annotations") or {}
        if marks.get(RELEASE_NAME) != release or marks.get(RELEASE_NAMESPACE) != namespace:
            meta = item["metadata"]
            raise Failed(
                f'Error: INSTALLATION FAILED: Unable to continue with install: {item["kind"]} "{meta["name"]}" in '
                f'namespace "{meta.get("namespace", "")}" exists and cannot be imported into the current release: '
                f'invalid ownership metadata; annotation validation error: key "{RELEASE_NAME}" must equal "{release}"'
            )


async def put_objects(client: KubeClient, objects: list[Object], before: list[Object]) -> None:
    """Make the objects so, and delete those of the last revision that are no more."""
    old = {_identity(item): item for item in before}
    for item in objects:
        live = await _find(client, item)
        if live is None:
            await client.create(item)
            continue
        change = changes(old.get(_identity(item), {}), item, live)
        if change:
            await client.patch(item, change)
    kept = {_identity(item) for item in objects}
    await remove_objects(client, [item for key, item in old.items() if key not in kept])


async def remove_objects(client: KubeClient, objects: list[Object]) -> None:
    """Delete the objects, last one first."""
    for item in reversed(objects):
        await client.delete(_kind(item), item["metadata"]["name"], item["metadata"].get("namespace", ""))


def changes(old: Object, new: Object, live: Object) -> Object:
    """Return the merge patch for what is live: what is new there, and what the new revision no longer has.

    What others added stays, as in helm's three-way merge.
    """
    patch: dict[str, Any] = {key: None for key in old if key not in new and key in live}
    for key, value in new.items():
        there = live.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            before = old.get(key)
            if inner := changes(before if isinstance(before, dict) else {}, value, there):
                patch[key] = inner
        elif not _covers(there, value):
            patch[key] = value
    return patch


def _covers(live: Any, wanted: Any) -> bool:
    """True when what is live says all that is wanted; the API server fills in defaults of its own."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(_covers(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        same_length = isinstance(live, list) and len(live) == len(wanted)
        return same_length and all(_covers(there, value) for there, value in zip(live, wanted, strict=True))
    return bool(live == wanted)


async def _find(client: KubeClient, item: Object) -> Object | None:
    return await client.get(_kind(item), item["metadata"]["name"], item["metadata"].get("namespace", ""))


def _kind(item: Object) -> str:
    """Return the word under which the client knows the object's kind."""
    full = f"{item['kind']}.{item['apiVersion'].rpartition('/')[0]}"
    return full if full in BY_NAME else str(item["kind"])


def _identity(item: Object) -> tuple[str, str, str]:
    return _kind(item), item["metadata"].get("namespace", ""), item["metadata"]["name"]
