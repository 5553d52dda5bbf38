"""What CAPH asks of Hetzner, noted where it leaves the controller."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from condition_sequences import RECORDINGS
from controller_world import ControllerWorld

from tallship.lab.controllers.caph.hcloud import HCloud, HCloudError

Request = tuple[str, str, Any, int]
"""Method, path without ids, body without ids and names, status."""

_NAMES = re.compile(r"k8s-(control-plane|kube-apiserver)-[bcdfghjklmnpqrstvwxz2456789]{5}")
_POLLS = ("/networks", "/load_balancers", "/placement_groups")


class Requests:
    """All requests so far."""

    def __init__(self, world: ControllerWorld, patch: pytest.MonkeyPatch) -> None:
        self.all: list[tuple[float, Request]] = []
        real = HCloud._once

        async def noted(hcloud: HCloud, method: str, path: str, body: Any, query: Any) -> Any:
            status = 500
            try:
                answer = await real(hcloud, method, path, body, query)
                status = 201 if method == "POST" else 200
                return answer
            except HCloudError as error:
                status = error.status
                raise
            finally:
                if world.network in hcloud._hetzner.url:  # a world of another scope may run beside this one
                    self.all.append((world.clock.now(), plain(method, path, body, status)))

        patch.setattr(HCloud, "_once", noted)

    def changes(self) -> list[Request]:
        """Return the requests that changed something, or tried to."""
        return [request for _, request in self.all if request[0] != "GET"]

    def times(self, method: str, path: str) -> list[float]:
        """Return when such requests were made."""
        return [round(at, 1) for at, request in self.all if request[:2] == (method, path)]


def plain(method: str, path: str, body: Any, status: int) -> Request:
    """Return a request without what chance and the project's history put into it."""
    path = re.sub(r"/\d+", "/<id>", path.removeprefix("/v1"))
    text = _NAMES.sub(r"<\1>", json.dumps(body))
    loaded = json.loads(re.sub(r": \[?\d{6,}\]?", ": 0", text))
    if isinstance(loaded, dict):
        loaded |= {key: "" for key in ("user_data", "image", "network") if key in loaded}
    return method, path, loaded, status


def recorded() -> list[Request]:
    """Return the requests of the recorded creation, in order."""
    lines = (RECORDINGS / "create.hetzner.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return [plain(each["method"], each["path"], each["body"], each["status"]) for each in events]


def without_polls(requests: list[Request]) -> list[Request]:
    """Return the requests without those that only look whether the cluster's own parts are there."""
    return [each for each in requests if each[0] != "GET" or each[1] not in _POLLS]
