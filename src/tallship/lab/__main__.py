"""The lab's process: `python -m tallship.lab --folder FOLDER --speed N …`, with the options of `tallship lab up`.

Says one line of JSON on stdout when it serves, or why it cannot; everything else goes to stderr, which is lab.log.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tallship.errors import SetupError
from tallship.lab import namespace, network
from tallship.lab.clock import ScaledClock
from tallship.lab.process import STAND_INS, Lab, resume_time
from tallship.lab.store import Store
from tallship.localplane import plane
from tallship.localplane.processes import started_at


def main() -> int:
    """Be the lab of a folder until told to stop; returns the exit code."""
    options = _options()
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    try:
        with FileLock(options.folder / "lab.lock", timeout=0):
            return _serve(options)
    except Timeout:
        _say({"error": f"another process is the lab of `{options.folder}`", "hint": "stop it with `tallship lab down`"})
    except SetupError as error:
        _say({"error": error.message, "detail": error.detail, "hint": error.hint})
    return SetupError.exit_code


def _serve(options: argparse.Namespace) -> int:
    if unknown := options.without - STAND_INS:
        hint = f"these can be left out: {', '.join(sorted(STAND_INS))}"
        raise SetupError(f"the lab has no stand-in called {', '.join(sorted(unknown))}", hint=hint)
    if options.programs is not None:
        plane.check(options.programs)
    if options.network == "namespace":
        namespace.make()
    folder: Path = options.folder
    taken = network.take(folder, _known_network(folder))
    store = Store(folder / "store.sqlite")
    try:
        _check_kind(store, _kind(options))
        asyncio.run(_run(store, taken, options))
    finally:
        store.close()
    return 0  # the network stays this folder's: a stopped lab comes back where it was


def _check_kind(store: Store, wanted: str) -> None:
    """Raise SetupError when this lab's clusters are in API servers of the other kind."""
    known = store.table("lab").get("kubernetes", {"kind": wanted})["kind"]
    if known != wanted:
        hint = "`tallship lab up --fresh` forgets them"
        raise SetupError(f"the clusters of this lab have {known} API servers", hint=hint)


def _kind(options: argparse.Namespace) -> str:
    return "built-in" if options.programs is None else "real"


async def _run(store: Store, taken: str, options: argparse.Namespace) -> None:
    clock = ScaledClock(options.speed, resume_time(store), stamped_by_others=options.programs is not None)
    lab = Lab(
        options.folder,
        clock,
        taken,
        store=store,
        without=options.without,
        serves_private=options.network == "namespace",
        programs=options.programs,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lab.stopping.set)
    try:
        await lab.start()
        store.table("lab")["kubernetes"] = {"kind": _kind(options)}
        _write_files(lab, options)
        _say({"ready": True})
        await lab.stopping.wait()
    finally:
        await lab.stop()


def _write_files(lab: Lab, options: argparse.Namespace) -> None:
    """Write what others find the lab by; `lab.json` last, when everything it names is there."""
    folder: Path = options.folder
    (folder / "secret").write_text(lab.secret)
    if not (folder / "token").exists():
        (folder / "token").write_text(lab.hetzner.tokens.issue_token(writable=True))
    endpoints = lab.endpoints()
    known = {
        "pid": os.getpid(),
        "started": started_at(os.getpid()),
        "network": lab.network,
        "speed": options.speed,
        "hetzner_endpoint": endpoints["hetzner"],
        "factory_url": endpoints["factory"],
        "control_url": endpoints["control"],
        "ca_file": str(folder / "ca.pem"),
        "token_file": str(folder / "token"),
        "without": sorted(options.without),
        "in_namespace": options.network == "namespace",
        "programs": str(options.programs or ""),
    }
    fresh = folder / f"lab.json.{secrets.token_hex(4)}"
    fresh.write_text(json.dumps(known, indent=1))
    fresh.replace(folder / "lab.json")


def _known_network(folder: Path) -> str:
    try:
        return str(json.loads((folder / "lab.json").read_text())["network"])
    except (OSError, ValueError, KeyError):
        return ""


def _say(word: dict[str, Any]) -> None:
    """Tell the process that started this one; nobody reads stdout after that."""
    print(json.dumps(word), flush=True)  # noqa: T201 - the one line of the protocol
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, sys.stdout.fileno())
    os.close(quiet)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tallship.lab")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--speed", type=float, required=True)
    parser.add_argument("--without", type=lambda text: frozenset(filter(None, text.split(","))), default=frozenset())
    parser.add_argument("--network", choices=("loopback", "namespace"), default="loopback")
    parser.add_argument("--programs", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
