"""`tallship pivot` and `tallship clean`: Cluster API goes into the cluster itself, then its bootstrap cluster goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallship.cli.options import DEFAULT, Options
from tallship.report.answer import current

if TYPE_CHECKING:
    from tallship.engine import Flow, Outcome
    from tallship.env import Env


def pivot(*, options: Options = DEFAULT) -> None:
    """Move Cluster API into the cluster itself; run it again to go on with a move that was interrupted.

    What is moved is saved before, in a private folder of this machine: it holds every secret of the cluster in clear.
    """
    from tallship.flows import PIVOT
    from tallship.ops.exports import newest

    env, outcomes = _run(PIVOT, options)
    answer = current()
    export = newest(env)
    if export is not None:
        answer.data["export"] = str(export.folder)
    if any(outcome.acted for outcome in outcomes):
        answer.say("the cluster manages itself; the bootstrap cluster is not needed any more")
        if export is not None:
            answer.say(f"export  {export.folder}\n        every secret of the cluster is in it, in clear: guard it")
        answer.next_commands = [f"tallship status{options.suffix()}", f"tallship clean{options.suffix()}"]
    else:
        answer.say("the cluster manages itself already: nothing had to be done")


def clean(*, options: Options = DEFAULT) -> None:
    """Delete the bootstrap cluster, once the cluster manages itself; refuses while it still owns a cluster."""
    from tallship.flows import CLEAN

    _, (outcome,) = _run(CLEAN, options)
    current().say(outcome.acted[0].replace("delete", "deleted", 1) if outcome.acted else outcome.detail)


def _run(flow: Flow[Env], options: Options) -> tuple[Env, list[Outcome]]:
    from tallship.cli.session import make, one_at_a_time, open_env
    from tallship.report.tables import steps_table

    env = open_env(options)
    with one_at_a_time(env.folder):
        outcomes = make(flow, env, options)
    answer = current()
    answer.data["changed"] = any(outcome.acted for outcome in outcomes)
    if answer.data["changed"] and len(outcomes) > 1:
        answer.say(steps_table(outcomes))
    return env, outcomes
