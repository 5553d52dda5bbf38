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

WATCH_SECONDS = 10.0
"""Between two screens of `--watch`."""
HETZNER_SECONDS = 60.0
"""Between two looks at Hetzner, whose calls are counted by the hour: what it said stays on the screen meanwhile."""


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
    from tallship.ops.status import watch

    with suppress(KeyboardInterrupt), stop_at_next_wait(env.stop):
        for found, told in watch(env, WATCH_SECONDS, HETZNER_SECONDS):
            current().data.update(found.as_data())
            _show(found, told, options)


def screen(found: Status) -> list[RenderableType]:
    """Return one screen of text."""
    from tallship.report.tables import addons_table, facts_table, nodes_table, openings_table

    parts: list[RenderableType] = [facts_table(_facts(found))]
    if found.nodes:
        parts += ["", nodes_table(found.nodes)]
    if found.addons:
        parts += ["", addons_table(found.addons)]
    if found.firewall and found.firewall.openings:
        parts += ["", openings_table(found.firewall.openings)]
    if found.problems or found.unseen:
        parts.append("")
    for word, listed in (("problem", found.problems), ("could not be seen", found.unseen)):
        for each in listed:
            hint = f"\n  hint: {each.hint}" if each.hint else ""
            parts.append(f"{word}: {each.what}{hint}")
    return parts


def _facts(found: Status) -> list[tuple[str, str]]:
    from tallship.report.tables import age

    facts = [("phase", found.phase), ("endpoint", found.endpoint), ("managed by", found.managed_by)]
    facts += [(name, _version(found, name)) for name in ("kubernetes", "talos")]
    if found.control_plane:
        facts.append(("control plane", f"{found.control_plane['ready']} of {found.control_plane['replicas']} ready"))
    if found.etcd:
        health = "healthy" if found.etcd["healthy"] else "not healthy"
        leader = f", led by {found.etcd['leader']}" if found.etcd["leader"] else ""
        facts.append(("etcd", f"{found.etcd['members']} members, {health}{leader}"))
    if found.firewall:
        facts.append(("firewall", found.firewall.summary))
    if found.certificates:
        first = min(found.certificates, key=lambda each: each.days)
        facts.append(("certificates", f"{first.what} is the first to end, in {first.days} days"))
    if found.nodes:
        newest = found.backup
        facts.append(("backup", f"{age(newest.age_seconds)} old, in {newest.where}" if newest else "none"))
    if found.cost:
        facts.append(("cost", f"{found.cost.monthly_net:.2f} {found.cost.currency} per month, net"))
    return [(name, value) for name, value in facts if value]


def _version(found: Status, name: str) -> str:
    """Return the version that the file wants, and what is seen where that is another one."""
    wanted, seen = found.versions.get(f"{name}_wanted", ""), found.versions.get(f"{name}_seen") or []
    others = [each for each in seen if each != wanted]
    return f"{wanted}; on nodes: {', '.join(seen)}" if others else wanted


def _show(found: Status, told: str, options: Options) -> None:
    from tallship.report.answer import Answer, envelope, print_json
    from tallship.report.console import for_data, for_people

    if not options.text:
        print_json(sys.stdout, envelope("status", Answer(found.as_data()), 1 if found.problems else 0, None))
        sys.stdout.flush()
        return
    console = for_data()
    console.clear()
    for part in screen(found):
        console.print(part)
    for_people().print(told, style="dim", soft_wrap=True)
