"""The server on which an image is built: it and its key are deleted in every case."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import TypeVar

from tallship.adapters.hetzner_errors import CHOOSE_ANOTHER, HINTS
from tallship.adapters.hetzner_resources import Image, Server, SshKey
from tallship.adapters.ssh import BEGIN_ANEW, KeyPair, Rescue
from tallship.engine import rest
from tallship.env import Env
from tallship.errors import ApiError, Interrupted, StepFailed, TallshipError, TimedOut
from tallship.manifests import image
from tallship.spec import Spec

Found = TypeVar("Found")

BUILDER_ROLE = "image-builder"
OWNER = "tallship-owner"
"""The label that tells whose run made a builder."""
POLL = 3.0
"""Seconds between two looks, at least."""
ACTION_TIMEOUT = 300.0
"""Seconds for Hetzner to do one thing to the builder."""
RESCUE_TIMEOUT = 180.0
"""Seconds for the rescue system to let us in, after the power is on."""
LOCKED_TIMEOUT = 120.0
"""Seconds for another action on the builder to end."""
ABANDONED = 3600.0
"""No build lasts so many seconds: a builder that is older belongs to nobody."""
NOTHING_DONE = ("locked", "conflict", "rate_limit_exceeded", "maintenance")
"""Hetzner API: with these codes a request has changed nothing."""
MOST_DISK_GB = 80
"""The largest disk of a builder where no server says how large its own is."""


def owner(env: Env) -> str:
    """Return who we are: one state folder of one machine, of which no two runs happen at the same time."""
    return hashlib.sha256(f"{platform.node()}:{env.folder}".encode()).hexdigest()[:16]


def pause(env: Env, waited: float = 0.0, polite: float = 0.0) -> None:
    """Wait a little, longer the longer it lasts. Raises Interrupted when somebody wants the run to stop.

    `polite`: the seconds that whoever was asked wants, at least.
    """
    if not env.pause(max(rest(POLL, waited), polite, env.brake()[0])):
        raise Interrupted("stopped while the image was built", hint=BEGIN_ANEW)


def wait_until(env: Env, lacks: Callable[[], str], what: str, seconds: float) -> None:
    """Wait until nothing lacks; what cannot be asked now is asked again. Raises TimedOut or Interrupted."""
    began = env.clock.now()
    while True:
        polite = 0.0
        try:
            if not (seen := lacks()):
                return
        except ApiError as error:
            if not error.may_pass:
                raise
            seen, polite = error.message, error.again_after
        waited = env.clock.now() - began
        if waited > seconds:
            raise TimedOut(f"{what} after {seconds:.0f} s", detail=seen, hint="run the same command again")
        pause(env, waited, polite)


def settle(env: Env, server: int, what: str, seconds: float = ACTION_TIMEOUT) -> None:
    """Wait until nothing is being done to the builder. Raises ApiError with Hetzner's reason when it failed."""

    def lacks() -> str:
        actions = env.hetzner.list_actions(server)
        for each in actions:
            if each.status == "error":
                hint = HINTS.get(each.code, "run the same command again")
                reason = f"{each.message} ({each.code})"
                raise ApiError(f"Hetzner could not {what}: {reason}", code=each.code, detail=each.command, hint=hint)
        running = [each.command for each in actions if each.status == "running"]
        return f"still running: {', '.join(running)}" if running else ""

    pause(env)  # nothing is done at once
    wait_until(env, lacks, f"Hetzner did not {what}", seconds)


def when_unlocked(env: Env, ask: Callable[[], Found]) -> Found:
    """Return what Hetzner answers once no other action locks the server."""
    began = env.clock.now()
    while True:
        try:
            return ask()
        except ApiError as error:
            if error.code not in NOTHING_DONE or env.clock.now() - began > LOCKED_TIMEOUT:
                raise
            env.clock.sleep(max(POLL, error.again_after))


