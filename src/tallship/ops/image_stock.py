"""The snapshots that there are: who uses them, and which can go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from tallship.adapters.hetzner_resources import Image
from tallship.env import Env
from tallship.errors import ApiError, ManyErrors, TallshipError
from tallship.manifests import image
from tallship.ops import image_builder, image_uses

SELECTOR = "os=talos"
"""The guide lists its snapshots by this label; those that the tool makes have it too."""
REASONS = {
    "replaced": "another has come in its place",
    "creating": "its build ended before it was whole",
    "unnamed": "its build ended before it had its name",
}
KEEP = 1
"""How many unused snapshots of each architecture stay, so that there is a way back."""


@dataclass(frozen=True)
class Snapshot:
    """One snapshot of Talos."""

    id: int
    name: str
    talos: str
    architecture: str
    schematic: str
    """The first characters of its id; empty where nobody wrote it down."""
    size_gb: float
    age_seconds: float
    state: str
    """ready, creating, unnamed (a build has still to end), replaced, or ambiguous (CAPH refuses two of a name)."""
    clusters: tuple[str, ...]
    """Who uses it."""
    is_ours: bool
    """This tool made it."""

    def as_data(self) -> dict[str, object]:
        """Return it as the JSON envelope shows it."""
        return {**vars(self), "clusters": list(self.clusters), "age_seconds": round(self.age_seconds)}


@dataclass(frozen=True)
class Verdict:
    """What `prune` does with one thing, and why."""

    what: str
    why: str
    delete: Callable[[], None] | None = None
    """None: it stays."""

    def as_data(self) -> dict[str, object]:
        """Return it as the JSON envelope shows it."""
        return {"what": self.what, "why": self.why, "goes": self.delete is not None}


def snapshots(env: Env, uses: image_uses.Uses | None = None) -> list[Snapshot]:
    """Return every snapshot of Talos, newest first."""
    uses = uses or image_uses.find(env)
    found = env.hetzner.list_images(SELECTOR)
    named = Counter((each.labels.get(image.NAME_LABEL), each.architecture) for each in found)
    rows = [_snapshot(env, each, named[each.labels.get(image.NAME_LABEL), each.architecture], uses) for each in found]
    return sorted(rows, key=lambda each: (each.age_seconds, -each.id))


def verdicts(env: Env, keep: int = KEEP) -> list[Verdict]:
    """Return what `prune` would do: first what stays, then what goes. Nothing is changed."""
    uses = image_uses.find(env)
    halves = frozenset(image_builder.half_snapshots(env))
    unknown = image_uses.is_unknown(env, uses)
    left, found = Counter[str](), []
    for each in snapshots(env, uses):
        why = "" if each.id in halves else _why_it_stays(env, each, unknown)
        if not why and each.state == "ready":
            left[each.architecture] += 1
            why = f"one of the newest {keep}" if left[each.architecture] <= keep else ""
        reason = REASONS.get(each.state, "no cluster that can be asked uses it")
        deed = None if why else partial(env.hetzner.delete_image, each.id)
        found.append(Verdict(f"snapshot {each.id} {each.name}", why or reason, deed))
    for thing in image_builder.left_behind(env):
        noun = "server" if hasattr(thing, "server_type") else "SSH key"
        found.append(
            Verdict(f"{noun} {thing.name}", "a build left it behind", partial(image_builder.delete, env, thing))
        )
    return sorted(found, key=lambda each: each.delete is not None)


def prune(doomed: Iterable[Verdict]) -> list[str]:
    """Delete what a person has agreed to; returns what is gone. Everything is tried before errors are raised."""
    gone: list[str] = []
    errors: list[TallshipError] = []
    for each in doomed:
        if each.delete is None:
            continue
        try:
            each.delete()
            gone.append(each.what)
        except ApiError as error:
            errors.append(ApiError(f"{each.what} is still there: {error.message}", code=error.code, hint=error.hint))
    if errors:
        raise errors[0] if len(errors) == 1 else ManyErrors(errors)
    return gone


def _why_it_stays(env: Env, each: Snapshot, unknown: bool) -> str:
    """Return why a snapshot must stay whatever its age; nothing when it may go."""
    if each.state == "replaced":
        return ""
    if each.state in ("creating", "unnamed"):
        return "a build may still be at work" if each.age_seconds < image_builder.ABANDONED else ""
    if each.clusters:
        return f"{', '.join(each.clusters)} uses it"
    if each.name in image.names(env.spec):
        return "the cluster file names it"
    if not each.is_ours:
        return "tallship did not make it"
    return f"{env.spec.name} has servers and does not answer: what it needs is not known" if unknown else ""


def _snapshot(env: Env, each: Image, namesakes: int, uses: image_uses.Uses) -> Snapshot:
    labels = each.labels
    name = labels.get(image.NAME_LABEL, "")
    return Snapshot(
        id=each.id,
        name=name or labels.get(image.BUILT_FOR, ""),
        talos=labels.get("talos-version", ""),
        architecture=each.architecture,
        schematic=labels.get("schematic", "")[:8],
        size_gb=each.size_gb,
        age_seconds=image_builder.age(env, each.created),
        state=_state(each, bool(name) and namesakes > 1),
        clusters=uses.of(each.id, name),
        is_ours=labels.get("managed-by") == "tallship",
    )


def _state(each: Image, is_ambiguous: bool) -> str:
    role = each.labels.get(image.ROLE, "")
    if role == "image-replaced":
        return "replaced"
    if each.status != "available":
        return each.status
    if role == "image-candidate":
        return "unnamed"
    return "ambiguous" if is_ambiguous else "ready"
