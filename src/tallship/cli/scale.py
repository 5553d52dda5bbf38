"""`tallship scale`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallship.cli.options import DEFAULT, Options
from tallship.errors import SetupError
from tallship.report.answer import current

if TYPE_CHECKING:
    from tallship.env import Env


def scale(*words: str, options: Options = DEFAULT) -> None:
    """Change the number of control planes, one at a time: `tallship scale 5`; or of a pool: `tallship scale POOL 4`.

    The number is written into the cluster file. Servers that go are deleted with everything on their disks.

    Parameters
    ----------
    words
        a number, or the name of a pool and a number
    """
    from tallship.cli.consent import ask
    from tallship.cli.session import make, one_at_a_time, open_env
    from tallship.cli.upgrade import tell
    from tallship.flows import change
    from tallship.ops.scale import counted
    from tallship.ops.upgrade import FileSays, consequence

    pool, number = _wanted(words)
    keys = _keys(options, pool)
    env = open_env(options, changes=[f"{'.'.join(map(str, keys))}={number}"])
    with one_at_a_time(env.folder):
        done = consequence(env)
        fewer = _fewer(env, pool, number)
        if done.after < done.before or done.reasons or fewer:
            ask("this deletes servers", [*done.lines(), *fewer], options)
        file = FileSays(options.file, {keys: number})
        first = () if pool else counted(env)
        outcomes = make(change(file, first, makes_servers=done.after > done.before), env, options)
    tell(env, outcomes, options)


def _wanted(words: tuple[str, ...]) -> tuple[str, int]:
    """Return the pool, or nothing for the control planes, and the number. Raises SetupError for words that say none."""
    if not 1 <= len(words) <= 2 or not words[-1].isdigit():
        hint = "`tallship scale 5` is about the control planes, `tallship scale POOL 4` about a pool"
        raise SetupError("how many?", hint=hint)
    pool = words[0] if len(words) == 2 else ""
    current().data.update(pool=pool or None, replicas=int(words[-1]))
    return pool, int(words[-1])


def _keys(options: Options, pool: str) -> tuple[str | int, ...]:
    """Return where the number stands in the cluster file. Raises SpecError; SetupError for a pool that it has not."""
    from tallship.spec import load_spec

    if not pool:
        return ("control_plane", "replicas")
    names = [each.name for each in load_spec(options.file).workers]
    if pool not in names:
        named = f"it names {', '.join(names)}" if names else "it names none: add one to `workers`"
        raise SetupError(f"the cluster file names no pool `{pool}`", hint=named)
    return ("workers", names.index(pool), "replicas")


def _fewer(env: Env, pool: str, number: int) -> list[str]:
    """Return what becomes of a pool that gets smaller."""
    from tallship.manifests import worker_rollout
    from tallship.ops.workers import look

    live = [each for each in look(env).live.values() if worker_rollout.pool_of(each) == pool] if pool else []
    have = sum(int(each["spec"].get("replicas", 1)) for each in live)
    return [f"pool {pool}: {have} servers become {number}; their nodes are drained first"] if number < have else []
