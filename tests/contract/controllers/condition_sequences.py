"""Sequences of conditions, of the lab's objects and of the recorded ones, in a form in which they can be equal."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from controller_world import ControllerWorld

RECORDINGS = Path(__file__).parents[3].parent / "shared/contracts/recordings"
KINDS = (
    "Cluster",
    "HetznerCluster",
    "TalosControlPlane",
    "Machine",
    "HCloudMachine",
    "TalosConfig",
    "HCloudMachineTemplate",
)
Step = tuple[str, str, str, str]
"""Status, reason, severity, message."""
Sequences = dict[tuple[str, str], list[Step]]
"""By (object, condition); an object is its kind, and its number in the order of creation where there are several."""

_NAMES = re.compile(r"k8s-control-plane-[bcdfghjklmnpqrstvwxz2456789]{5}")
_PROVIDER_IDS = re.compile(r"hcloud://\d+")
_ADDRESSES = re.compile(r"\b(127|203)\.\d+\.\d+\.\d+\b")


class Recorder:
    """Notes every change of a condition in the management cluster."""

    def __init__(self, world: ControllerWorld) -> None:
        self.events: list[dict[str, Any]] = []
        self._world = world
        self._known: dict[tuple[str, str, str], Step] = {}

    def start(self) -> None:
        """Begin to watch."""
        self._world.call(
            lambda: [self._world.watchers.append(asyncio.create_task(self._watch(kind))) for kind in KINDS]
        )

    async def _watch(self, kind: str) -> None:
        async for _, item in self._world.client.watch(kind):
            self._note(kind, item)

    def _note(self, kind: str, item: dict[str, Any]) -> None:
        name, status = item["metadata"]["name"], item.get("status", {})
        if (kind, name) not in {(each["kind"], each["name"]) for each in self.events}:
            self.events.append({"ev": "created", "kind": kind, "name": name})
        old = [(each["type"], each) for each in status.get("conditions", [])]
        new = [(f"v1beta2:{each['type']}", each) for each in status.get("v1beta2", {}).get("conditions", [])]
        for condition, each in (*old, *new):
            step = (each["status"], each.get("reason"), each.get("severity"), each.get("message"))
            if self._known.get((kind, name, condition)) != step:
                self._known[kind, name, condition] = step  # type: ignore[assignment]
                keys = dict(zip(("status", "reason", "severity", "message"), step, strict=True))
                self.events.append({"ev": "cond", "kind": kind, "name": name, "type": condition, **keys})


def recorded(until: float = 1e9) -> list[dict[str, Any]]:
    """Return the events of the recorded creation, up to a moment."""
    lines = (RECORDINGS / "create.conditions.jsonl").read_text().splitlines()
    return [event for line in lines if (event := json.loads(line))["t"] <= until]


def sequences(events: list[dict[str, Any]]) -> Sequences:
    """Return the steps of each condition; names, addresses and repetitions are taken out."""
    numbers: dict[tuple[str, str], str] = {}
    counts: dict[str, int] = defaultdict(int)
    found: Sequences = defaultdict(list)
    for event in events:
        key = (event["kind"], event["name"])
        if event["ev"] == "created" and event["kind"] in KINDS:
            counts[event["kind"]] += 1
            numbers[key] = f"{event['kind']} {counts[event['kind']]}"
        if event["ev"] != "cond":
            continue
        step = (event["status"], event["reason"] or "", event["severity"] or "", event["message"] or "")
        plain: Step = tuple(_plain(each) for each in step)  # type: ignore[assignment]
        steps = found[numbers[key], event["type"]]
        if not steps or steps[-1] != plain:
            steps.append(plain)
    return found


def _plain(text: str) -> str:
    text = _NAMES.sub("<name>", text)
    text = _PROVIDER_IDS.sub("<provider id>", text)
    return _ADDRESSES.sub("<address>", text)
