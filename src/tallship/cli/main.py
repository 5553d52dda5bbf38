"""The entry point: finds the command, runs it, and is the one place where errors become text and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from cyclopts import App, CycloptsError

from tallship import __version__
from tallship.errors import BUG_EXIT_CODE, Interrupted, SetupError, TallshipError
from tallship.report.answer import CURRENT, Answer, envelope, print_error, print_json

COMMANDS = {
    "init": ("init:init", "Write tallship.yaml: the guide's cluster, commented."),
    "validate": ("validate:validate", "Show every mistake in the cluster file at once."),
    "plan": ("plan:plan", "Show each step's state, what would be bought and what it costs; changes nothing."),
    "up": ("up:up", "Make the cluster so; run it again to resume."),
    "status": ("status:status", "Show nodes, etcd, control plane, versions, firewall and cost."),
    "diagnose": ("diagnose:diagnose", "Say what is wrong, why, and what to do; mend what is safe."),
    "logs": ("diagnose:logs", "Show the end of a controller's log, wherever it runs."),
    "upgrade": ("upgrade:upgrade", "Take the cluster to other versions, server by server; run it again to go on."),
    "scale": ("scale:scale", "Change the number of control planes, one at a time."),
    "pivot": ("pivot:pivot", "Move Cluster API into the cluster itself; run it again to resume."),
    "clean": ("pivot:clean", "Delete the bootstrap cluster after a proven pivot."),
    "destroy": ("destroy:destroy", "Delete the cluster and everything of it at Hetzner but snapshots."),
    "kubeconfig": ("access:kubeconfig", "Print the cluster's kubeconfig, its path, or merge it into the usual file."),
    "talosconfig": (
        "access:talosconfig",
        "Print the cluster's talosconfig, its path, or merge it into the usual file.",
    ),
    "render": ("render:render", "Write the guide's own file tree, usable without this tool."),
    "tools": ("tools:tools", "Show the programs it calls: found, version, how to get them."),
}
LAB_COMMANDS = {
    "up": ("lab:up", "Start the lab of this cluster file."),
    "down": ("lab:down", "Stop the lab; its state is kept."),
    "status": ("lab:status", "Show what the lab serves, the writes it counted, and its faults."),
    "env": ("lab:env", "Print what a foreign program needs to use the lab."),
    "provider": ("lab_provider:provider", "Write what a provider's manager needs to run as a process beside the lab."),
    "fault": ("lab:fault", "Make something go wrong on purpose, or clear what was set."),
}
FIREWALL_COMMANDS = {
    "show": ("firewall:show", "Show the rules, where they are in force, and who can reach what."),
    "allow": ("firewall:allow", "Let a network, or this machine, reach the servers for a while."),
    "apply": ("firewall:apply", "Make the firewall what the cluster file says, and try what answers from here."),
}
IMAGE_COMMANDS = {
    "build": ("image:build", "Build the Talos snapshot that the servers boot from, or find it."),
    "list": ("image:list_", "Show every Talos snapshot, and which clusters use it."),
    "prune": ("image:prune", "Delete snapshots that no cluster uses, and what killed builds left behind."),
}
BACKUP_COMMANDS = {
    "save": ("backup:save", "Save etcd, Cluster API's objects, the secrets and the cluster file."),
    "list": ("backup:list_", "Show every backup, newest first."),
    "prune": ("backup:prune", "Delete backups that no rule keeps, never the newest."),
    "restore": ("backup_restore:restore", "Bring back a cluster whose etcd has lost its quorum."),
    "drill": ("backup_restore:drill", "Prove that a backup restores, beside the cluster."),
}
GROUPS = {
    "backup": ("What a lost cluster is made from again.", BACKUP_COMMANDS),
    "firewall": ("Who may reach the servers.", FIREWALL_COMMANDS),
    "image": ("The Talos snapshots that servers boot from.", IMAGE_COMMANDS),
    "lab": ("A Hetzner, Kubernetes and Talos on this machine, to rehearse every command.", LAB_COMMANDS),
}
"""Commands of two words."""


def build() -> App:
    """Return the command tree; the commands' modules are not imported yet."""
    app = App(
        name="tallship",
        help="Creates and runs Kubernetes clusters of Talos Linux on Hetzner Cloud through Cluster API.",
        version=__version__,
        result_action="return_value",
    )
    _add(app, COMMANDS)
    for group, (text, commands) in GROUPS.items():
        tree = App(name=group, help=text)
        _add(tree, commands)
        app.command(tree)
    return app


