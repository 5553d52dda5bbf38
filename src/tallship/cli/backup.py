"""`tallship backup …`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tallship import __version__
from tallship.cli.options import DEFAULT, Options
from tallship.errors import SetupError
from tallship.report.answer import current

if TYPE_CHECKING:
    from tallship.engine import Flow
    from tallship.env import Env
    from tallship.ops.backup import Saved
    from tallship.spec.backups import Keep

Flag = Annotated[bool, Parameter(negative="")]

LOUD = "every secret of the cluster is in it, in clear: guard it, or name `backup.recipients` in the cluster file"


def save(
    *,
    capi: Flag = False,
    etcd: Flag = False,
    every: str | None = None,
    image: str = f"tallship:{__version__}",
    options: Options = DEFAULT,
) -> None:
    """Save etcd, Cluster API's objects, the secrets and the cluster file; encrypted to `backup.recipients`.

    Parameters
    ----------
    capi
        only Cluster API's objects and their Secrets, as `clusterctl move --from-directory` reads them
    etcd
        only etcd and the cluster file: for a cluster without a quorum
    every
        save nothing now; print a systemd timer, and a CronJob, for such as `30m`, `6h`, `1d` or `7d`
    image
        with `--every`: the CronJob's image, of your own making
    """
    from tallship.cli.session import make, one_at_a_time, open_env
    from tallship.ops.backup import BackupSaved, CapiSaved
    from tallship.spec.load import read_text

    if capi and etcd:
        raise SetupError("`--capi` and `--etcd` exclude each other", hint="without both everything is saved")
    if every is not None:
        _print_schedule(every, image, options)
        return
    env = open_env(options)
    step = CapiSaved() if capi else BackupSaved(read_text(options.file), etcd)
    flow: Flow[Env] = (step,)
    with one_at_a_time(env.folder):
        make(flow, env, options)
    (saved,) = step.made
    current().data["backup"] = saved.as_data()
    _tell(saved, len(env.spec.backup.recipients))
    current().next_commands = [f"tallship backup list{options.suffix()}"]


def list_(*, options: Options = DEFAULT) -> None:
    """Show every backup, newest first: when, how large, how old, for whom, what is in it."""
    from tallship.cli.session import open_env
    from tallship.ops.backup_places import list_all
    from tallship.report.tables import backups_table

    found = list_all(open_env(options))
    answer = current()
    answer.data["backups"] = [each.as_data() for each in found]
    answer.say(backups_table(found) if found else "there is no backup")
    if not found:
        answer.next_commands = [f"tallship backup save{options.suffix()}"]


def prune(
    *,
    keep_last: int | None = None,
    keep_daily: int | None = None,
    keep_weekly: int | None = None,
    dry_run: Flag = False,
    options: Options = DEFAULT,
) -> None:
    """Delete backups that no rule keeps; what is not given is as the cluster file says. The newest always stays.

    Parameters
    ----------
    keep_last
        how many of the newest stay
    keep_daily
        of how many days the newest stays
    keep_weekly
        of how many weeks the newest stays
    dry_run
        show what would be deleted, and delete nothing
    """
    from tallship.cli.consent import ask
    from tallship.cli.session import one_at_a_time, open_env
    from tallship.ops.backup_places import delete, list_all, verdicts
    from tallship.report.tables import verdicts_table

    env = open_env(options)
    keep = _keep(env.spec.backup.keep, {"last": keep_last, "daily": keep_daily, "weekly": keep_weekly})
    with one_at_a_time(env.folder):
        found = verdicts(list_all(env), keep)
        doomed = [each for each in found if each.delete]
        answer = current()
        answer.data.update(verdicts=[each.as_data() for each in found], deleted=[])
        if found:
            answer.say(verdicts_table(found))
        if not doomed or dry_run:
            answer.say("nothing was deleted" if doomed else "there is nothing to delete")
            return
        ask("these backups would be deleted", [each.what for each in doomed], options)
        delete(env, [each.backup for each in doomed])
        answer.data["deleted"] = [each.what for each in doomed]
    answer.say(f"{len(doomed)} deleted")


def _keep(usual: Keep, given: dict[str, int | None]) -> Keep:
    told = {name: count for name, count in given.items() if count is not None}
    if any(count < 0 for count in told.values()):
        raise SetupError("fewer than no backups cannot be kept", hint="`--keep-last 1` keeps the newest alone")
    return usual.model_copy(update=told)


def _tell(saved: Saved, readers: int) -> None:
    answer = current()
    for place in saved.places:
        answer.say(f"saved as {place}")
    if saved.etcd:
        facts = saved.etcd
        answer.say(f"etcd: revision {facts['revision']}, {facts['keys']} objects of Kubernetes, {facts['nodes']} nodes")
    for note in saved.notes:
        answer.say(f"note: {note}")
    answer.say(f"only its {readers} recipients can read it" if saved.encrypted else LOUD)


def _print_schedule(every: str, image: str, options: Options) -> None:
    import shutil
    from pathlib import Path

    from tallship.cli.folder import folder_name
    from tallship.manifests import schedule
    from tallship.spec import load_spec

    spec = load_spec(options.file)
    program = shutil.which("tallship") or str(Path(sys.argv[0]).resolve())
    try:
        timer = schedule.timer(spec.name, every)
    except ValueError as error:
        hint = "write it like `30m`, `6h`, `1d` or `7d`: it divides an hour, a day or a week"
        raise SetupError(f"`{every}` is no time that a backup can be made at", hint=hint) from error
    parts = {"service": schedule.service(spec.name, program, str(options.file.resolve())), "timer": timer}
    if spec.backup.s3 is not None:
        inside = replace(options, file=Path(schedule.MOUNT) / "tallship.yaml", lab=False)
        parts["cron_job"] = schedule.cron_job(spec.name, every, image, folder_name(inside, spec))
    answer = current()
    answer.data["schedule"] = parts
    answer.say("\n".join(parts.values()).rstrip("\n"))
    if spec.backup.s3 is None:
        answer.say("# A CronJob is printed where the cluster file has `backup.s3`: what a pod writes goes with it.")
    answer.next_commands = [f"systemctl --user enable --now {schedule.unit(spec.name)}.timer"]
