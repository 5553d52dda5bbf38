"""`tallship up`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tallship.cli.options import DEFAULT, Options
from tallship.report.answer import current

if TYPE_CHECKING:
    from tallship.engine import Outcome
    from tallship.env import Env


def up(
    *,
    only: str = "",
    first: Annotated[str, Parameter(name="--from")] = "",
    until: str = "",
    changes: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    replace: Annotated[bool, Parameter(negative="")] = False,
    options: Options = DEFAULT,
) -> None:
    """Make the cluster so; run it again to resume, it changes nothing when nothing is missing.

    Parameters
    ----------
    only
        run this step alone
    first
        begin with this step
    until
        end with this step
    changes
        set a value of the file for this run only, as KEY=VALUE: talos.version=v1.12.2
    replace
        agree that a changed document replaces every server, one by one
    """
    from tallship.cli.firewall import ask_lockout
    from tallship.cli.session import make, one_at_a_time, open_env
    from tallship.engine import select, steps
    from tallship.flows import UP

    flow = select(UP, only, first, until)
    env = open_env(options, replace, changes)
    with one_at_a_time(env.folder):
        if any(step.name == "firewall" for step in steps(flow)):
            ask_lockout(env)
        outcomes = make(flow, env, options)
    _tell(env, outcomes, not (only or first or until), options)


def _tell(env: Env, outcomes: list[Outcome], whole: bool, options: Options) -> None:
    """Say what was done and, after the whole flow, what there is now."""
    from tallship.report.tables import nodes_table, steps_table

    answer = current()
    changed = any(outcome.acted for outcome in outcomes)
    answer.data["changed"] = changed
    if whole:
        from tallship.ops.node_list import list_nodes

        nodes = list_nodes(env)
        answer.data["nodes"] = [node.as_data() for node in nodes]
        answer.say(nodes_table(nodes))
    if changed:
        answer.say(steps_table(outcomes))
    else:
        answer.say("nothing had to be done")
    if whole:
        answer.data.update(kubeconfig=str(env.kubeconfig), talosconfig=str(env.talosconfig))
        answer.say(f"kubeconfig   {env.kubeconfig}\ntalosconfig  {env.talosconfig}")
        path = f'"$(tallship kubeconfig --path{options.suffix()})"'
        answer.next_commands = [f"tallship status{options.suffix()}", f"kubectl --kubeconfig {path} get nodes"]
