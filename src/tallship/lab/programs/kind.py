"""kind 0.30.0 and the container engine's `start`: management clusters on the lab's own host."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextvars import Context
from typing import Protocol

from tallship.lab.clock import LabClock
from tallship.lab.programs import times
from tallship.lab.programs.command import Command, form, parse
from tallship.lab.programs.conversation import Failed, Output, ProgramRequest, Say, WriteFile, apart

VERSION = "0.30.0"
FORMS = (
    form("version", flags="-q"),
    form("get clusters"),
    form("create cluster", required="--name --image --kubeconfig"),
    form("export kubeconfig", required="--name --kubeconfig"),
    form("delete cluster", required="--name --kubeconfig"),
)
_NAME = re.compile(r"[a-z0-9.-]+")
_IMAGE = re.compile(r"kindest/node:v\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?")
_PREFIX = "ERROR: "


class Host(Protocol):
    """The machine that the nodes run on."""

    def names(self) -> list[str]:
        """Return the names of all clusters, running or stopped."""

    async def create(self, name: str, image: str) -> None:
        """Make a cluster and start it."""

    async def start(self, name: str) -> None:
        """Start a cluster that is stopped."""

    async def halt(self, name: str) -> None:
        """Stop a cluster; its data stays."""

    async def delete(self, name: str) -> None:
        """Delete a cluster and all that is in it."""

    def kubeconfig(self, name: str) -> str:
        """Return an administrator's kubeconfig."""


class Kind:
    """`kind`."""

    def __init__(self, host: Host, clock: LabClock) -> None:
        self._host = host
        self._clock = clock
        self._images: set[str] = set()

    async def handle(self, request: ProgramRequest) -> AsyncGenerator[Output, None]:
        """Do what the command line says."""
        command = parse("kind", request.argv, FORMS, _PREFIX)
        await request.wait(self._clock, times.STARTUP)
        words = command.form.words
        if words == ("version",):
            yield Say(f"{VERSION}\n" if "-q" in command.flags else f"kind v{VERSION} go1.24.6 linux/amd64\n", "out")
            return
        actions = {"create": self._create, "export": self._export, "delete": self._delete, "get": self._get}
        async for output in actions[words[0]](command, request):
            yield output

    async def _get(self, command: Command, request: ProgramRequest) -> AsyncGenerator[Output, None]:
        names = self._host.names()
        yield Say("".join(f"{name}\n" for name in names), "out") if names else Say("No kind clusters found.")

    async def _create(self, command: Command, request: ProgramRequest) -> AsyncGenerator[Output, None]:
        name, image = command["--name"], command["--image"]
        if not _NAME.fullmatch(name):
            must = "cluster names must match `^[a-z0-9.-]+$`"
            raise Failed(f"{_PREFIX}failed to create cluster: '{name}' is not a valid cluster name, {must}")
        if name in self._host.names():
            already = f'node(s) already exist for a cluster with the name "{name}"'
            raise Failed(f"{_PREFIX}failed to create cluster: {already}")
        yield Say(f'Creating cluster "{name}" ...')
        await self._pull(image, request)
        yield Say(f" ✓ Ensuring node image ({image.partition('@')[0]}) 🖼")
        await apart(self._host.create(name, image))
        await apart(self._host.halt(name))  # from here on a kind that is killed leaves a node that does not answer
        await request.wait(self._clock, times.KIND_PREPARE)
        yield Say(" ✓ Preparing nodes 📦")
        yield Say(" ✓ Writing configuration 📜")
        await request.wait(self._clock, times.KIND_CONTROL_PLANE)
        await apart(self._host.start(name))
        yield Say(" ✓ Starting control-plane 🕹️")
        await request.wait(self._clock, times.KIND_FINISH)
        yield Say(" ✓ Installing CNI 🔌")
        yield Say(" ✓ Installing StorageClass 💾")
        yield self._kubeconfig(command, request)
        yield Say(f'Set kubectl context to "kind-{name}"')

    async def _export(self, command: Command, request: ProgramRequest) -> AsyncGenerator[Output, None]:
        name = command["--name"]
        if name not in self._host.names():
            hint = "Use the --name option to select a different cluster"
            raise Failed(f"{_PREFIX}could not locate any control plane nodes for cluster named '{name}'. {hint}")
        yield self._kubeconfig(command, request)
        yield Say(f'Set kubectl context to "kind-{name}"')

    async def _delete(self, command: Command, request: ProgramRequest) -> AsyncGenerator[Output, None]:
        name = command["--name"]
        yield Say(f'Deleting cluster "{name}" ...')
        if name in self._host.names():
            await request.wait(self._clock, times.KIND_DELETE)
            await apart(self._host.delete(name))
            yield Say(f'Deleted nodes: ["{name}-control-plane"]')
        yield WriteFile(request.path(command["--kubeconfig"]), "")

    async def _pull(self, image: str, request: ProgramRequest) -> None:
        if image in self._images:
            return
        refused = (
            f'{_PREFIX}failed to create cluster: failed to pull image "{image}": command "docker pull {image}" failed'
        )
        if not _IMAGE.fullmatch(image):
            raise Failed(f"{refused} with error: exit status 1\nCommand Output: manifest for {image} not found")
        await request.wait(self._clock, times.KIND_PULL)
        self._images.add(image)

    def _kubeconfig(self, command: Command, request: ProgramRequest) -> WriteFile:
        text = self._host.kubeconfig(command["--name"])
        return WriteFile(request.path(command["--kubeconfig"]), text)


class Docker:
    """`docker`: nothing but the start of a stopped node."""

    def __init__(self, host: Host, clock: LabClock) -> None:
        self._host = host
        self._clock = clock
        self._boots: set[asyncio.Task[None]] = set()

    async def handle(self, request: ProgramRequest) -> AsyncGenerator[Output, None]:
        """Do what the command line says."""
        command = parse("docker", request.argv, (form("start", arguments=(1, 1)),), "")
        container = command.arguments[0]
        name = container.removesuffix("-control-plane")
        await request.wait(self._clock, times.NODE_START)
        if name == container or name not in self._host.names():
            gone = f"No such container: {container}"
            raise Failed(f"Error response from daemon: {gone}\nError: failed to start containers: {container}")
        boot = asyncio.get_running_loop().create_task(self._boot(name), context=Context())
        self._boots.add(boot)
        boot.add_done_callback(self._boots.discard)
        yield Say(f"{container}\n", "out")

    async def _boot(self, name: str) -> None:
        await self._clock.sleep(times.NODE_BOOT)
        if name in self._host.names():
            await self._host.start(name)
