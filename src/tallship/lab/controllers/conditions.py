"""Conditions of Cluster API objects, in both of its forms, with its rules for summing them up.

The v1beta1 form lives in `status.conditions`, has a severity, and may lie by being absent. The v1beta2 form lives in
`status.v1beta2.conditions` and always carries a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tallship.lab.kubeclient import Object

Condition = dict[str, Any]

_GRAVITY = {("False", "Error"): 0, ("False", "Warning"): 1, ("False", "Info"): 2, ("True", ""): 3}


def find(item: Object, kind: str) -> Condition | None:
    """Return a condition of the v1beta1 form, or None."""
    return next((each for each in _old(item) if each["type"] == kind), None)


def is_true(item: Object, kind: str) -> bool:
    """True when the object has this condition of the v1beta1 form, and it is True."""
    condition = find(item, kind)
    return condition is not None and condition["status"] == "True"


def find_new(item: Object, kind: str) -> Condition | None:
    """Return a condition of the v1beta2 form, or None."""
    listed: list[Condition] = item.get("status", {}).get("v1beta2", {}).get("conditions", [])
    return next((each for each in listed if each["type"] == kind), None)


class Conditions:
    """Writes conditions of one object, at one moment."""

    def __init__(self, item: Object, now: str) -> None:
        self._item = item
        self._now = now

    def true(self, kind: str) -> None:
        """Make a condition True."""
        self._put({"type": kind, "status": "True"})

    def false(self, kind: str, reason: str, severity: str, message: str = "") -> None:
        """Make a condition False, and say why."""
        condition = {"type": kind, "status": "False", "reason": reason, "severity": severity}
        self._put(condition | ({"message": message} if message else {}))

    def copy(self, kind: str, source: Condition | None, otherwise: Condition | None = None) -> None:
        """Mirror a condition of another object under this name; `otherwise` stands in for one that is missing."""
        found = source or otherwise
        if found is not None:
            self._put({**{k: v for k, v in found.items() if k != "lastTransitionTime"}, "type": kind})

    def summarize(self, kinds: Sequence[str] = (), steps: Sequence[str] = ()) -> None:
        """Set Ready from the gravest of the named conditions (of all, when none is named), the first named first.

        With `steps` the message counts how many of these are True.
        """
        listed = [each for each in _old(self._item) if each["type"] != "Ready"]
        order = {kind: number for number, kind in enumerate(kinds)}
        chosen = [each for each in listed if not kinds or each["type"] in order]
        if not chosen:
            return
        worst = min(chosen, key=lambda each: (_gravity(each), order.get(each["type"], 0), each["type"]))
        summary = {**worst, "type": "Ready"}
        summary.pop("lastTransitionTime", None)
        if steps and worst["status"] != "True":
            done = sum(is_true(self._item, kind) for kind in steps)
            summary["message"] = f"{done} of {len(steps)} completed"
        self._put(summary)

    def aggregate(self, kind: str, sources: Iterable[Object]) -> None:
        """Set a condition from the gravest Ready among other objects, naming that object in the reason."""
        ready = [(each, condition) for each in sources if (condition := find(each, "Ready")) is not None]
        if not ready:
            return
        worst, condition = min(ready, key=lambda pair: (_gravity(pair[1]), pair[0]["metadata"]["name"]))
        if condition["status"] == "True":
            self.true(kind)
            return
        reason = f"{condition.get('reason', '')} @ {worst['kind']}/{worst['metadata']['name']}"
        self.false(kind, reason, condition.get("severity", ""), condition.get("message", ""))

    def new(self, kind: str, status: str, reason: str, message: str = "", *, generation: int = 0) -> None:
        """Set a condition of the v1beta2 form, in the place it already has or at the end."""
        container = self._item.setdefault("status", {}).setdefault("v1beta2", {})
        listed: list[Condition] = container.setdefault("conditions", [])
        fresh: Condition = {"type": kind, "status": status, "reason": reason, "message": message}
        fresh["observedGeneration"] = generation or self._item["metadata"].get("generation", 1)
        old = find_new(self._item, kind)
        same = old is not None and old["status"] == status
        fresh["lastTransitionTime"] = old["lastTransitionTime"] if old is not None and same else self._now
        container["conditions"] = [fresh if each is old else each for each in listed] if old else [*listed, fresh]

    def sort_new(self, order: Sequence[str]) -> None:
        """Put the conditions of the v1beta2 form in the order in which their controller lists them."""
        container = self._item.get("status", {}).get("v1beta2", {})
        known = {kind: number for number, kind in enumerate(order)}
        container.get("conditions", []).sort(key=lambda each: known.get(each["type"], len(known)))

    def _put(self, fresh: Condition) -> None:
        listed = [each for each in _old(self._item) if each["type"] != fresh["type"]]
        old = find(self._item, fresh["type"])
        same = old is not None and {k: v for k, v in old.items() if k != "lastTransitionTime"} == fresh
        since = old["lastTransitionTime"] if old is not None and same else self._now
        listed.append({**fresh, "lastTransitionTime": since})
        listed.sort(key=lambda each: (each["type"] != "Ready", each["type"]))
        self._item.setdefault("status", {})["conditions"] = listed


def bullet(name: str, message: str) -> str:
    """Return a condition as a line of a list; a message that is a list, or has several lines, goes below its name."""
    if message.startswith("* ") or "\n" in message:
        return f"* {name}:\n" + "\n".join(f"  {line}" for line in message.splitlines())
    return f"* {name}: {message}"


def summarize_new(item: Object, kinds: Sequence[str], instead: Callable[[Condition], str | None]) -> tuple[str, str]:
    """Return (status, message) of the v1beta2 conditions that are not as they should be.

    `instead` rewords a condition's message; with None the condition is left out.
    """
    worst, lines = "True", []
    for kind in kinds:
        condition = find_new(item, kind)
        good = "False" if kind == "Deleting" else "True"
        if condition is None or condition["status"] == good or (message := instead(condition)) is None:
            continue
        lines.append(bullet(kind, message))
        if condition["status"] != "Unknown":
            worst = "False"
        elif worst == "True":
            worst = "Unknown"
    return worst, "\n".join(lines)


def aggregate_new(items: Iterable[Object], kind: str, good: str = "True", noun: str = "Machine") -> tuple[str, str]:
    """Return (status, message) of one v1beta2 condition over many objects: equal messages are told once."""
    groups: dict[tuple[bool, str], list[str]] = {}
    for item in items:
        condition = find_new(item, kind)
        if condition is None:
            condition = {"status": "Unknown", "message": f"Condition {kind} not yet reported"}
        if condition["status"] != good:
            group = (condition["status"] == "Unknown", condition["message"])
            groups.setdefault(group, []).append(item["metadata"]["name"])
    if not groups:
        return good, ""
    ordered = sorted(groups.items(), key=lambda pair: (pair[0][0], -len(pair[1]), sorted(pair[1])))
    lines = [bullet(f"{noun if len(names) == 1 else f'{noun}s'} {some(names)}", text) for (_, text), names in ordered]
    bad = "False" if good == "True" else "True"
    return ("Unknown" if all(unknown for unknown, _ in groups) else bad), "\n".join(lines)


def some(names: Iterable[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    ordered = sorted(names)
    more = [f"... ({len(ordered) - most} more)"] if len(ordered) > most else []
    return ", ".join(ordered[:most] + more)


def _gravity(condition: Condition) -> int:
    return _GRAVITY.get((condition["status"], condition.get("severity", "")), len(_GRAVITY))


def _old(item: Object) -> list[Condition]:
    listed: list[Condition] = item.get("status", {}).get("conditions", [])
    return listed
