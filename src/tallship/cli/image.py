"""`tallship image …`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tallship.cli.options import DEFAULT, Options
from tallship.errors import SetupError
from tallship.report.answer import current
from tallship.report.visible import visible_line
from tallship.spec.values import Architecture

if TYPE_CHECKING:
    from tallship.engine import Flow
    from tallship.env import Env
    from tallship.ops.image_stock import Verdict

Flag = Annotated[bool, Parameter(negative="")]
Changes = Annotated[tuple[str, ...], Parameter(name="--set")]


def build(
    *,
    architecture: tuple[Architecture, ...] = (),
    rebuild: Flag = False,
    changes: Changes = (),
    options: Options = DEFAULT,
) -> None:
    """Build the Talos snapshot that the servers boot from, or find it; several architectures side by side.

    Parameters
    ----------
    architecture
        amd64 or arm64, or both; those of the cluster's servers unless given
    rebuild
        put a new snapshot in the place of the one that is there
    changes
        set a value of the file for this run only, as KEY=VALUE: talos.version=v1.12.2
    """
    from tallship.cli.session import make, one_at_a_time, open_env
    from tallship.ops.image_stock import snapshots

    env = open_env(options, changes=changes)
    with one_at_a_time(env.folder):
        flow, names = _flow(env, tuple(dict.fromkeys(architecture)), rebuild)
        outcomes = make(flow, env, options, alone=False)
        built = [each for each in snapshots(env) if each.name in names and each.state == "ready"]
    answer = current()
    answer.data["changed"] = any(outcome.acted for outcome in outcomes)
    answer.data["images"] = [each.as_data() for each in built]
    for each in built:
        answer.say(f"snapshot {each.id} is {each.name}, {each.size_gb:.1f} GB")
    if not answer.data["changed"]:
        answer.say("nothing had to be done")
    answer.next_commands = [f"tallship image list{options.suffix()}", f"tallship up{options.suffix()}"]


def list_(*, options: Options = DEFAULT) -> None:
    """Show every Talos snapshot: version, architecture, schematic, size, age, and which clusters use it."""
    from tallship.cli.session import open_env
    from tallship.ops.image_builder import left_behind
    from tallship.ops.image_stock import snapshots
    from tallship.report.tables import images_table

    env = open_env(options)
    found, left = snapshots(env), left_behind(env)
    answer = current()
    answer.data.update(images=[each.as_data() for each in found], left_behind=[each.name for each in left])
    answer.say(images_table(found) if found else "there is no Talos snapshot")
    for each in left:
        answer.say(f"a build left behind: {each.name}")
    if left:
        answer.next_commands = [f"tallship image prune{options.suffix()}"]


def prune(*, keep: int = 1, dry_run: Flag = False, options: Options = DEFAULT) -> None:
    """Delete snapshots that no cluster uses, and what killed builds left behind.

    Parameters
    ----------
    keep
        how many unused snapshots of each architecture stay
    dry_run
        show what would be deleted, and delete nothing
    """
    from tallship.cli.session import one_at_a_time, open_env
    from tallship.ops import image_stock
    from tallship.report.tables import verdicts_table

    if keep < 0:
        raise SetupError("fewer than no snapshots cannot be kept", hint="`--keep 0` keeps none that is unused")
    env = open_env(options)
    with one_at_a_time(env.folder):
        found = image_stock.verdicts(env, keep)
        doomed = [each for each in found if each.delete]
        answer = current()
        answer.data.update(verdicts=[each.as_data() for each in found], deleted=[])
        if found:
            answer.say(verdicts_table(found))
        if not doomed or dry_run:
            answer.say("nothing was deleted" if doomed else "there is nothing to delete")
            return
        _ask(env, doomed)
        answer.data["deleted"] = image_stock.prune(doomed)
    answer.say(f"{len(doomed)} deleted")


def _flow(env: Env, architectures: tuple[Architecture, ...], rebuild: bool) -> tuple[Flow[Env], set[str]]:
    """Return the steps to make, and the names of the images that they make."""
    from tallship.engine import Lanes
    from tallship.manifests import image
    from tallship.ops.image import STEPS, ImageExists

    if not architectures and len(env.spec.architectures) > 1:
        architectures = env.spec.architectures
    specs = [image.for_architecture(env.spec, each) for each in architectures] or [env.spec]
    old: frozenset[int] = frozenset()
    if rebuild:
        old = frozenset(each.id for spec in specs for each in env.hetzner.list_images(image.selector(spec)))
    steps = [STEPS[each](old) for each in architectures] or [ImageExists(old)]
    return (Lanes(tuple((step,) for step in steps)),), {image.name(spec) for spec in specs}


def _ask(env: Env, doomed: list[Verdict]) -> None:
    """Ask a person who sits there. Raises SetupError when nobody agrees."""
    if not env.agreed and sys.stdin.isatty() and sys.stderr.isatty():
        sys.stderr.write("".join(f"{visible_line(f'{each.what}: {each.why}')}\n" for each in doomed))
        sys.stderr.write("delete these? [y/N] ")
        env.agreed = sys.stdin.readline().strip().lower() in ("y", "yes")
    if not env.agreed:
        raise SetupError(f"nothing was deleted: {len(doomed)} would go", hint="agree with `--yes`")
