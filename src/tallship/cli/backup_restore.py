"""`tallship backup restore` and `tallship backup drill`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tallship.cli.options import DEFAULT, Options
from tallship.report.answer import current

if TYPE_CHECKING:
    from tallship.ops.backup_open import Opened
    from tallship.ops.drill import Report


def restore(
    which: str = "",
    *,
    identity: Path | None = None,
    anew: Annotated[bool, Parameter(negative="")] = False,
    options: Options = DEFAULT,
) -> None:
    """Bring a cluster back whose etcd has lost its quorum, on the servers it has; run it again to go on.

    What was written after the backup is lost, and so is everything on the control planes' local disks.

    Parameters
    ----------
    which
        the backup's name or path; the newest one of everything unless given
    identity
        the file with the private key of one of its recipients
    anew
        its servers are gone: make new ones with the same keys, and restore into them
    """
    from tallship.cli.consent import ask
    from tallship.cli.session import make, one_at_a_time, open_env
    from tallship.flows import UP
    from tallship.ops import restore as op
    from tallship.ops import restore_anew
    from tallship.ops.backup_open import opened
    from tallship.report.tables import steps_table

    env = open_env(options)
    with one_at_a_time(env.folder), opened(env, which, identity) as backup:
        told = _told(backup, anew)
        current().data["backup"] = backup.manifest
        ask(f"this takes cluster `{env.spec.name}` back to a backup", told, options, word=env.spec.name)
        flow = restore_anew.flow(backup.snapshot, backup.secrets, UP) if anew else op.flow(backup.snapshot)
        outcomes = make(flow, env, options)
    answer = current()
    answer.data["changed"] = any(outcome.acted for outcome in outcomes)
    answer.say(steps_table(outcomes))
    answer.next_commands = [f"tallship status{options.suffix()}", f"tallship diagnose{options.suffix()}"]


def drill(
    which: str = "",
    *,
    identity: Path | None = None,
    expect: tuple[str, ...] = (),
    options: Options = DEFAULT,
) -> int:
    """Prove that a backup restores: a real etcd and a real API server open it on this machine; exit code 1 if not.

    The cluster is neither asked nor touched.

    Parameters
    ----------
    which
        the backup's name or path; the newest one of everything unless given
    identity
        the file with the private key of one of its recipients
    expect
        an object that must be there, as Kind/namespace/name
    """
    from tallship.cli.session import make, one_at_a_time, open_env
    from tallship.ops import drill as op
    from tallship.ops.backup_open import opened

    env = open_env(options)
    with (
        one_at_a_time(env.folder),
        opened(env, which, identity) as backup,
        op.place(env, backup.folder, expect) as rehearsal,
    ):
        make(op.flow(rehearsal), env, options, alone=False)
        _tell(rehearsal.report, backup)
    return 1 if rehearsal.report.problems else 0


def _told(backup: Opened, anew: bool) -> list[str]:
    facts = backup.manifest["etcd"]
    wiped = "every control plane's local disk is wiped but for its configuration, and reboots"
    return [
        f"backup {backup.name} of {backup.manifest['made']}, etcd's revision {facts['revision']}",
        "new servers are made, with the keys of the old ones" if anew else wiped,
        "objects that were changed since then are as they were; servers and volumes made since then are unknown to it",
    ]


def _tell(report: Report, backup: Opened) -> None:
    from tallship.report.tables import facts_table

    answer = current()
    answer.data["drill"] = {**report.as_data(), "backup": backup.name}
    facts = [("backup", f"{backup.name}, made {backup.manifest['made']}")]
    facts.append(("etcd", f"revision {report.snapshot.get('revision')}, opened by etcd's own program"))
    facts += [(kind, str(count)) for kind, count in report.counts.items()]
    facts += [(f"authority of {title}", each[:16]) for title, each in report.fingerprints.items()]
    answer.say(facts_table(facts))
    for problem in report.problems:
        answer.say(f"problem: {problem}")
    if not report.problems:
        answer.say("everything came back")
