"""Tables for people. Each takes what `ops` found; none looks anything up."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from tallship.engine import Outcome, State
from tallship.manifests.changes import Effect

if TYPE_CHECKING:
    from tallship.manifests.changes import Change
    from tallship.manifests.firewall_exposure import Opening
    from tallship.ops.backup_places import Stored
    from tallship.ops.backup_places import Verdict as BackupVerdict
    from tallship.ops.bill import Bill
    from tallship.ops.cost import Cost
    from tallship.ops.firewall_reach import Door
    from tallship.ops.image_stock import Snapshot, Verdict
    from tallship.ops.node_list import Node
    from tallship.ops.status_parts import Addon
    from tallship.ops.tools import Tool

STATE_STYLES = {
    State.READY: "green",
    State.MISSING: "yellow",
    State.WORKING: "cyan",
    State.BLOCKED: "dim",
    State.BROKEN: "red",
}


def steps_table(outcomes: Sequence[Outcome]) -> Table:
    """Return the time of each step; steps that had nothing to do are left out."""
    table = new_table("step", "seconds", "what was done")
    table.columns[1].justify = "right"
    for outcome in outcomes:
        if outcome.acted or outcome.seconds >= 1:
            table.add_row(outcome.name, f"{outcome.seconds:.0f}", "; ".join(outcome.acted) or outcome.detail)
    return table


def plan_table(outcomes: Sequence[Outcome]) -> Table:
    """Return each step's state and what it would do."""
    table = new_table("step", "state", "would do")
    for outcome in outcomes:
        state = Text(outcome.state.value, style=STATE_STYLES[outcome.state])
        table.add_row(outcome.name, state, "\n".join(filter(None, (outcome.change, outcome.detail))))
    return table


def cost_table(cost: Cost) -> Table:
    """Return the monthly bill, net."""
    table = new_table("per month, net", "", "each", cost.currency)
    for column in table.columns[1:]:
        column.justify = "right"
    for item in cost.items:
        table.add_row(item.what, f"{item.count} x", _money(item.each_monthly_net), _money(item.monthly_net))
    table.add_section()
    table.add_row("all", "", "", f"{cost.monthly_net:.2f}")
    return table


EFFECT_STYLES = {
    Effect.NONE: "dim",
    Effect.IN_PLACE: "green",
    Effect.REPLACE: "yellow",
    Effect.REFUSED: "red",
}


def changes_table(changes: Sequence[Change]) -> Table:
    """Return what becomes of a cluster that stands."""
    table = new_table("of the cluster", "change", "")
    for each in changes:
        table.add_row(each.what, Text(each.effect.value, style=EFFECT_STYLES[each.effect]), "\n".join(each.details))
    return table


def bill_table(bill: Bill) -> Table:
    """Return things that cost money, and what they cost."""
    table = new_table("what", "name", f"{bill.currency} per month, net")
    table.columns[2].justify = "right"
    for line in bill.lines:
        table.add_row(line.noun, line.name, _money(line.monthly_net))
    table.add_section()
    table.add_row("all", "", f"{bill.monthly_net:.2f}")
    return table


def _money(amount: Decimal) -> str:
    return f"{amount:.2f}" if amount else "free"


def nodes_table(nodes: Sequence[Node]) -> Table:
    """Return the cluster's nodes."""
    table = new_table("node", "role", "ready", "kubernetes", "talos", "type", "in", "addresses", "etcd", "age")
    for node in nodes:
        ready = Text("Ready", style="green") if node.ready else Text("NotReady", style="red")
        since = "" if node.age_seconds is None else age(node.age_seconds)
        table.add_row(
            node.name,
            node.role,
            ready,
            node.kubernetes,
            node.talos,
            node.server_type,
            node.location,
            " ".join(node.addresses),
            node.etcd,
            since,
        )
    return table


def addons_table(addons: Sequence[Addon]) -> Table:
    """Return the add-ons."""
    table = new_table("add-on", "version", "state")
    for each in addons:
        state = Text(each.problem, style="red") if each.problem else Text(each.state, style="green")
        table.add_row(each.name, each.installed or "none", state)
    return table


def openings_table(openings: Sequence[Opening]) -> Table:
    """Return who can reach what."""
    table = new_table("open at", "what", "to whom", "why")
    for each in openings:
        table.add_row(each.where, each.what, each.who, each.why)
    return table


def doors_table(doors: Sequence[Door]) -> Table:
    """Return what was found from this machine."""
    table = new_table("from here", "address", "port", "answers", "")
    for each in doors:
        answers = "yes" if each.answers else "no"
        table.add_row(each.where, each.address, str(each.port), answers, Text(each.problem, style="yellow"))
    return table


def tools_table(tools: Sequence[Tool]) -> Table:
    """Return the programs, and for those that are not right how to get them."""
    table = new_table("program", "version", "where", "")
    for tool in tools:
        state = Text("ok", style="green") if tool.is_good else Text(f"{tool.problem}: {tool.how_to_get}", style="red")
        table.add_row(tool.name, tool.version, tool.path, state)
    return table


def images_table(snapshots: Sequence[Snapshot]) -> Table:
    """Return the snapshots of Talos."""
    table = new_table("snapshot", "name", "talos", "for", "schematic", "GB", "age", "state", "used by")
    table.columns[5].justify = "right"
    for each in snapshots:
        size, since, users = f"{each.size_gb:.1f}", age(each.age_seconds), " ".join(each.clusters)
        state = Text(each.state, style="green" if each.state == "ready" else "yellow")
        table.add_row(
            str(each.id),
            each.name,
            each.talos,
            each.architecture,
            each.schematic,
            size,
            since,
            state,
            users or "nobody",
        )
    return table


def backups_table(backups: Sequence[Stored]) -> Table:
    """Return the backups."""
    table = new_table("backup", "made", "age", "MB", "holds", "revision of etcd", "readable by", "in")
    table.columns[3].justify = table.columns[5].justify = "right"
    for each in backups:
        readers = Text("its recipients", style="green") if each.encrypted else Text("whoever has it", style="yellow")
        revision = "" if each.revision is None else str(each.revision)
        made, size = f"{each.made:%Y-%m-%d %H:%M} UTC", f"{each.size_bytes / 1e6:.1f}"
        table.add_row(each.name, made, age(each.age_seconds), size, each.contents, revision, readers, each.where)
    return table


def verdicts_table(verdicts: Sequence[Verdict | BackupVerdict]) -> Table:
    """Return what stays and what goes, and why."""
    table = new_table("", "what", "why")
    for each in verdicts:
        word = Text("goes", style="red") if each.delete else Text("stays", style="green")
        table.add_row(word, each.what, each.why)
    return table


def age(seconds: float) -> str:
    """Return a length of time in its largest whole unit, such as `3 h`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def facts_table(facts: Sequence[tuple[str, str]]) -> Table:
    """Return pairs of a name and what is known of it."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts:
        table.add_row(Text(name, style="bold"), value)
    return table


def new_table(*columns: str) -> Table:
    """Return an empty table of the house's look."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column)
    return table