@contextmanager
def builder(env: Env, spec: Spec, pair: KeyPair, tell: Callable[[str], None]) -> Iterator[tuple[Server, Rescue]]:
    """Give a server that runs its rescue system, and delete it and its key afterwards, whatever happened."""
    name = f"{image.name(spec)}-builder".replace("_", "-").replace(".", "-").lower()
    labels = {"managed-by": "tallship", image.ROLE: BUILDER_ROLE, image.BUILT_FOR: image.name(spec), OWNER: owner(env)}
    clean_up(env, spec)
    try:
        key = _new_key(env, name, pair, labels)
        server = _first_available(env, spec, name, labels, key, tell)
        yield server, _into_rescue(env, server, key, pair, tell)
    except TallshipError as error:
        _end(env, spec, error, tell)
        raise
    except BaseException:
        clean_up(env, spec)
        raise
    try:
        clean_up(env, spec)
    except ApiError as error:
        error.hint = _then_prune(error.hint)
        raise


def others_builder(env: Env, spec: Spec) -> Server | None:
    """Return the builder of a run elsewhere that builds the same image now."""
    found = env.hetzner.list_servers(_selector(spec))
    return next((each for each in found if not _is_left_behind(env, each)), None)


def left_behind(env: Env, spec: Spec | None = None) -> list[Server | SshKey]:
    """Return the builders and keys, of this image or of all, that no run uses any more: ours, and very old ones."""
    servers, keys = env.hetzner.list_servers(_selector(spec)), env.hetzner.list_ssh_keys(_selector(spec))
    found: list[Server | SshKey] = [*servers, *keys]
    return [each for each in found if _is_left_behind(env, each)]


def delete(env: Env, thing: Server | SshKey) -> None:
    """Delete a builder or a key."""
    if isinstance(thing, Server):
        when_unlocked(env, lambda: env.hetzner.delete_server(thing.id))
    else:
        env.hetzner.delete_ssh_key(thing.id)


def clean_up(env: Env, spec: Spec) -> None:
    """Delete what a build of this image left behind: builder, key, and half a snapshot. Errors that pass are passed.

    Everything is tried before the first error is raised.
    """
    errors: list[ApiError] = []
    for thing in _patiently(env, lambda: left_behind(env, spec)):
        _noting(errors, partial(_patiently, env, partial(delete, env, thing)))
    for half in _patiently(env, lambda: half_snapshots(env, spec)):
        _noting(errors, partial(_patiently, env, partial(env.hetzner.delete_image, half)))
    if errors:
        raise errors[0]


def half_snapshots(env: Env, spec: Spec | None = None) -> list[int]:
    """Return the snapshots, of this image or of any, that were begun by us or long ago and are not whole."""
    found = env.hetzner.list_images(candidates(spec))
    return [each.id for each in found if each.status != "available" and _is_left_behind(env, each)]


def candidates(spec: Spec | None = None) -> str:
    """Return the selector of snapshots, of this image or of any, that CAPH must not see yet."""
    only = f",{image.BUILT_FOR}={image.name(spec)}" if spec else ""
    return f"{image.ROLE}=image-candidate{only}"


def age(env: Env, created: datetime) -> float:
    """Return the seconds since a moment."""
    return (env.clock.today() - created).total_seconds()


def places(env: Env, spec: Spec) -> list[tuple[str, str]]:
    """Return type and location of every builder that could be had, in the order in which they are tried.

    What Hetzner says is available comes first, then the price, the smaller disk, and the cluster's own location. No
    disk is larger than that of the cluster's servers: a snapshot fits only disks that are as large as the builder's.
    """
    home, prices = spec.hetzner.location, env.hetzner.pricing()
    kinds = [kind for kind in env.hetzner.list_server_types() if kind.architecture == spec.architecture]
    types = {spec.control_plane.server_type, *(pool.server_type for pool in spec.workers)}
    own = [kind.disk_gb for kind in kinds if kind.name in types]
    most = min([*own, MOST_DISK_GB])
    offers = [
        (
            location not in kind.available_in,
            prices.server(kind.name, location),
            kind.disk_gb,
            location != home,
            kind.name,
            location,
        )
        for kind in kinds
        if kind.disk_gb <= most
        for location in kind.offered_in
    ]
    return [(name, location) for *_, name, location in sorted(offers)]


def _selector(spec: Spec | None) -> str:
    only = f",{image.BUILT_FOR}={image.name(spec)}" if spec else ""
    return f"{image.ROLE}={BUILDER_ROLE}{only}"


def _is_left_behind(env: Env, thing: Server | SshKey | Image) -> bool:
    return thing.labels.get(OWNER) == owner(env) or age(env, thing.created) > ABANDONED


