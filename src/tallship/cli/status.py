"""`tallship status`."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tallship.cli.options import DEFAULT, Options
from tallship.report.answer import current

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tallship.env import Env
    from tallship.ops.status import Status

WATCH_SECONDS = 5
"""Between two screens of `--watch`."""
WATCH_TICKS = 20
"""How often Ctrl-C is heeded between two screens."""


def status(*, watch: Annotated[bool, Parameter(negative="")] = False, options: Options = DEFAULT) -> int:
    """Show nodes, etcd, control plane, versions, firewall and cost; exit code 1 when something is wrong.

    Parameters
    ----------
    watch
        look again every few seconds until Ctrl-C
    """
    from tallship.cli.session import open_env
    from tallship.ops.status import look

    env = open_env(options)
    if watch:
        _watch(env, options)
        return 0
    found = look(env)
    answer = current()
    answer.data.update(found.as_data())
    for part in screen(found):
        answer.say(part)
    return 1 if found.problems else 0


def _watch(env: Env, options: Options) -> None:
    """Look again and again until Ctrl-C, which a library may swallow: so it sets a flag."""
    from tallship.cli.session import stop_at_next_wait
    from tallship.ops.status import look

    with suppress(KeyboardInterrupt), stop_at_next_wait(env.stop):
        while not env.stop.is_set():
            found = look(env)
            current().data.update(found.as_data())
            _show(found, options)
            for _ in range(WATCH_TICKS):
                if not env.stop.is_set():
                    env.clock.sleep(WATCH_SECONDS / WATCH_TICKS)


def screen(found: Status) -> list[RenderableType]:
    """Return one screen of text."""
    from tallship.report.tables import facts_table, nodes_table, openings_table

    facts = [("phase", found.phase)]
    if found.endpoint:
        facts.append(("endpoint", found.endpoint))
    if found.etcd:
        facts.append(
            ("etcd", f"{found.etcd['members']} members, {'healthy' if found.etcd['healthy'] else 'not healthy'}")
        )
    if found.firewall:
        facts.append(("firewall", found.firewall.summary))
    if found.cost:
        facts.append(("cost", f"{found.cost.monthly_net:.2f} {found.cost.currency} per month, net"))
    parts: list[RenderableType] = [facts_table(facts)]
    if found.nodes:
        parts.append(nodes_table(found.nodes))
    if found.firewall and found.firewall.openings:
        parts.append(openings_table(found.firewall.openings))
    for problem in found.problems:
        hint = f"\n  hint: {problem.hint}" if problem.hint else ""
        parts += [f"problem: {problem.what}{hint}"]
    return parts


def _show(found: Status, options: Options) -> None:
    from rich.console import Console

    from tallship.report.answer import Answer, envelope, print_json

    if not options.text:
        print_json(sys.stdout, envelope("status", Answer(found.as_data()), 1 if found.problems else 0, None))
        sys.stdout.flush()
        return
    console = Console()
    console.clear()
    for part in screen(found):
        console.print(part, markup=False, highlight=False)
