"""`tallship plan`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from tallship.cli.options import DEFAULT, Options
from tallship.report.answer import current


def plan(*, changes: Annotated[tuple[str, ...], Parameter(name="--set")] = (), options: Options = DEFAULT) -> None:
    """Show each step's state, what would be bought and its price per month; changes nothing.

    Parameters
    ----------
    changes
        set a value of the file for this run only, as KEY=VALUE
    """
    from tallship.cli.session import open_env
    from tallship.engine import State, look
    from tallship.flows import UP
    from tallship.manifests.changes import Effect
    from tallship.ops.changes import changes as differences
    from tallship.ops.cost import monthly
    from tallship.ops.firewall_view import planned
    from tallship.report.tables import changes_table, cost_table, openings_table, plan_table

    env = open_env(options, changes=changes)
    outcomes = look(UP, env, env.clock)
    preflight = outcomes[0].error
    if preflight is not None:
        raise preflight
    cost = monthly(env)
    answer = current()
    answer.data["steps"] = [
        {
            "name": each.name,
            "state": each.state.value,
            "detail": each.detail,
            "would_act": each.change,
            "acted": [],
            "seconds": round(each.seconds, 1),
        }
        for each in outcomes
    ]
    found = differences(env, outcomes)
    answer.data["changes"] = [each.as_data() for each in found]
    openings = planned(env)
    answer.data["cost"] = cost.as_data()
    answer.data["openings"] = [each.as_data() for each in openings]
    answer.say(plan_table(outcomes))
    if any(each.effect is not Effect.NONE for each in found):
        answer.say(changes_table(found))
    answer.say(openings_table(openings))
    answer.say(cost_table(cost))
    if any(each.state is not State.READY for each in outcomes):
        answer.next_commands = [f"tallship up{options.suffix()}"]
    else:
        answer.say("nothing would be done")
