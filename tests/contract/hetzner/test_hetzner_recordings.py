"""What CAPH v1.0.7 was seen to send, sent again: the lab gives the same answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests
from hetzner_lab import HetznerLab
from hetzner_openapi import CONTRACTS

RECORDINGS = CONTRACTS / "recordings"
LATER_STATUS = {("DELETE", "/v1/load_balancers/N", 204): 201}
"""The API has answered this with an action since 2026-10-05."""
IMAGE_NAME = "talos-v1.12.2-amd64"
ID = re.compile(r"\b47\d{5}\b")


class Replay:
    """One recording sent again in its order and its time, with the lab's ids in place of the recorded ones."""

    def __init__(self, lab: HetznerLab, session: requests.Session, image: int, lines: list[dict[str, Any]]) -> None:
        self.lab = lab
        self.session = session
        self.image = image
        self.began = lines[0]["t"]
        # ids were given in order of creation, and every created resource is mentioned again
        self.recorded = iter(sorted({key for line in lines for key in ID.findall(line["path"] + str(line["body"]))}))
        self.ids: dict[str, str] = {}

    def send(self, line: dict[str, Any]) -> tuple[int, int]:
        """Return the recorded status (with the later changes) and the lab's."""
        ahead = line["t"] - self.began - self.lab.clock.now()
        if ahead > 0:
            self.lab.wait(ahead)
        url = f"https://{self.lab.address}:8443{self._mapped(line['path'])}?{line['query']}"
        answer = self.session.request(line["method"], url, json=self._body(line["body"]), timeout=10)
        if line["method"] == "POST" and "/actions/" not in line["path"]:
            created = next(each for each in answer.json().values() if "created" in each)
            self.ids[next(self.recorded)] = str(created["id"])
        place = (line["method"], re.sub(r"\d{5,}", "N", line["path"]), line["status"])
        return LATER_STATUS.get(place, line["status"]), answer.status_code

    def _mapped(self, text: str) -> str:
        return ID.sub(lambda found: self.ids[found[0]], text)

    def _body(self, body: dict[str, Any] | None) -> Any:
        if body is None:
            return None
        body = json.loads(self._mapped(json.dumps(body)))
        return {**body, "image": self.image, "user_data": "x" * 11416} if "image" in body else body


@pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings of the real controllers are not here")
@pytest.mark.parametrize("name", ["create", "life"])
def test_recorded_requests_get_the_recorded_statuses(name: str, lab: HetznerLab) -> None:
    text = Path(RECORDINGS / f"{name}.hetzner.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    labels = {"caph-image-name": IMAGE_NAME}
    image = lab.call(
        lambda: lab.api.add_snapshot("talos", labels, architecture="x86", disk_gb=40, content={"os": "talos"})
    )
    with requests.Session() as session:
        session.verify, session.trust_env = str(lab.ca), False
        session.headers.update({"Authorization": f"Bearer {lab.token}", "User-Agent": "cluster-api-provider-hetzner"})
        replay = Replay(lab, session, image["id"], lines)
        answers = [(f"{line['method']} {line['path']}", *replay.send(line)) for line in lines]
    assert [each for each in answers if each[1] != each[2]] == []
    assert lab.writes["hetzner"] == 0, "a controller's writes are not tallship's"
    assert lab.writes["controllers"] > 0