def _add(tree: App, commands: dict[str, tuple[str, str]]) -> None:
    for name, (place, text) in commands.items():
        tree.command(f"tallship.cli.{place}", name=name, help=text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    answer = Answer()
    CURRENT.set(answer)
    error: TallshipError | None = None
    code = 0
    try:
        command, bound = _parse(tokens)
        code = command(*bound.args, **bound.kwargs) or 0
    except TallshipError as known:
        error, code = known, known.exit_code
    except KeyboardInterrupt:
        error = Interrupted("stopped at once", hint="run the same command again: it goes on from here")
        code = error.exit_code
    except Exception as bug:
        error, code = _bug(bug, answer), BUG_EXIT_CODE
    _show(tokens, answer, code, error)
    return code


def _parse(tokens: list[str]) -> tuple[Any, Any]:
    try:
        command, bound, _ = build().parse_args(tokens, print_error=False, exit_on_error=False)
    except CycloptsError as mistake:
        hint = f"`tallship {' '.join(_words(tokens)[:1])} --help` shows what it takes".replace("  ", " ")
        raise SetupError(str(mistake).strip(), hint=hint) from mistake
    return command, bound


def _bug(bug: Exception, answer: Answer) -> TallshipError:
    """Write the traceback to a log and return one line about it."""
    import tempfile
    import traceback
    from pathlib import Path

    if answer.log is None:
        with tempfile.NamedTemporaryFile("w", prefix="tallship-", suffix=".log", delete=False) as file:
            answer.log = Path(file.name)
    with answer.log.open("a", encoding="utf-8") as log:
        traceback.print_exception(bug, file=log)
    hint = "this is a bug in tallship: the log has the traceback"
    return TallshipError(f"unexpected {type(bug).__name__}", hint=hint)


def _show(tokens: list[str], answer: Answer, code: int, error: TallshipError | None) -> None:
    if _wants_json(tokens):
        print_json(sys.stdout, envelope(" ".join(_words(tokens)), answer, code, error))
        return
    if not (answer.text or answer.next_commands or error):
        return
    from tallship.report.console import for_data, for_people

    out, err = for_data(), for_people()
    for part in answer.text:
        out.print(part, soft_wrap=isinstance(part, str))
    if error is not None:
        print_error(err, error, answer.log)
    elif answer.next_commands:
        own = _own_name()
        for number, command in enumerate(answer.next_commands):
            text = ("next: " if number == 0 else "      ") + command.replace("tallship ", f"{own} ")
            err.print(text, style="dim", soft_wrap=True)


def _own_name() -> str:
    """Return how this program can be started again: its name where PATH has it, else as it was started."""
    import shutil

    return "tallship" if shutil.which("tallship") else sys.argv[0]


def _wants_json(tokens: list[str]) -> bool:
    pairs = zip(tokens, [*tokens[1:], ""], strict=True)
    return any(pair == ("--output", "json") for pair in pairs) or "--output=json" in tokens


def _words(tokens: list[str]) -> list[str]:
    """Return the command's own words: `lab status`."""
    words = list(takewhile(lambda token: not token.startswith("-"), tokens[:2]))
    return words if words[:1] and words[0] in GROUPS else words[:1]


def run() -> None:
    """Run the command line of this process."""
    sys.exit(main())
