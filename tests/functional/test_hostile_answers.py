"""Whatever an API answers, a verb of its adapter works, or says in an error that has a hint what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from hostile import NO_JSON, body, odd
from hypothesis import given, settings
from hypothesis import strategies as st
from ship import Kept
from twisted import BOUNDED, Answer, Twisted, at_all_sockets
from verbs import CHANGES_NODES, VERBS, Scene

from tallship.errors import TallshipError

EXAMPLES = 25
OVER_HTTP = [
    name
    for name in VERBS
    if name.split(".")[0] in ("Hetzner", "Kube", "Web")
    and name not in {*CHANGES_NODES, "Web.image_sha256", "Hetzner.check_token"}
]
READ_AS_TEXT = {"Web.image_size", "Kube.log", "Kube.delete", "Kube.evict"}
"""Verbs that read no JSON of what they are answered."""


@pytest.fixture(scope="module")
def twisted() -> Iterator[Twisted]:
    with at_all_sockets() as made:
        yield made


@pytest.fixture(scope="module")
def scene(kept: Kept, twisted: Twisted) -> Iterator[Scene]:
    with kept.copy() as ship, closing(ship.env()) as env:
        ship.world.fault("slow", {"agent": "nobody"}, times=0)  # some servers ask what goes wrong while a fault is set
        yield ship.world.run(lambda: Scene(ship, env))


def tried(scene: Scene, twisted: Twisted, call: Callable[[], object], instead: dict[int, Answer]) -> None:
    """Make a call that is answered something else."""
    try:
        with twisted.by(lambda number, _content: instead.get(number)):
            scene.ship.world.run(call)
    except TallshipError as error:
        assert error.message, repr(error)
        assert error.hint, error.message
        told = f"{error.message}{error.detail}{error.hint}"
        assert len(told) < 5000
        assert scene.ship.world.token not in told


@pytest.mark.parametrize("name", OVER_HTTP)
def test_a_verb_takes_whatever_it_is_answered(name: str, scene: Scene, twisted: Twisted) -> None:
    scene.ship.world.run(scene.tidy)
    thing = scene.ship.world.run(lambda: VERBS[name].make(scene))
    call = partial(VERBS[name].call, scene, thing)
    tried(scene, twisted, call, {})
    true = twisted.heard
    assert true
    for number, content in enumerate(NO_JSON):
        tried(scene, twisted, call, {len(true) - 1: ((0, 400, 503)[number % 3], content)})
        tried(scene, twisted, call, {0: (0, content)})
    if name in READ_AS_TEXT:
        return
    documents = [json.loads(each or b"{}") for each in true]

    @settings(BOUNDED, max_examples=EXAMPLES)
    @given(st.data())
    def odd_answers(data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(documents) - 1))
        tried(scene, twisted, call, {number: (0, body(data.draw(odd(documents[number]))))})

    odd_answers()


REFUSAL = {
    "Hetzner": {
        "error": {
            "code": "invalid_input",
            "message": "invalid",
            "details": {"fields": [{"name": "name", "messages": ["too long"]}], "limits": [{"name": "servers"}]},
        }
    },
    "Kube": {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "invalid",
        "reason": "Invalid",
        "code": 422,
        "details": {"name": "a", "kind": "b", "causes": [{"reason": "x", "message": "y", "field": "spec"}]},
    },
}


@pytest.mark.parametrize("name", ["Hetzner.list_servers", "Hetzner.put_firewall", "Kube.find", "Kube.apply"])
def test_a_refusal_of_another_shape_is_an_error_too(name: str, scene: Scene, twisted: Twisted) -> None:
    thing = scene.ship.world.run(lambda: VERBS[name].make(scene))
    call = partial(VERBS[name].call, scene, thing)

    @settings(BOUNDED, max_examples=2 * EXAMPLES)
    @given(odd(REFUSAL[name.split(".")[0]]), st.sampled_from([400, 401, 403, 404, 409, 422, 429, 500, 503]))
    def odd_refusals(refusal: Any, status: int) -> None:
        tried(scene, twisted, call, {0: (status, body(refusal))})

    odd_refusals()
