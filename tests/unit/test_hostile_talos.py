"""Whatever a node's Talos answers, it is read, or the error says that Talos does not answer so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from grpclib.const import Status
from grpclib.exceptions import ProtocolError
from hostile import BOUNDED, odd
from hypothesis import given
from hypothesis import strategies as st
from identities import talosconfig

from tallship.adapters import talos
from tallship.adapters.talos import Talos, _Call
from tallship.adapters.talos_channel import Channels, failure
from tallship.errors import ApiError
from tallship.talosproto import machine_pb2, state_pb2
from tallship.talosproto.machine_grpc import MachineServiceStub

STAGE = {"stage": "running", "status": {"ready": False, "unmetConditions": [{"name": "a", "reason": "b"}]}}
ADDRESS = "10.0.0.1"


class Answering(Talos):
    """One node, and what it answers."""

    def __init__(self, answer: object) -> None:
        super().__init__(json.dumps(talosconfig()))
        self._given = answer

    def read(self, call: _Call[Any]) -> object:
        given = self._given

        class Here(Channels):
            async def first_answer(self, send: Callable[..., Any]) -> Any:
                if isinstance(given, Exception):
                    raise given
                return given

        return asyncio.run(self._answer(Here([], self._tls), ADDRESS, call))


def call(read: Callable[[Any], object]) -> _Call[Any]:
    return _Call("Any", MachineServiceStub, None, read)


@BOUNDED
@given(odd(STAGE))
def test_an_odd_stage_is_read_or_refused(spec: Any) -> None:
    reply = state_pb2.GetResponse()
    reply.resource.spec.yaml_spec = json.dumps(spec)
    found = Answering(reply).read(call(talos._stage))
    assert isinstance(found, talos.MachineStage | ApiError)
    if isinstance(found, ApiError):
        assert found.hint
        assert found.may_pass


@pytest.mark.parametrize("text", ["", "a: [", "&a [*a]", "[" * 3000, "a: 2026-13-45", "\0", "5", "a: &a {b: *a}"])
def test_a_stage_that_is_no_yaml_is_refused(text: str) -> None:
    reply = state_pb2.GetResponse()
    reply.resource.spec.yaml_spec = text
    assert isinstance(Answering(reply).read(call(talos._stage)), ApiError)


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        (machine_pb2.VersionResponse(), talos._version),
        (machine_pb2.ServiceListResponse(), talos._services),
        (machine_pb2.EtcdStatusResponse(), talos._etcd_status),
        (machine_pb2.EtcdMemberListResponse(), talos._members),
        (None, talos._services),
        (DecodeError("Error parsing message"), talos._services),
        (ProtocolError("unexpected message"), talos._services),
    ],
)
def test_an_answer_that_lacks_its_parts_is_refused(reply: object, read: Callable[[Any], object]) -> None:
    found = Answering(reply).read(call(read))
    assert isinstance(found, ApiError)
    assert "did not answer" in found.message
    assert found.hint


@given(st.integers(-(2**31), 2**31 - 1), st.text(st.characters(codec="utf-8"), min_size=1))
def test_an_error_of_any_code_is_an_error(code: int, text: str) -> None:
    reply = machine_pb2.VersionResponse()
    message = reply.messages.add()
    message.metadata.error, message.metadata.status.code = text, code
    error = failure(reply, ADDRESS)
    assert error is not None
    assert error.hint
    assert (error.code == "UNKNOWN") == (code not in {each.value for each in Status} - {0, Status.UNKNOWN.value})


def test_a_node_without_an_address_is_not_asked() -> None:
    talos_of_nobody = Talos(json.dumps(talosconfig()))
    (found,) = talos_of_nobody.services([""]).values()
    assert isinstance(found, ApiError)
    assert "no private address" in found.message
    with pytest.raises(ApiError, match="no private address"):
        talos_of_nobody.members("")
