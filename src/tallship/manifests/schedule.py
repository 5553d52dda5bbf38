"""Backups at regular times: a systemd timer for a machine, a CronJob for a cluster that manages itself."""

from __future__ import annotations

import re
import shlex
import zlib
from dataclasses import dataclass
from typing import Any

from tallship.manifests.yaml_text import dump

MOUNT = "/etc/tallship"
"""Where a pod of the CronJob finds the cluster file and the credentials."""
SECRET = "tallship-backup"  # noqa: S105 the name of a Secret
NIGHT = 2
"""The hour of what happens once a day or less, UTC."""
HOURS = (1, 2, 3, 4, 6, 8, 12)
MINUTES = (10, 15, 20, 30)
SECONDS = 3600
"""How long one backup may take."""


@dataclass(frozen=True)
class Times:
    """The same times in the words of systemd (systemd.time(7)) and of cron."""

    calendar: str
    cron: str


def times(every: str, name: str) -> Times:
    """Return when something happens that happens every `30m`, `6h`, `1d` or `7d`; the minute depends on the name.

    Raises ValueError for a time that does not divide an hour, a day or a week: cron has no words for it.
    """
    minute = zlib.crc32(name.encode()) % 60  # not all clusters of the world at the full hour
    found = re.fullmatch(r"([0-9]{1,3})([mhd])", every)
    number, unit = (int(found[1]), found[2]) if found else (0, "")
    if unit == "m" and number in MINUTES:
        return Times(f"*-*-* *:00/{number}:00 UTC", f"*/{number} * * * *")
    if unit == "h" and number in HOURS:
        return Times(f"*-*-* 00/{number}:{minute:02}:00 UTC", f"{minute} */{number} * * *")
    if (unit, number) in (("d", 1), ("h", 24)):
        return Times(f"*-*-* {NIGHT:02}:{minute:02}:00 UTC", f"{minute} {NIGHT} * * *")
    if (unit, number) == ("d", 7):
        return Times(f"Sun *-*-* {NIGHT:02}:{minute:02}:00 UTC", f"{minute} {NIGHT} * * 0")
    raise ValueError(every)


def service(name: str, program: str, file: str) -> str:
    """Return a systemd service that saves and prunes once; credentials come from a file that is not the cluster's."""
    save, prune = (
        _command(program, "backup", verb, "--file", file, *more, "--quiet")
        for verb, *more in (("save",), ("prune", "--yes"))
    )
    return f"""\
# ~/.config/systemd/user/{unit(name)}.service
# ~/.config/tallship/{name}.env, mode 0600, holds HCLOUD_TOKEN=… and what else the cluster file takes from there.
[Unit]
Description=Backup of the cluster {name}

[Service]
Type=oneshot
EnvironmentFile=-%h/.config/tallship/{name}.env
ExecStart={save}
ExecStart={prune}
TimeoutStartSec={SECONDS}
"""


def timer(name: str, every: str) -> str:
    """Return the timer of the service; a time that was missed is made up for. Raises ValueError as `times` does."""
    return f"""\
# ~/.config/systemd/user/{unit(name)}.timer
[Unit]
Description=Backups of the cluster {name}, every {every}

[Timer]
OnCalendar={times(every, name).calendar}
Persistent=true

[Install]
WantedBy=timers.target
"""


def unit(name: str) -> str:
    """Return the name of service and timer."""
    return f"tallship-backup-{name}"


def cron_job(name: str, every: str, image: str, state: str) -> str:
    """Return a CronJob for a cluster that manages itself; `state` is the name of the cluster file's state folder.

    Raises ValueError as `times` does.
    """
    job = {"backoffLimit": 1, "activeDeadlineSeconds": SECONDS, "template": {"spec": _pod(image, state)}}
    document = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": unit(name), "namespace": "tallship"},
        "spec": {
            "schedule": times(every, name).cron,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": job},
        },
    }
    return dump(document, {(): _HEAD.format(secret=SECRET)})


def _pod(image: str, state: str) -> dict[str, Any]:
    container = {
        "name": "backup",
        "image": image,
        "command": ["sh", "-ec", _SCRIPT.format(files=MOUNT, state=state)],
        "env": [{"name": each, "value": "/state"} for each in ("XDG_STATE_HOME", "HOME", "TMPDIR")],
        "envFrom": [{"secretRef": {"name": f"{SECRET}-env"}}],
        "volumeMounts": [
            {"name": "files", "mountPath": MOUNT, "readOnly": True},
            {"name": "state", "mountPath": "/state"},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532},
        "containers": [container],
        "volumes": [
            {"name": "files", "secret": {"secretName": SECRET, "defaultMode": 0o440}},
            {"name": "state", "emptyDir": {}},
        ],
    }


_SCRIPT = """\
state="$XDG_STATE_HOME/tallship/{state}"
mkdir -p -m 0700 "$state"
install -m 0600 {files}/kubeconfig {files}/talosconfig "$state"
tallship backup save --file {files}/tallship.yaml --quiet
tallship backup prune --file {files}/tallship.yaml --yes --quiet
"""

_HEAD = """\
For a cluster that manages itself (`tallship pivot`). The image is one of yours with tallship and clusterctl in it.
The namespace and two Secrets come first:
  kubectl create namespace tallship
  state=$(dirname "$(tallship kubeconfig --path)")
  kubectl --namespace tallship create secret generic {secret} --from-file=tallship.yaml \\
    --from-file=kubeconfig="$state/kubeconfig" --from-file=talosconfig="$state/talosconfig"
  kubectl --namespace tallship create secret generic {secret}-env --from-env-file=FILE
FILE has a line NAME=VALUE for HCLOUD_TOKEN, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY each."""


def _command(*words: str) -> str:
    """Return a command line as systemd reads it (systemd.service(5)): quoted, without specifiers and variables."""
    return " ".join(_quoted(each) for each in words)


def _quoted(word: str) -> str:
    plain = word.replace("%", "%%").replace("$", "$$")
    if shlex.quote(word) == word:
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