def _new_key(env: Env, name: str, pair: KeyPair, labels: dict[str, str]) -> int:
    """Register the key; its name can be had once, so that of two runs elsewhere one waits."""
    try:
        return env.hetzner.create_ssh_key(name, pair.public, labels)
    except ApiError as error:
        if error.code != "uniqueness_error":
            raise
        hint = "wait for it; a key that a killed run elsewhere left behind is deleted after an hour"
        raise ApiError(f"another run builds this image: it has the key `{name}`", hint=hint, may_pass=True) from error


def _first_available(
    env: Env, spec: Spec, name: str, labels: dict[str, str], key: int, tell: Callable[[str], None]
) -> Server:
    """Return a builder that is switched off, of the first type and in the first place that Hetzner can give now."""
    sold_out: list[str] = []
    for server_type, location in places(env, spec):
        tell(f"create builder {server_type} in {location}")
        try:
            server = when_unlocked(
                env, partial(env.hetzner.create_server, name, server_type, location, "debian-12", labels, [key])
            )
            settle(env, server.id, "create the builder")
        except ApiError as error:
            if error.code not in CHOOSE_ANOTHER:
                raise
            sold_out.append(f"{server_type} in {location}")
            for left in env.hetzner.list_servers(_selector(spec)):
                delete(env, left)
            continue
        return server
    raise StepFailed(
        "no server to build the image on can be had now",
        detail="sold out: " + ", ".join(sold_out),
        hint="run the same command again later",
    )


def _into_rescue(env: Env, server: Server, key: int, pair: KeyPair, tell: Callable[[str], None]) -> Rescue:
    """Boot the builder's rescue system; one that does not come up has its power cut and gets a second boot."""
    for attempt in ("", ", second boot"):
        tell(f"boot the builder's rescue system{attempt}")
        when_unlocked(env, lambda: env.hetzner.enable_rescue(server.id, [key]))
        settle(env, server.id, "enable the rescue system")
        when_unlocked(env, lambda: env.hetzner.power_on(server.id))
        settle(env, server.id, "switch the builder on")
        rescue = Rescue(server.ipv4, env.site.ssh_port, pair)
        try:
            wait_until(env, partial(_why_dark, rescue), "the builder's rescue system does not answer", RESCUE_TIMEOUT)
        except TimedOut:
            switch_off(env, server.id)
            continue
        return rescue
    raise TimedOut(
        f"the builder's rescue system did not answer, twice for {RESCUE_TIMEOUT:.0f} s",
        detail=f"{server.server_type} in {server.location}, SSH at {server.ipv4}",
        hint="run the same command again; does something here keep SSH from going out?",
    )


def _why_dark(rescue: Rescue) -> str:
    return "" if rescue.is_up() else "no SSH lets us in"


def switch_off(env: Env, server: int) -> None:
    """Cut the builder's power, and wait until it is off."""
    when_unlocked(env, lambda: env.hetzner.power_off(server))
    settle(env, server, "switch the builder off")


def _patiently(env: Env, ask: Callable[[], Found]) -> Found:
    """Return the answer, asking again while errors may pass: who cleans up has no second chance."""
    began = env.clock.now()
    while True:
        try:
            return ask()
        except ApiError as error:
            waited = env.clock.now() - began
            if not error.may_pass or waited > LOCKED_TIMEOUT:
                raise
            env.clock.sleep(max(rest(POLL, waited), error.again_after))


def _noting(errors: list[ApiError], deed: Callable[[], object]) -> None:
    try:
        deed()
    except ApiError as error:
        errors.append(error)


def _end(env: Env, spec: Spec, error: TallshipError, tell: Callable[[str], None]) -> None:
    """Clean up after an error; where that fails the error tells what is left, which costs money."""
    try:
        if _patiently(env, lambda: left_behind(env, spec)):
            tell("delete the builder and its key")
        clean_up(env, spec)
    except TallshipError as second:
        error.detail = f"{error.detail}\nthe builder or its key is still there: {second.message}".lstrip()
        error.hint = _then_prune(error.hint or second.hint)


def _then_prune(hint: str) -> str:
    return f"{hint}; then `tallship image prune` deletes what is left"
