"""`tallship upgrade`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tallship.cli.options import DEFAULT, Options
from tallship.errors import SetupError
from tallship.report.answer import current

if TYPE_CHECKING:
    from tallship.engine import Flow, Outcome
    from tallship.env import Env
    from tallship.spec.edit import Changes


def upgrade(
    *,
    kubernetes: str = "",
    talos: str = "",
    in_place: Annotated[bool, Parameter(negative="")] = False,
    no_backup: Annotated[bool, Parameter(negative="")] = False,
    options: Options = DEFAULT,
) -> None:
    """Take the cluster to other versions, server by server; run it again to go on.

    The versions are written into the cluster file, and the servers are replaced one by one, once for both.

    Parameters
    ----------
    kubernetes
        the Kubernetes version, such as v1.33.4
    talos
        the Talos version, such as v1.12.3
    in_place
        upgrade Talos on the servers that there are, one after another, instead of replacing them
    no_backup
        save nothing before
    """
    from tallship.cli.session import open_env

    changes = {"kubernetes.version": kubernetes, "talos.version": talos}
    given = [f"{key}={value}" for key, value in changes.items() if value]
    if not given:
        raise SetupError("no version was given", hint="`--kubernetes V`, `--talos V`, or both")
    if in_place and (kubernetes or not talos):
        hint = "Kubernetes is upgraded by new servers: two commands, or one without `--in-place`"
        raise SetupError("`--in-place` is for Talos alone", hint=hint)
    env = open_env(options, replace=not in_place, changes=given)
    written: dict[tuple[str | int, ...], str | int | bool] = {}
    if kubernetes:
        written["kubernetes", "version"] = env.spec.kubernetes.version
    if talos:
        written["talos", "version"] = env.spec.talos.version
    tell(env, _make(env, written, in_place, not no_backup, options), options)


def _make(env: Env, written: Changes, in_place: bool, backup: bool, options: Options) -> list[Outcome]:
    from tallship.cli.consent import ask
    from tallship.cli.session import make, one_at_a_time
    from tallship.flows import change, upgrade_in_place
    from tallship.ops.backup import BackupSaved
    from tallship.ops.upgrade import FileSays, consequence, consequence_in_place
    from tallship.spec.load import read_text

    saved: Flow[Env] = ()
    with one_at_a_time(env.folder):
        done = consequence_in_place(env) if in_place else consequence(env)
        current().data["consequence"] = done.lines()
        if not done.is_nothing:
            ask("this reboots servers" if in_place else "this replaces servers", done.lines(), options)
            saved = (BackupSaved(read_text(options.file)),) if backup else ()
        file = FileSays(options.file, written)
        flow = upgrade_in_place(file, saved=saved) if in_place else change(file, saved=saved)
        return make(flow, env, options)


def tell(env: Env, outcomes: list[Outcome], options: Options) -> None:
    """Say what was done, and what there is now."""
    from tallship.ops.node_list import list_nodes
    from tallship.report.tables import nodes_table, steps_table

    answer = current()
    nodes = list_nodes(env)
    answer.data["changed"] = any(outcome.acted for outcome in outcomes)
    answer.data["nodes"] = [node.as_data() for node in nodes]
    answer.say(nodes_table(nodes))
    answer.say(steps_table(outcomes) if answer.data["changed"] else "nothing had to be done")
    answer.next_commands = [f"tallship status{options.suffix()}"]
