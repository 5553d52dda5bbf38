"""The Talos snapshot that every server boots from, built without Packer when it is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from tallship.adapters.hetzner import Server
from tallship.adapters.hetzner_errors import CHOOSE_ANOTHER
from tallship.adapters.ssh import KeyPair, Rescue, new_key_pair
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import ApiError, StepFailed, TimedOut
from tallship.manifests import image

Found = TypeVar("Found")

BUILDER_LABELS = {"managed-by": "tallship", "tallship-role": "image-builder"}
BOOT_TIMEOUT = 300.0
"""Seconds for the builder to come up in its rescue system."""
SNAPSHOT_TIMEOUT = 900.0
"""Seconds for Hetzner to make the snapshot."""
LOCKED_TIMEOUT = 120.0
"""Seconds for another action on the builder to end."""
WRITE_TIMEOUT = 900.0
"""Seconds without a word from the builder while it writes its disk."""


class ImageExists(Step[Env]):
    """There is one snapshot of this Talos version, architecture and schematic."""

    name = "image"
    title = "Build the Talos image"
    timeout = 1800
    interval = 5

    def probe(self, env: Env) -> Seen:
        """Look for the snapshot by the label that CAPH looks for."""
        name = image.name(env.spec)
        found = env.hetzner.list_images(image.selector(env.spec), image.hetzner_architecture(env.spec))
        if len(found) > 1:
            numbers = ", ".join(str(each.id) for each in found)
            hint = f"delete all but one: CAPH refuses to choose between images labelled `{image.NAME_LABEL}={name}`"
            return Seen(State.BROKEN, f"{len(found)} images are named {name}: {numbers}", hint=hint)
        if not found:
            return Seen(State.MISSING, change=f"build snapshot {name}")
        if found[0].status != "available":
            return Seen(State.WORKING, f"snapshot {name} is {found[0].status}")
        if left_behind(env):
            return Seen(State.MISSING, change="delete what a killed build left behind")
        return Seen(State.READY, name)

    def act(self, env: Env, seen: Seen) -> None:
        """Build the snapshot, or delete the builder of a build that was killed when its snapshot was under way."""
        if env.hetzner.list_images(image.selector(env.spec), image.hetzner_architecture(env.spec)):
            clean_up(env)
        else:
            build(env)


def build(env: Env) -> None:
    """Build the snapshot; the builder and its key are deleted in every case.

    Raises StepFailed when the builder cannot be had or the image cannot be written whole.
    """
    identity = env.web.register_schematic(env.site.factory_url, image.schematic(env.spec))
    if identity != image.schematic_id(env.spec):
        raise StepFailed(
            f"the Image Factory calls this schematic {identity[:12]}…, not {image.schematic_id(env.spec)[:12]}…",
            hint="it changed how it computes the id: another release of tallship is needed",
        )
    url = image.url(env.spec, env.site.factory_url)
    size, checksum = env.web.image_size(url), env.spec.image.sha256 or env.web.image_sha256(url)
    pair = new_key_pair()
    with _builder(env, pair) as builder:
        rescue = Rescue(builder.ipv4, env.site.ssh_port, pair)
        _wait_for_rescue(env, rescue)
        _write(env, rescue, script(url, size, checksum))
        _when_unlocked(env, lambda: env.hetzner.power_off(builder.id))
        _wait(env, partial(_is_off, env, builder.id), "the builder to power off", LOCKED_TIMEOUT)
        description, labels = f"Talos {env.spec.talos.version}", image.labels(env.spec)
        snapshot = _when_unlocked(env, lambda: env.hetzner.create_image(builder.id, description, labels))
        _wait(env, lambda: _is_available(env, snapshot), "the snapshot", SNAPSHOT_TIMEOUT)


def script(url: str, size: int, checksum: str) -> str:
    """Return what the builder runs: one pipe from the factory to the disk, each part's exit status counting.

    xz checks the image's own integrity; the download is compared with the factory's size and, where there is one, its
    checksum.
    """
    return f"""set -euo pipefail
