"""The Talos snapshot that every server boots from, built without Packer when it is not there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.manifests import image
from tallship.ops.image_build import SNAPSHOT_TIMEOUT, build, give_name
from tallship.ops.image_builder import age, candidates, clean_up, left_behind, others_builder
from tallship.spec import Spec
from tallship.spec.values import Architecture

NAME_IT, CLEAN_UP = "give the snapshot of a killed build its name", "delete what a killed build left behind"


@dataclass(frozen=True)
class ImageExists(Step[Env]):
    """There is one snapshot of this Talos version, the control plane's architecture, and schematic."""

    name = "image"
    title = "Build the Talos image"
    timeout = 1800
    interval = 10
    architecture: ClassVar[Architecture | None] = None
    """None: that of the control plane."""

    replaces: frozenset[int] = frozenset()
    """Ids of snapshots that do not count, and make place for the new one."""

    def probe(self, env: Env) -> Seen:
        """Look for the snapshot by the label that CAPH looks for."""
        spec = self.wanted(env)
        if spec is None:
            return Seen(State.READY, "all servers have one architecture")
        name = image.name(spec)
        found = env.hetzner.list_images(image.selector(spec), image.hetzner_architecture(spec))
        found = [each for each in found if each.id not in self.replaces]
        if not found:
            return self._look_at_build(env, spec)
        if len(found) > 1:
            numbers = ", ".join(str(each.id) for each in found)
            hint = "CAPH refuses to choose: `tallship image build --rebuild` puts one new in their place"
            return Seen(State.BROKEN, f"{len(found)} images are named {name}: {numbers}", hint=hint)
        if found[0].status != "available":
            return Seen(State.WORKING, f"snapshot {name} is {found[0].status}")
        if wrong := image.differences(spec, found[0].labels):
            hint = "set another `image.name`, or `tallship image build --rebuild` puts the right one in its place"
            return Seen(State.BROKEN, f"snapshot {name} is of {'; '.join(wrong)}", hint=hint)
        if left_behind(env, spec):
            return Seen(State.MISSING, change=CLEAN_UP)
        return Seen(State.READY, name)

    def act(self, env: Env, seen: Seen) -> None:
        """Build the snapshot, or end what a killed build has begun."""
        spec = self.wanted(env)
        if spec is None:
            return
        if seen.change in (CLEAN_UP, NAME_IT):
            clean_up(env, spec)
        if seen.change == NAME_IT:
            give_name(env, spec, self.replaces)
        elif seen.change != CLEAN_UP:
            build(env, spec, self.replaces, partial(env.tell, self))

    def wanted(self, env: Env) -> Spec | None:
        """Return the spec with the image that should be there; None where none should."""
        return image.for_architecture(env.spec, self.architecture)

    def _look_at_build(self, env: Env, spec: Spec) -> Seen:
        """Look at what is under way, here or elsewhere."""
        begun = env.hetzner.list_images(candidates(spec))
        if any(each.status == "available" for each in begun):
            return Seen(State.MISSING, change=NAME_IT)
        if any(age(env, each.created) < SNAPSHOT_TIMEOUT for each in begun):
            return Seen(State.WORKING, f"snapshot {image.name(spec)} is being made")
        if (other := others_builder(env, spec)) is not None:
            hint = "`tallship image prune` deletes a builder that nobody uses any more"
            return Seen(State.WORKING, f"another run builds it on server {other.name}", hint=hint)
        return Seen(State.MISSING, change=f"build snapshot {image.name(spec)}")


class WorkersImageExists(ImageExists):
    """There is a snapshot for the workers whose architecture is not the control plane's, if there are any."""

    name = "image-workers"
    title = "Build the workers' Talos image"

    def wanted(self, env: Env) -> Spec | None:
        """Return the spec with the second architecture's image."""
        others = image.specs(env.spec)[1:]
        return others[0] if others else None


class Amd64ImageExists(ImageExists):
    """There is one snapshot for amd64, whatever the cluster's servers are."""

    name = "image-amd64"
    title = "Build the Talos image for amd64"
    architecture = "amd64"


class Arm64ImageExists(ImageExists):
    """There is one snapshot for arm64, whatever the cluster's servers are."""

    name = "image-arm64"
    title = "Build the Talos image for arm64"
    architecture = "arm64"


STEPS: dict[Architecture, type[ImageExists]] = {"amd64": Amd64ImageExists, "arm64": Arm64ImageExists}
