"""`tallship lab provider`: what a provider's manager needs to run as a process beside the lab."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tallship.cli.lab import running
from tallship.cli.options import DEFAULT, Options
from tallship.errors import SetupError
from tallship.localplane import components
from tallship.localplane.files import write_private
from tallship.report.answer import current

HOST = "127.0.0.1"


def provider(files: tuple[Path, ...], *, port: int, to: Path, options: Options = DEFAULT) -> None:
    """Write a provider's definitions and webhooks for a manager outside the cluster, and its serving certificate.

    Parameters
    ----------
    files
        the provider's components, as it publishes them
    port
        the port on which its manager serves webhooks
    to
        the folder to write to: objects.yaml to apply, tls.crt and tls.key for `--webhook-cert-dir`
    """
    lab = running(options)
    url = f"https://{HOST}:{port}"
    objects = components.for_processes(_documents(files), url, lab.ca_file.read_text())
    if not objects:
        raise SetupError("the files hold no definitions and no webhooks", hint="name the provider's components YAML")
    certificate, key = lab.issue_certificate(HOST)
    try:
        to.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(to / "tls.crt", certificate)
        write_private(to / "tls.key", key)
        write_private(to / "objects.yaml", yaml.dump_all(objects, Dumper=yaml.CSafeDumper, sort_keys=False))
    except OSError as error:
        raise SetupError(f"cannot write to `{to}`", detail=str(error), hint="choose a folder of yours") from error
    answer = current()
    definitions = sum(each["kind"] == components.DEFINITION for each in objects)
    hooks = sum(len(each["webhooks"]) for each in objects if each["kind"] in components.HOOKS)
    answer.data.update(folder=str(to), definitions=definitions, webhooks=hooks, url=url)
    answer.say(f"{definitions} definitions and {hooks} webhooks at {url}: {to / 'objects.yaml'}")
    answer.next_commands = [
        f'kubectl --kubeconfig "$MANAGEMENT_KUBECONFIG" apply --server-side --force-conflicts -f {to / "objects.yaml"}'
    ]


def _documents(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for file in files:
        try:
            text = file.read_text()
            found = list(yaml.load_all(text, yaml.CSafeLoader))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SetupError(f"cannot read `{file}`", detail=str(error), hint="it must be YAML") from error
        yield from (each for each in found if isinstance(each, dict))