disk=${{DISK:-/dev/sda}}
curl -fsSL --retry 3 -A tallship-builder -o image.raw.xz '{url}'
test "$(stat -c %s image.raw.xz)" = {size} || {{ echo "the download is not {size} bytes long"; exit 71; }}
{f"echo '{checksum}  image.raw.xz' | sha256sum -c --quiet || exit 72" if checksum else "# no checksum is published"}
xz -dc image.raw.xz | dd of="$disk" bs=4M conv=fsync status=none
sync
echo "wrote $(xz --robot -l image.raw.xz | awk '$1 == "totals" {{print $5}}') bytes"
"""


@dataclass(frozen=True)
class _Place:
    server_type: str
    location: str


@contextmanager
def _builder(env: Env, pair: KeyPair) -> Iterator[Server]:
    """Give a server in its rescue system, and delete it and its key afterwards, whatever happened."""
    clean_up(env)
    name = f"{image.name(env.spec)}-builder".replace("_", "-").replace(".", "-").lower()
    labels = {**BUILDER_LABELS, image.NAME_LABEL + "-for": image.name(env.spec)}
    key = env.hetzner.create_ssh_key(name, pair.public, labels)
    try:
        server = _first_available(env, name, labels, key)
        _when_unlocked(env, lambda: env.hetzner.enable_rescue(server.id, [key]))
        _when_unlocked(env, lambda: env.hetzner.power_on(server.id))
        yield server
    finally:
        clean_up(env)


def left_behind(env: Env) -> bool:
    """True when a builder or a key of a build of this image is there."""
    selector = _builder_selector(env)
    return bool(env.hetzner.list_servers(selector) or env.hetzner.list_ssh_keys(selector))


def clean_up(env: Env) -> None:
    """Delete what a build of this image left behind: builders and keys that carry its labels."""
    selector = _builder_selector(env)
    for server in env.hetzner.list_servers(selector):
        env.hetzner.delete_server(server.id)
    for key in env.hetzner.list_ssh_keys(selector):
        env.hetzner.delete_ssh_key(key)


def _builder_selector(env: Env) -> str:
    return f"tallship-role=image-builder,{image.NAME_LABEL}-for={image.name(env.spec)}"


def _first_available(env: Env, name: str, labels: dict[str, str], key: int) -> Server:
    """Return a builder of the cheapest type, in the nearest place, that Hetzner can give now."""
    sold_out: list[str] = []
    for place in _places(env):
        try:
            server = env.hetzner.create_server(name, place.server_type, place.location, "debian-12", labels, [key])
        except ApiError as error:
            if error.code not in CHOOSE_ANOTHER:
                raise
            sold_out.append(f"{place.server_type} in {place.location}")
            continue
        _wait(env, partial(_is_off, env, server.id), "the builder", BOOT_TIMEOUT)
        return server
    raise StepFailed(
        "no server to build the image on can be had now",
        detail="sold out: " + ", ".join(sold_out),
        hint="run the same command again later",
    )


def _places(env: Env) -> list[_Place]:
    """Return where to try: cheapest type first, the cluster's own location before others."""
    home = env.spec.hetzner.location
    prices = env.hetzner.pricing()
    kinds = [t for t in env.hetzner.list_server_types() if t.architecture == env.spec.architecture and t.disk_gb <= 80]
    places = [_Place(kind.name, location) for kind in kinds for location in kind.available_in]
    places.sort(key=lambda each: (prices.server(each.server_type, each.location), each.location != home, each.location))
    return places[:8]


def _wait_for_rescue(env: Env, rescue: Rescue) -> None:
    _wait(env, rescue.is_up, "the builder's rescue system", BOOT_TIMEOUT)


def _write(env: Env, rescue: Rescue, text: str) -> None:
    heard: list[str] = []
    status = rescue.run(text, heard.append, WRITE_TIMEOUT)
    if status != 0:
        raise StepFailed(
            f"the builder could not write the image: its script ended with {status}",
            detail="\n".join(heard[-5:]),
            hint="run the same command again",
        )


def _is_off(env: Env, server: int) -> bool:
    return env.hetzner.get_server(server).status == "off"


def _when_unlocked(env: Env, ask: Callable[[], Found]) -> Found:
    """Return what Hetzner answers once no other action locks the server; nothing was done while it was locked."""
    began = env.clock.now()
    while True:
        try:
            return ask()
        except ApiError as error:
            if error.code not in ("locked", "conflict") or env.clock.now() - began > LOCKED_TIMEOUT:
                raise
            env.clock.sleep(2)


def _is_available(env: Env, snapshot: int) -> bool:
    found = env.hetzner.list_images(image.selector(env.spec), image.hetzner_architecture(env.spec))
    return any(each.id == snapshot and each.status == "available" for each in found)


def _wait(env: Env, there: Callable[[], bool], what: str, seconds: float) -> None:
    began = env.clock.now()
    while not there():
        if env.clock.now() - began > seconds:
            raise TimedOut(f"{what} is not there after {seconds:.0f} s", hint="run the same command again")
        env.clock.sleep(ImageExists.interval)
