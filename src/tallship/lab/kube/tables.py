"""Objects as kubectl prints them: columns by kind, or by what a definition says."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from tallship.lab.kube.resources import Resource

Document = dict[str, Any]
Cells = Callable[[Document, datetime], list[Any]]


def table(
    resource: Resource, objects: Sequence[Document], metadata: Document, now: datetime, included: str = "Metadata"
) -> Document:
    """Return a meta.k8s.io/v1 Table; `included` is how much of each object a row carries: None, Metadata, Object."""
    columns, cells = _custom(resource) if resource.is_custom else _built_in(resource.kind)
    rows = []
    for each in objects:
        row: Document = {"cells": cells(each, now)}
        if included == "Object":
            row["object"] = each
        elif included != "None":
            partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": each["metadata"]}
            row["object"] = partial
        rows.append(row)
    kind = {"kind": "Table", "apiVersion": "meta.k8s.io/v1"}
    return {**kind, "metadata": metadata, "columnDefinitions": columns, "rows": rows}


def _built_in(kind: str) -> tuple[list[Document], Cells]:
    names, cells = BUILT_IN.get(kind, (("Name", "Age"), _name_and_age))
    return [_column(name, 1 if name.endswith("+") else 0) for name in names], cells


def _custom(resource: Resource) -> tuple[list[Document], Cells]:
    told = resource.columns or ({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},)
    columns = [_column("Name")]
    columns += [{**_column(each["name"], each.get("priority", 0)), "type": each["type"]} for each in told]

    def cells(item: Document, now: datetime) -> list[Any]:
        found = [item["metadata"]["name"]]
        for each in told:
            value = json_path(item, each["jsonPath"])
            found.append(age(str(value), now) if each["type"] == "date" and value else value)
        return found

    return columns, cells


def json_path(value: Any, path: str) -> Any:
    """Return what a simple JSON path finds, such as `.status.conditions[?(@.type=="Ready")].status`."""
    for name, key, wanted, index in re.findall(
        r'\.([\w\-/\\.]+?)(?:\[\?\(@\.(\w+)\s*==\s*[\'"]([^\'"]+)[\'"]\)\]|\[(\d+)\])?(?=\.|$)', path
    ):
        if not isinstance(value, dict):
            return None
        value = value.get(name.replace("\\.", "."))
        if key and isinstance(value, list):
            value = next((each for each in value if isinstance(each, dict) and str(each.get(key)) == wanted), None)
        elif index and isinstance(value, list):
            value = value[int(index)] if int(index) < len(value) else None
    return value


def age(created: str, now: datetime) -> str:
    """Return how long ago, as kubectl says it."""
    try:
        seconds = int((now - datetime.fromisoformat(created.replace("Z", "+00:00"))).total_seconds())
    except ValueError:
        return "<unknown>"
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    if seconds < 600:
        return f"{seconds // 60}m{seconds % 60}s" if seconds % 60 else f"{seconds // 60}m"
    if seconds < 3 * 3600:
        return f"{seconds // 60}m"
    return f"{seconds // 3600}h" if seconds < 2 * 86400 else f"{seconds // 86400}d"


def _column(name: str, priority: int = 0) -> Document:
    plain = name.rstrip("+")
    return {
        "name": plain,
        "type": "string",
        "format": "name" if plain == "Name" else "",
        "description": plain,
        "priority": priority,
    }


def _age_of(item: Document, now: datetime) -> str:
    return age(item["metadata"]["creationTimestamp"], now)


def _name_and_age(item: Document, now: datetime) -> list[Any]:
    return [item["metadata"]["name"], _age_of(item, now)]


def _node(item: Document, now: datetime) -> list[Any]:
    status, labels = item.get("status", {}), item["metadata"].get("labels", {})
    conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
    ready = {"True": "Ready", "False": "NotReady"}.get(conditions.get("Ready", ""), "Unknown")
    if item.get("spec", {}).get("unschedulable"):
        ready += ",SchedulingDisabled"
    roles = sorted(key.partition("/")[2] for key in labels if key.startswith("node-role.kubernetes.io/"))
    addresses = {each["type"]: each["address"] for each in status.get("addresses", [])}
    info = status.get("nodeInfo", {})
    return [
        item["metadata"]["name"], ready, ",".join(roles) or "<none>", _age_of(item, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"), addresses.get("ExternalIP", "<none>"), info.get("osImage", "<unknown>"),
        info.get("kernelVersion", "<unknown>"), info.get("containerRuntimeVersion", "<unknown>"),
    ]  # fmt: skip


def _pod(item: Document, now: datetime) -> list[Any]:
    status = item.get("status", {})
    containers = status.get("containerStatuses", [])
    waiting = next((c["state"]["waiting"]["reason"] for c in containers if "waiting" in c.get("state", {})), "")
    total = len(item.get("spec", {}).get("containers", [])) or len(containers)
    ready = sum(bool(each.get("ready")) for each in containers)
    restarts = sum(each.get("restartCount", 0) for each in containers)
    return [
        item["metadata"]["name"], f"{ready}/{total}", waiting or status.get("phase", "Pending"), str(restarts),
        _age_of(item, now),
        status.get("podIP", "<none>"), item.get("spec", {}).get("nodeName", "<none>"),
    ]  # fmt: skip


def _deployment(item: Document, now: datetime) -> list[Any]:
    spec, status = item.get("spec", {}), item.get("status", {})
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}"
    return [
        item["metadata"]["name"],
        ready,
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _age_of(item, now),
    ]


def _daemon_set(item: Document, now: datetime) -> list[Any]:
    status = item.get("status", {})
    numbers = [status.get(key, 0) for key in ("desiredNumberScheduled", "currentNumberScheduled", "numberReady")]
    return [item["metadata"]["name"], *numbers, _age_of(item, now)]


def _secret(item: Document, now: datetime) -> list[Any]:
    return [item["metadata"]["name"], item.get("type", "Opaque"), len(item.get("data") or {}), _age_of(item, now)]


def _namespace(item: Document, now: datetime) -> list[Any]:
    return [item["metadata"]["name"], item.get("status", {}).get("phase", ""), _age_of(item, now)]


def _event(item: Document, now: datetime) -> list[Any]:
    who = item.get("involvedObject", {})
    seen = item.get("lastTimestamp") or item["metadata"]["creationTimestamp"]
    return [
        age(seen, now),
        item.get("type", ""),
        item.get("reason", ""),
        f"{who.get('kind', '').lower()}/{who.get('name', '')}",
        item.get("message", ""),
    ]


BUILT_IN: dict[str, tuple[Sequence[str], Cells]] = {
    "Node": (
        (
            "Name",
            "Status",
            "Roles",
            "Age",
            "Version",
            "Internal-IP+",
            "External-IP+",
            "OS-Image+",
            "Kernel-Version+",
            "Container-Runtime+",
        ),
        _node,
    ),
    "Pod": (("Name", "Ready", "Status", "Restarts", "Age", "IP+", "Node+"), _pod),
    "Deployment": (("Name", "Ready", "Up-to-date", "Available", "Age"), _deployment),
    "DaemonSet": (("Name", "Desired", "Current", "Ready", "Age"), _daemon_set),
    "Secret": (("Name", "Type", "Data", "Age"), _secret),
    "Namespace": (("Name", "Status", "Age"), _namespace),
    "Event": (("Last Seen", "Type", "Reason", "Object", "Message"), _event),
}
