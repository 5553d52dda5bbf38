"""One file out of an image: verified to the last byte, and nowhere half."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from one_file import IMAGE, MANAGER, NAME, PROGRAM, TAGGED, Fetching, someone, world
from release_world import (
    TOKEN,
    Answer,
    Member,
    StillClock,
    as_json,
    folder,
    left_in,
    packed,
    sha256,
)

from tallship.adapters.https import Https
from tallship.errors import ApiError, Interrupted, SetupError, Unreachable

__all__ = ["someone", "world"]


# --- the way there


def test_file_arrives_whole_and_can_be_executed(someone: Fetching) -> None:
    layer = packed(folder("./"), Member("./manager", PROGRAM))
    someone.world.publish(TAGGED, packed(Member("etc/passwd", b"root")), layer)
    assert someone.fetch() == PROGRAM
    assert someone.to.stat().st_mode & 0o7777 == 0o755
    assert someone.told[-1] == (len(layer), len(layer))


def test_layers_below_the_file_are_not_loaded(someone: Fetching) -> None:
    below = packed(Member("etc/passwd", b"root"))
    someone.world.publish(TAGGED, below, packed(MANAGER))
    someone.fetch()
    assert someone.world.storage.times(f"/{sha256(below)}") == 0


def test_token_is_asked_for_this_repository_and_stays_at_the_registry(someone: Fetching) -> None:
    someone.world.publish(TAGGED, packed(MANAGER))
    someone.fetch()
    (asked,) = [each for each in someone.world.main.asked if each.path == "/token"]
    assert asked.query == "service=registry.test&scope=repository%3Asyself%2Fcaph%3Apull"
    assert asked.authorization == ""
    assert {each.authorization for each in someone.world.storage.asked} == {""}


def test_redirect_within_the_registry_keeps_the_token(someone: Fetching) -> None:
    layer = packed(MANAGER)
    someone.world.publish(TAGGED, layer)
    path = f"/v2/{NAME}/blobs/sha256:{sha256(layer)}"
    someone.world.main.put(path, Answer(b"", 302, {"Location": "/v2/elsewhere"}))
    someone.world.main.put("/v2/elsewhere", Answer(layer))
    assert someone.fetch() == PROGRAM


def test_registry_without_tokens_is_asked_without(someone: Fetching) -> None:
    someone.world.publish(TAGGED, packed(MANAGER))
    someone.world.main.token_wanted_for = "/none"
    assert someone.fetch() == PROGRAM
    assert someone.world.main.times("/token") == 0


def test_token_may_have_its_other_name(someone: Fetching) -> None:
    someone.world.publish(TAGGED, packed(MANAGER))
    someone.world.main.put("/token", Answer(as_json({"access_token": TOKEN})))
    assert someone.fetch() == PROGRAM


def test_token_that_has_run_out_is_replaced(someone: Fetching) -> None:
    layer = packed(MANAGER)
    someone.world.publish(TAGGED, layer)
    path = f"/v2/{NAME}/blobs/sha256:{sha256(layer)}"
    refusal = Answer(b"", 401, {"WWW-Authenticate": someone.world.main.challenge})
    someone.world.main.answers[path].insert(0, refusal)
    assert someone.fetch() == PROGRAM
    assert someone.world.main.times("/token") == 2


def test_mirror_with_a_path_has_it_before_the_repository(someone: Fetching) -> None:
    someone.world.publish(f"proxy/{TAGGED}", packed(MANAGER))
    assert someone.fetch(mirrors={"ghcr.io": f"{someone.world.main.url}/proxy/"}) == PROGRAM


def test_image_of_a_host_with_a_port_is_asked_there(someone: Fetching) -> None:
    someone.world.publish(TAGGED, packed(MANAGER))
    assert someone.fetch(f"{someone.world.main.host}/{TAGGED}", mirrors={}) == PROGRAM


@pytest.mark.parametrize(
    "mirror", ["http://mirror.test", "mirror.test", "https://", "https://user@mirror.test", "https://mirror.test/?a"]
)
def test_mirror_must_be_an_https_address(someone: Fetching, mirror: str) -> None:
    with pytest.raises(SetupError, match=r"mirror of `ghcr\.io`"):
        someone.fetch(mirrors={"ghcr.io": mirror})


@pytest.mark.parametrize("image", ["caph", "ghcr.io/syself/caph", "ghcr.io/../caph:v1", "ghcr.io/a?b:v1", "x y/z:v1"])
def test_image_needs_host_name_and_tag(someone: Fetching, image: str) -> None:
    assert "not the name of an image" in someone.fails(image).message


def test_image_without_index_is_taken_when_its_configuration_fits(someone: Fetching) -> None:
    someone.world.put_manifest(NAME, "v1.0.7", someone.world.manifest(NAME, [packed(MANAGER)]))
    assert someone.fetch() == PROGRAM


def test_image_pinned_by_its_digest_is_asked_by_it(someone: Fetching) -> None:
    found = someone.world.put_manifest(NAME, "", someone.world.manifest(NAME, [packed(MANAGER)]))
    assert someone.fetch(f"{IMAGE}@{found['digest']}") == PROGRAM


# --- what is not what was asked for


def test_pinned_image_that_differs_is_refused(someone: Fetching) -> None:
    found = someone.world.put_manifest(NAME, "", someone.world.manifest(NAME, [packed(MANAGER)]))
    other = someone.world.manifest(NAME, [packed(MANAGER)]) | {"annotations": {"a": "b"}}
    someone.world.main.put(f"/v2/{NAME}/manifests/{found['digest']}", Answer(as_json(other)))
    assert "not what was asked for" in someone.fails(f"{IMAGE}@{found['digest']}").message


def test_manifest_with_another_digest_is_refused(someone: Fetching) -> None:
    someone.world.publish(TAGGED, packed(MANAGER))
    manifests = {path: each[0].body for path, each in someone.world.main.answers.items() if "/manifests/" in path}
    ((path, body),) = [(path, body) for path, body in manifests.items() if b'"layers"' in body]
    someone.world.main.put(path, Answer(body.replace(b'"schemaVersion": 2', b'"schemaVersion": 3')))
    error = someone.fails()
    assert "not what was asked for" in error.message
    assert "wanted sha256:" in error.detail
    assert not error.may_pass


def test_tag_whose_digest_is_announced_otherwise_is_refused(someone: Fetching) -> None:
    someone.world.publish(TAGGED, packed(MANAGER))
    path = f"/v2/{NAME}/manifests/v1.0.7"
    body = someone.world.main.answers[path][0].body
    someone.world.main.put(path, Answer(body, 200, {"Docker-Content-Digest": f"sha256:{sha256(b'other')}"}))
    assert "not what was asked for" in someone.fails().message


def test_layer_with_another_digest_is_refused(someone: Fetching) -> None:
    layer = packed(MANAGER)
    someone.world.publish(TAGGED, layer)
    someone.world.storage.put(f"/{sha256(layer)}", Answer(layer[:-1] + bytes([layer[-1] ^ 1])))
    error = someone.fails()
    assert "not what was asked for" in error.message
    assert not error.may_pass


def test_layer_shorter_than_its_manifest_says_is_refused(someone: Fetching) -> None:
    layer = packed(MANAGER)
    someone.world.publish(TAGGED, layer)
    someone.world.storage.put(f"/{sha256(layer)}", Answer(layer[:-9]))
    assert "not what was asked for" in someone.fails().message


def test_layer_longer_than_its_manifest_says_is_refused(someone: Fetching) -> None:
    layer = packed(MANAGER)
    someone.world.publish(TAGGED, layer)
    someone.world.storage.put(f"/{sha256(layer)}", Answer(layer + b"more"))
    assert "larger than" in someone.fails().message


def test_layer_that_breaks_off_is_loaded_again(someone: Fetching) -> None:
    layer = packed(MANAGER)
    someone.world.publish(TAGGED, layer)
    broken = Answer(layer[:500], announced=len(layer))
    someone.world.storage.put(f"/{sha256(layer)}", broken, broken, Answer(layer))
    assert someone.fetch() == PROGRAM


def test_layer_that_always_breaks_off_is_an_error_that_may_pass(someone: Fetching) -> None:
    layer = packed(MANAGER)
    someone.world.publish(TAGGED, layer)
    someone.world.storage.put(f"/{sha256(layer)}", Answer(layer[:500], announced=len(layer)))
    error = someone.fails()
    assert isinstance(error, Unreachable)
    assert f"500 of {len(layer)} bytes" in error.message
    assert someone.world.storage.times(f"/{sha256(layer)}") == 4
    assert sum(someone.world.clock.slept) == 1 + 2 + 4


# --- what the registry refuses


def test_wish_for_a_login_is_an_error(someone: Fetching) -> None:
    for challenge in ("", 'Basic realm="registry"'):
        someone.world.main.challenge = challenge
        error = someone.fails()
        assert error.code == "401"
        assert someone.world.main.times("/token") == 0


def test_token_that_is_not_accepted_is_asked_for_once(someone: Fetching) -> None:
    someone.world.main.token = "another"
    assert someone.fails().code == "401"
    assert someone.world.main.times("/token") == 1


def test_token_refused_names_its_status(someone: Fetching) -> None:
    someone.world.main.put("/token", Answer(b'{"errors":[{"code":"DENIED"}]}', 403))
    error = someone.fails()
    assert error.code == "403"
    assert "DENIED" in error.detail


@pytest.mark.parametrize(
    "answer", [b"[]", b"{}", b"nonsense", b'{"token": 5}', b'{"token": "a\\r\\nHost: b"}', b"[" * 9999]
)
def test_token_that_is_none_is_an_error(someone: Fetching, answer: bytes) -> None:
    someone.world.main.put("/token", Answer(answer))
    assert "token" in someone.fails().message


@pytest.mark.parametrize("realm", ["", 'realm="http://127.0.0.1:9/token"', 'realm="file:///etc/passwd"'])
def test_token_is_asked_for_over_https_only(someone: Fetching, realm: str) -> None:
    someone.world.main.challenge = f"Bearer {realm}"
    assert ("not an HTTPS address" if realm else "gives a token") in someone.fails().message


def test_image_that_is_not_there_is_named(someone: Fetching) -> None:
    error = someone.fails("ghcr.io/syself/caph:v9.9.9")
    assert (error.code, error.may_pass) == ("404", False)
    assert "ghcr.io/syself/caph:v9.9.9" in error.message
    assert someone.world.main.times(f"/v2/{NAME}/manifests/v9.9.9") == 2  # for the token, and with it


def test_wait_that_the_registry_asks_for_is_kept(someone: Fetching) -> None:
    someone.world.publish(TAGGED, packed(MANAGER))
    path = f"/v2/{NAME}/manifests/v1.0.7"
    someone.world.main.answers[path].insert(0, Answer(b"", 429, {"Retry-After": "7"}))
    assert someone.fetch() == PROGRAM
    assert sum(someone.world.clock.slept) == 7


def test_wait_that_is_too_long_is_not_begun(someone: Fetching) -> None:
    someone.world.main.put(f"/v2/{NAME}/manifests/v1.0.7", Answer(b"", 429, {"Retry-After": "3600"}))
    error = someone.fails()
    assert (error.code, error.may_pass) == ("429", True)
    assert "in 3600 s" in error.hint
    assert someone.world.clock.slept == []


def test_fault_that_passes_is_lived_through(someone: Fetching) -> None:
    someone.world.publish(TAGGED, packed(MANAGER))
    path = f"/v2/{NAME}/manifests/v1.0.7"
    someone.world.main.answers[path].insert(0, Answer(b"", 500))
    assert someone.fetch() == PROGRAM


def test_fault_that_stays_is_met_four_times(someone: Fetching) -> None:
    someone.world.main.token_wanted_for = "/none"
    someone.world.main.put(f"/v2/{NAME}/manifests/v1.0.7", Answer(b"", 503))
    error = someone.fails()
    assert (error.code, error.may_pass) == ("503", True)
    assert someone.world.main.times(f"/v2/{NAME}/manifests/v1.0.7") == 4


@pytest.mark.parametrize("place", ["http://127.0.0.2:9/x", "ftp://127.0.0.2:9/x"])
def test_redirect_out_of_https_is_not_followed(someone: Fetching, place: str) -> None:
    layer = packed(MANAGER)
    someone.world.publish(TAGGED, layer)
    path = f"/v2/{NAME}/blobs/sha256:{sha256(layer)}"
    someone.world.main.put(path, Answer(b"", 302, {"Location": place}))
    assert "no HTTPS address" in someone.fails().message


def test_registry_that_does_not_listen_is_unreachable(someone: Fetching) -> None:
    error = someone.fails(mirrors={"ghcr.io": "https://127.0.0.1:9"})
    assert isinstance(error, Unreachable)


def test_certificate_of_an_unknown_authority_is_not_accepted(someone: Fetching) -> None:
    someone.world.https = Https(someone.world.clock, someone.world.stop.is_set)
    error = someone.fails()
    assert "certificate" in error.message
    assert (error.may_pass, someone.world.clock.slept) == (False, [])


def test_trickle_ends(someone: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = packed(MANAGER)
    someone.world.publish(TAGGED, layer)
    later: list[float] = []

    class Slow(StillClock):
        def now(self) -> float:
            later.append(1000.0)
            return sum(later)

    someone.world.https = Https(Slow(), someone.world.stop.is_set, someone.world.ca_file)
    monkeypatch.setattr("tallship.adapters.https._CHUNK", 100)
    assert "too slow" in someone.fails().message


def test_stop_is_heeded_in_the_middle_of_a_layer(someone: Fetching) -> None:
    layer, held = packed(Member("manager", PROGRAM * 3)), threading.Event()
    someone.world.publish(TAGGED, layer)

    def stop() -> None:
        someone.world.stop.set()

    someone.world.storage.put(f"/{sha256(layer)}", Answer(layer, hold=held, on_half=stop))
    threading.Timer(0.05, held.set).start()
    with pytest.raises(Interrupted):
        someone.fetch()
    assert left_in(someone.to.parent) == []


# --- where it goes


def test_failed_fetch_leaves_the_old_file(someone: Fetching) -> None:
    someone.to.parent.mkdir()
    someone.to.write_bytes(b"old")
    with pytest.raises(ApiError):
        someone.fetch()
    assert (left_in(someone.to.parent), someone.to.read_bytes()) == (["caph"], b"old")


def test_place_that_cannot_be_written_is_a_mistake_of_this_machine(someone: Fetching) -> None:
    someone.world.publish(TAGGED, packed(MANAGER))
    someone.to.parent.write_bytes(b"a file where the folder would be")
    with pytest.raises(SetupError, match="cannot be written"):
        someone.fetch()


def test_disk_that_is_full_is_a_mistake_of_this_machine(someone: Fetching) -> None:
    with pytest.raises(SetupError, match="No space left"):
        someone.world.https.load(f"{someone.world.main.url}/token", Path("/dev/full"), 1000, lambda *_: None)
