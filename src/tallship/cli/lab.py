"""`tallship lab …`: the only place of the product that knows the lab."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import replace
from datetime import datetime
from ipaddress import IPv4Network, collapse_addresses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from tallship.cli.options import DEFAULT, Options, pairs
from tallship.env import Site, SystemClock
from tallship.errors import SetupError
from tallship.lab import daemon, namespace
from tallship.report.answer import current

if TYPE_CHECKING:
    from rich.table import Table

    from tallship.spec.models import Network

DEFAULT_SPEED = 60.0
"""How many modelled seconds pass in one: machines that need minutes are up in seconds."""
REAL_SPEED = 10.0
"""The same where real API servers take part, which do not hurry."""
_PROGRAMS_HINT = "DIR holds etcd, kube-apiserver and kube-controller-manager"
SSH_PORT = 2222
Flag = Annotated[bool, Parameter(negative="")]


def up(
    *,
    speed: float | None = None,
    without: str | None = None,
    network: Literal["loopback", "namespace"] | None = None,
    kubernetes: Literal["built-in", "real"] | None = None,
    programs: Path | None = None,
    fresh: Flag = False,
    options: Options = DEFAULT,
) -> None:
    """Start the lab of this cluster file, or find the one that runs. What is not said stays as it was.

    Parameters
    ----------
    speed
        how many times faster than real time passes: 60, or 10 with real API servers
    without
        stand-ins to leave out, separated by commas, so that the real program can take their place
    network
        namespace: in a network namespace of its own, where machines answer on private addresses too (Linux, root)
    kubernetes
        real: API servers are etcd, kube-apiserver and kube-controller-manager themselves (Linux)
    programs
        the folder that holds them; clusterctl and helm that are there take the place of their stand-ins
    fresh
        forget what an earlier lab of this file knew
    """
    if network == "namespace":
        namespace.check()
    folder = _folder(options)
    if fresh:
        forget(folder)
    former = daemon.remembered(folder / "lab") or daemon.Wanted(DEFAULT_SPEED)
    if kubernetes == "real":
        former = replace(former, speed=REAL_SPEED, programs=programs or former.programs)
    elif kubernetes == "built-in":
        former = replace(former, programs=None)
    if (kubernetes == "real" and former.programs is None) or (programs is not None and kubernetes != "real"):
        raise SetupError("`--kubernetes real` and `--programs DIR` go together", hint=_PROGRAMS_HINT)
    left_out = former.without if without is None else tuple(word for word in without.split(",") if word)
    wanted = replace(former, speed=speed or former.speed, without=left_out, network=network or former.network)
    handle = daemon.start(folder / "lab", wanted)
    _check_same(handle, network, kubernetes, options)
    answer = current()
    answer.data.update(network=handle.network, speed=handle.speed, pid=handle.pid, folder=str(handle.folder))
    answer.data.update(in_namespace=handle.in_namespace, kubernetes="real" if handle.programs else "built-in")
    place = " in a network namespace of its own" if handle.in_namespace else ""
    answer.say(f"the lab runs on {handle.network}.0/24{place}, {handle.speed:g} times faster than real time")
    answer.next_commands = [f"tallship up --lab{_file(options)}", f"tallship lab env{_file(options)}"]


def _check_same(handle: daemon.LabHandle, network: str | None, kubernetes: str | None, options: Options) -> None:
    """Raise SetupError when the lab that runs is not the one that was asked for."""
    if network == "namespace" and not handle.in_namespace:
        hint = f"`tallship lab down{_file(options)}` first; what the lab knows is kept"
        raise SetupError("the lab of this file runs already, without a network namespace", hint=hint)
    if kubernetes == "real" and handle.programs is None:
        hint = f"`tallship lab up --fresh{_file(options)}` forgets the other lab"
        raise SetupError("the lab of this file runs already, with its built-in API servers", hint=hint)


def down(*, options: Options = DEFAULT) -> None:
    """Stop the lab; what it knows is kept, and the next command with --lab goes on from there."""
    stopped = daemon.stop(_folder(options) / "lab")
    answer = current()
    answer.data["stopped"] = stopped
    answer.say("the lab has stopped; its state is kept" if stopped else "no lab runs for this file")


def status(*, reset_counters: Flag = False, options: Options = DEFAULT) -> None:
    """Show what the lab serves, the writes it counted, and its faults.

    Parameters
    ----------
    reset_counters
        begin to count writes anew
    """
    from tallship.report.tables import facts_table

    handle = running(options)
    found = handle.reset_counters() if reset_counters else handle.status()
    answer = current()
    answer.data.update(found)
    facts = [("writes " + server, str(count)) for server, count in sorted(found["writes"].items())]
    facts += [(name, str(url)) for name, url in sorted(found["endpoints"].items())]
    facts += [
        ("fault " + fault["name"], f"{fault['match']} {fault['values']} x{fault['times']}") for fault in found["faults"]
    ]
    answer.say(facts_table(facts))


def env(*, options: Options = DEFAULT) -> None:
    """Print what a foreign program needs to use the lab, as shell assignments."""
    from tallship.spec import load_spec

    values = _environment(running(options), _folder(options), load_spec(options.file).network)
    answer = current()
    answer.data.update({**values, "PATH": f"{values['PATH']}:$PATH"})
    lines = [f"export {key}={shlex.quote(text)}" for key, text in values.items()]
    answer.say("\n".join(lines) + ':"$PATH"')


def _environment(handle: daemon.LabHandle, folder: Path, network: Network) -> dict[str, str]:
    """Return the variables; `PATH`, the last, is what goes before the shell's own."""
    proxy = str(handle.status()["endpoints"]["proxy"])
    private = collapse_addresses(map(IPv4Network, (network.cidr, network.pods, network.services)))
    direct = ",".join(["localhost", "127.0.0.0/8", *map(str, private)])
    return {
        "HCLOUD_ENDPOINT": handle.hetzner_endpoint,
        "HCLOUD_TOKEN_FILE": str(handle.folder / "token"),
        "SSL_CERT_FILE": str(handle.ca_file),
        "REQUESTS_CA_BUNDLE": str(handle.ca_file),
        # In both spellings: curl and Python read the small one first, and the shell may have one already.
        **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), proxy),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), direct),
        "MANAGEMENT_KUBECONFIG": str(folder / "management.kubeconfig"),
        "KUBECONFIG": str(folder / "kubeconfig"),
        "TALOSCONFIG": str(folder / "talosconfig"),
        "IN_LAB": namespace.prefix(handle.pid) if handle.in_namespace else "",
        "PATH": str(handle.bin_folder),
    }


