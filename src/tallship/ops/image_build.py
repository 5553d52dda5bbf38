"""Building a snapshot: from the Image Factory through a throw-away server to the label that CAPH looks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tallship.adapters.hetzner_resources import Image
from tallship.adapters.ssh import Rescue, new_key_pair
from tallship.env import Env
from tallship.errors import StepFailed, TimedOut
from tallship.manifests import image, image_script
from tallship.ops.image_builder import (
    OWNER,
    builder,
    candidates,
    owner,
    pause,
    settle,
    switch_off,
    when_unlocked,
)
from tallship.spec import Spec

SNAPSHOT_TIMEOUT = 900.0
"""Seconds for Hetzner to make the snapshot."""
SILENCE = 300.0
"""Seconds without a word from the builder while it writes its disk."""
WRITE_TIMEOUT = 1800.0
"""Seconds for the image to be on the builder's disk, however often its download is begun."""
DOWNLOADS = 3
"""How often the image is downloaded, when the download breaks off."""
SHARE = 10
"""Percent of the image between two words about it."""


@dataclass(frozen=True)
class Download:
    """A compressed image at the factory."""

    url: str
    size: int
    """In bytes; 0 when the factory does not tell it."""
    sha256: str
    """Empty where none is published."""


def build(env: Env, spec: Spec, replaces: Iterable[int], tell: Callable[[str], None]) -> None:
    """Build the snapshot and give it its name; the builder and its key are deleted in every case.

    Raises StepFailed when the builder cannot be had or the image cannot be written whole, TimedOut, ApiError.
    """
    download = find(env, spec)
    pair = new_key_pair()
    with builder(env, spec, pair, tell) as (server, rescue):
        _write(env, rescue, download, tell)
        switch_off(env, server.id)
        tell("make the snapshot")
        labels = {**image.candidate_labels(spec), OWNER: owner(env)}
        description = f"Talos {spec.talos.version} {spec.architecture}"
        when_unlocked(env, lambda: env.hetzner.create_image(server.id, description, labels))
        settle(env, server.id, "make the snapshot", SNAPSHOT_TIMEOUT)
    give_name(env, spec, replaces)


def find(env: Env, spec: Spec) -> Download:
    """Make the Image Factory know the schematic, and return where its image is.

    Raises StepFailed when the factory computes another id than we do, ApiError when it does not have the image.
    """
    register(env, spec)
    url = image.url(spec, env.site.factory_url)
    return Download(url, env.web.image_size(url), spec.image.sha256 or env.web.image_sha256(url))


def register(env: Env, spec: Spec) -> None:
    """Make the Image Factory know the schematic. Raises StepFailed when it computes another id than we do."""
    identity, ours = env.web.register_schematic(env.site.factory_url, image.schematic(spec)), image.schematic_id(spec)
    if identity != ours:
        raise StepFailed(
            f"the Image Factory calls this schematic {identity[:12]}…, not {ours[:12]}…",
            hint="it changed how it computes the id: another release of tallship is needed",
        )


def whole_candidates(env: Env, spec: Spec) -> list[Image]:
    """Return the snapshots of this image that are whole and wait for their name, newest last."""
    found = env.hetzner.list_images(candidates(spec))
    return [each for each in found if each.status == "available"]


def give_name(env: Env, spec: Spec, replaces: Iterable[int] = ()) -> None:
    """Let CAPH find the newest candidate, and no other: those that it replaces lose their label first.

    CAPH v1.0.7 refuses to choose between two images of one name; for a moment it finds none, and asks again later.
    """
    found = whole_candidates(env, spec)
    if not found:
        raise StepFailed("the snapshot is gone before it got its name", hint="run the same command again")
    for old in env.hetzner.list_images(image.selector(spec)):
        if old.id in replaces:
            env.hetzner.put_image_labels(old.id, image.replaced_labels(old.labels))
    if env.hetzner.list_images(image.selector(spec), image.hetzner_architecture(spec)):
        for each in found:
            env.hetzner.delete_image(each.id)  # a run elsewhere was faster
        return
    env.hetzner.put_image_labels(found[-1].id, image.labels(spec))
    for each in found[:-1]:
        env.hetzner.delete_image(each.id)


def _write(env: Env, rescue: Rescue, download: Download, tell: Callable[[str], None]) -> None:
    """Write the image to the builder's disk; a download that breaks off is begun anew."""
    script = image_script.script(download.url, bool(download.sha256))
    proof = "its SHA-256" if download.sha256 else "TLS and xz, for no checksum is published"
    tell(f"write the image to the builder's disk, proven by {proof}")
    late = env.clock.now() + WRITE_TIMEOUT
    for _ in range(DOWNLOADS):
        heard = _Listener(download.size, tell, lambda: env.clock.now() > late)
        status = rescue.run(script, heard, env.stop, SILENCE)
        ending = image_script.ending(status, heard.lines, download.size, download.sha256)
        if not ending.problem:
            return
        if not ending.again:
            break
        tell(ending.problem)
        pause(env)
    hint = "run the same command again" if ending.again else _HINTS.get(ending.problem, "see the builder's last words")
    raise StepFailed(ending.problem, detail="\n".join(heard.lines[-8:]), hint=hint)


_HINTS = {
    "the image does not fit on the builder's disk": "choose a server type with a larger disk in the cluster file",
}


class _Listener:
    """Keeps what the builder says, and tells how far it has come whenever that is much further. Raises TimedOut."""

    def __init__(self, size: int, tell: Callable[[str], None], is_late: Callable[[], bool]) -> None:
        self._is_late = is_late
        self.lines: list[str] = []
        self._size = size
        self._tell = tell
        self._next = 0

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        if self._is_late():
            hint = "run the same command again: another builder may have a better network"
            said = f"the image is not on the builder's disk after {WRITE_TIMEOUT:.0f} s"
            raise TimedOut(said, detail="\n".join(self.lines[-2:]), hint=hint)
        progress = image_script.progress(line)
        if progress is None:
            return
        share = 100 * progress.bytes // self._size if self._size else SHARE * int(progress.seconds)
        if share >= self._next:
            self._next = share - share % SHARE + SHARE
            self._tell(progress.text(self._size))
