"""A provider's stand-in as a process of its own, with the flags of the real manager: `python -m tallship.lab.standin`.

It ends when the lab does, and when the provider would crash: whoever keeps it running starts it again.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from tallship.lab import daemon
from tallship.lab.clock import ScaledClock
from tallship.lab.controllers.caph.hcloud import Hetzner
from tallship.lab.controllers.reconciler import ProviderCrashed
from tallship.lab.controllers.runner import AGENTS, PROVIDERS, build
from tallship.lab.kubeclient import KubeClient
from tallship.lab.realkube import webhooks

LOOK_SECONDS = 10.0
"""How often, in modelled seconds, it looks whether the lab is there."""
CRASHED = 2


async def run(options: argparse.Namespace) -> int:
    """Be the provider until it crashes or the lab ends; returns the exit status."""
    lab = daemon.find(options.lab)
    if lab is None:
        return CRASHED
    clock = ScaledClock(lab.speed, float(lab.status()["seconds"]), stamped_by_others=True)
    hetzner = Hetzner(lab.hetzner_endpoint, ssl.create_default_context(cafile=lab.ca_file))
    client = KubeClient.from_kubeconfig(Path(os.environ["KUBECONFIG"]).read_text(), AGENTS[options.provider])
    await _serve(web.Application(), options.health_addr)
    certificate = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.load_cert_chain(options.webhook_cert_dir / "tls.crt", options.webhook_cert_dir / "tls.key")
    await _serve(webhooks.app(options.provider.__eq__), f"127.0.0.1:{options.webhook_port}", certificate)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(build(options.provider, client, clock, hetzner).run())
            tasks.create_task(_end_with(lab, clock))
    except* ProviderCrashed as crash:
        logging.error("%s", crash.exceptions[0])
    finally:
        await client.close()
    return CRASHED


async def _serve(app: web.Application, address: str, tls: ssl.SSLContext | None = None) -> None:
    host, _, port = address.rpartition(":")
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, int(port), ssl_context=tls).start()


async def _end_with(lab: daemon.LabHandle, clock: ScaledClock) -> None:
    while lab.alive:
        await clock.sleep(LOOK_SECONDS)
    raise ProviderCrashed("the lab is gone")


def main(words: Sequence[str]) -> int:
    """Read the command line and be the provider."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("provider", choices=PROVIDERS)
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("--webhook-port", type=int, required=True)
    parser.add_argument("--webhook-cert-dir", type=Path, required=True)
    parser.add_argument("--health-addr", required=True)
    parser.add_argument("--leader-elect")
    options = parser.parse_args(words)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    return asyncio.run(run(options))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