def fault(
    name: str = "",
    *,
    times: int = 1,
    match: tuple[str, ...] = (),
    value: tuple[str, ...] = (),
    clear: Flag = False,
    options: Options = DEFAULT,
) -> None:
    """Make something go wrong on purpose, or clear what was set. Without a name it lists what can go wrong.

    Parameters
    ----------
    name
        what goes wrong
    times
        how often; 0 until it is cleared
    match
        where, as KEY=VALUE: "route=POST /servers"
    value
        how, as KEY=VALUE: seconds=30
    clear
        forget the faults of that name, or all of them
    """
    from tallship.lab.faults import KINDS, Fault

    answer = current()
    if clear:
        cleared = running(options).clear_faults(name)
        answer.data["cleared"] = cleared
        answer.say(f"{cleared} faults cleared")
        return
    if not name:
        answer.data["faults"] = {known: {"does": kind.does, "where": kind.places} for known, kind in KINDS.items()}
        answer.say(faults_table())
        return
    wanted = Fault(name, pairs(match), {key: _number(text) for key, text in pairs(value).items()}, times)
    wanted.check()
    answer.data["id"] = running(options).add_fault(wanted.name, wanted.match, wanted.values, wanted.times)
    answer.say(f"fault {name} is set" + (f", {times} times" if times else ", until it is cleared"))


def faults_table() -> Table:
    """Return everything that can be made to go wrong, and what it can be matched by."""
    from tallship.lab.faults import KINDS, PLACES
    from tallship.report.tables import new_table

    table = new_table("fault", "what happens", "--match", "--value")
    for name, kind in KINDS.items():
        facts = dict.fromkeys(fact for place in kind.places for fact in PLACES[place])
        table.add_row(name, kind.does, " ".join(facts), " ".join(kind.values))
    return table


def _number(text: str) -> float | str:
    return float(text) if text.replace(".", "", 1).isdigit() else text


def site_of_lab(options: Options, folder: Path) -> tuple[Site, SystemClock]:
    """Return the lab as the outside of a command, and its clock; starts the lab when it does not run."""
    wanted = daemon.remembered(folder / "lab") or daemon.Wanted(DEFAULT_SPEED)
    handle = _entered(daemon.start(folder / "lab", wanted))
    site = Site(
        handle.token,
        hetzner_endpoint=handle.hetzner_endpoint,
        hetzner_ca=handle.ca_file,
        path=f"{handle.bin_folder}{os.pathsep}{os.environ.get('PATH', '')}",
        factory_url=handle.factory_url,
        components=handle.components,
        charts=handle.charts,
        local_programs=handle.local_programs,
        address_url=handle.address_url,
        ssh_port=SSH_PORT,
        is_lab=True,
    )
    today = datetime.fromisoformat(handle.status()["today"])
    return site, SystemClock(handle.speed, today)


def forget(folder: Path) -> None:
    """Stop the lab of this state folder and remove everything it knew, the client's files for it too."""
    daemon.stop(folder / "lab")
    for child in folder.iterdir():
        if child.is_dir():
            shutil.rmtree(child)
        else:
            child.unlink()


def _folder(options: Options) -> Path:
    from tallship.cli.folder import state_folder
    from tallship.spec import load_spec

    return state_folder(replace(options, lab=True), load_spec(options.file))


def running(options: Options) -> daemon.LabHandle:
    """Return the lab of the cluster file, from where it can be reached. Raises SetupError when none runs."""
    handle = daemon.find(_folder(options) / "lab")
    if handle is None:
        raise SetupError("no lab runs for this file", hint=f"`tallship lab up{_file(options)}` starts it")
    return _entered(handle)


def _entered(handle: daemon.LabHandle) -> daemon.LabHandle:
    """Return the lab after this process has gone where it can be reached, with all that it starts from now on."""
    if handle.in_namespace:
        namespace.enter(handle.pid)
    return handle


def _file(options: Options) -> str:
    return options.suffix().replace(" --lab", "")
