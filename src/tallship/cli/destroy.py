"""`tallship destroy`."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from tallship.cli.options import DEFAULT, Options
from tallship.errors import SetupError
from tallship.report.answer import current


def destroy(*, by_label: Annotated[bool, Parameter(negative="")] = False, options: Options = DEFAULT) -> None:
    """Delete the cluster and everything of it at Hetzner but snapshots; run it again to resume.

    Parameters
    ----------
    by_label
        the management cluster is gone for good: delete what carries the cluster's labels, without Cluster API
    """
    from tallship.cli.session import make, one_at_a_time, open_env
    from tallship.flows import destroy as flow
    from tallship.ops.destroy import leftovers
    from tallship.report.tables import steps_table

    env = open_env(options)
    with one_at_a_time(env.folder):
        going = [f"{each.noun} {each.name}" for each in leftovers(env)]
        answer = current()
        answer.data["deleted"] = going
        if going:
            _ask(env.spec.name, going, options)
        outcomes = make(flow(by_label), env, options)
    answer.data["changed"] = any(outcome.acted for outcome in outcomes)
    if not answer.data["changed"]:
        answer.say(f"there is nothing of cluster `{env.spec.name}`")
        return
    answer.say(steps_table(outcomes))
    answer.say(f"nothing of cluster `{env.spec.name}` is left at Hetzner but its snapshots")


def _ask(name: str, going: list[str], options: Options) -> None:
    """Return when the person agrees. Raises SetupError when nobody does."""
    if options.yes:
        return
    if not (sys.stdin.isatty() and options.text):
        raise SetupError(
            f"this deletes cluster `{name}` and its data: {', '.join(going)}",
            hint="`--yes` agrees where nobody can be asked",
        )
    sys.stderr.write("This deletes, with all data on it:\n" + "".join(f"  {each}\n" for each in going))
    sys.stderr.write(f"Type `{name}` to agree: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != name:
        raise SetupError("nothing was deleted", hint=f"type `{name}` to agree, or give `--yes`")
