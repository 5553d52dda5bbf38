"""clusterctl 1.10.10: `init` with every provider named, and `move`."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import yaml

from tallship.lab.clock import LabClock
from tallship.lab.kubeclient import KubeClient, KubeRefused, Object
from tallship.lab.programs import components, times
from tallship.lab.programs.command import Command, form, parse
from tallship.lab.programs.components import PROVIDERS, Hooks, Provider
from tallship.lab.programs.conversation import Failed, Output, ProgramRequest, Say
from tallship.lab.programs.move import Move

VERSION = "v1.10.10"
FORMS = (
    form("version", options="-o"),
    form(
        "init",
        required="--kubeconfig --config --core --infrastructure --bootstrap --control-plane",
        options="--kubeconfig-context",
    ),
    form(
        "move",
        required="--namespace",
        options="--kubeconfig --kubeconfig-context --to-kubeconfig --to-directory --from-directory",
    ),
)
Answer = TypeVar("Answer")
_NOT_YET = (404, 429)
_CERT_MANAGER_DEFINITION = "certificates.cert-manager.io"


class Clusterctl:
    """`clusterctl`."""

    def __init__(self, clock: LabClock, hooks: Hooks | None = None) -> None:
        self._clock = clock
        self._hooks = hooks

    async def handle(self, request: ProgramRequest) -> AsyncGenerator[Output, None]:
        """Do what the command line says."""
        command = parse("clusterctl", request.argv, FORMS)
        await request.wait(self._clock, times.STARTUP)
        if command.form.words == ("version",):
            yield _version(command.get("-o"))
            return
        if command.form.words == ("move",):
            async with aclosing(self._move(request, command)) as outputs:
                async for output in outputs:
                    yield output
            return
        wanted = _providers(command, _config(request.read(command["--config"])))
        client = _client(request, command, "--kubeconfig")
        try:
            async for line in Initialization(client, self._clock, request, wanted, self._hooks).run():
                yield Say(line)
        finally:
            await client.close()

    async def _move(self, request: ProgramRequest, command: Command) -> AsyncGenerator[Output, None]:
        """Move between two clusters, or into a folder or out of one."""
        move = Move(request, self._clock, command["--namespace"])
        folder = command.get("--to-directory") or command.get("--from-directory")
        if folder and f"{folder}/" not in request.files:
            raise Failed(f"Error: stat {folder}: no such file or directory")
        clients = [
            _client(request, command, option)
            for option in ("--kubeconfig", "--to-kubeconfig")
            if option in command.options
        ]
        try:
            async for output in _moving(move, command, clients, request):
                yield output
        finally:
            for client in clients:
                await client.close()


def _client(request: ProgramRequest, command: Command, option: str) -> KubeClient:
    """Return a client for the cluster that an option names a kubeconfig of."""
    text, context = request.read(command[option]), command.get(f"{option}-context")
    if context:
        text = yaml.safe_dump({**yaml.safe_load(text), "current-context": context})
    return KubeClient.from_kubeconfig(text, f"clusterctl/{VERSION}")


def _moving(
    move: Move, command: Command, clients: list[KubeClient], request: ProgramRequest
) -> AsyncGenerator[Output, None]:
    match sorted(set(command.options) - {"--namespace", "--kubeconfig-context"}):
        case ["--kubeconfig", "--to-kubeconfig"]:
            return move.to_cluster(*clients)
        case ["--kubeconfig", "--to-directory"]:
            return move.to_directory(clients[0], command["--to-directory"])
        case ["--from-directory", "--to-kubeconfig"]:
            folder = command["--from-directory"] + "/"
            texts = [text for name, text in request.files.items() if name.startswith(folder) and name != folder]
            return move.from_directory(clients[0], texts)
    raise Failed("Error: please specify a target cluster using the --to-kubeconfig flag when not using --dry-run")


class Initialization:
    """One run of `clusterctl init`."""

    def __init__(
        self,
        client: KubeClient,
        clock: LabClock,
        request: ProgramRequest,
        wanted: dict[Provider, str],
        hooks: Hooks | None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._request = request
        self._wanted = wanted
        self._hooks = hooks

    async def run(self) -> AsyncGenerator[str, None]:
        """Yield what clusterctl prints while it works."""
        yield "Fetching providers"
        await self._request.wait(self._clock, times.CLUSTERCTL_FETCH)
        _check_versions(self._wanted)
        async for line in self._ensure_cert_manager():
            yield line
        for definition in components.inventory_definition():
            await self._put(definition)
        listed = await self._patiently(lambda: self._client.list("Provider"))
        installed = {each["metadata"]["name"]: each for each in listed}
        missing = [provider for provider in PROVIDERS if not _is_installed(provider, installed)]
        for provider in missing:
            yield (
                f'Installing provider="{provider.inventory}" version="{provider.version}" '
                f'targetNamespace="{provider.namespace}"'
            )
            await self._install(provider)
        if missing:
            yield "\nYour management cluster has been initialized successfully!\n"

    async def _ensure_cert_manager(self) -> AsyncGenerator[str, None]:
        lingering = await self._client.get("Namespace", components.CERT_MANAGER_TEST)
        if lingering is None and await self._client.get("CustomResourceDefinition", _CERT_MANAGER_DEFINITION):
            yield "Skipping installing cert-manager as it is already installed"
            await self._prove()
            return
        yield f'Installing cert-manager version="{components.CERT_MANAGER_VERSION}"'
        await self._request.wait(self._clock, times.CLUSTERCTL_FETCH_CERT_MANAGER)
        for item in components.cert_manager_objects():
            await self._put(item)
        await self._request.wait(self._clock, times.CLUSTERCTL_APPLY_CERT_MANAGER)
        yield "Waiting for cert-manager to be available..."
        # Its test namespace is made once only: one that is still going away makes the whole time run out.
        deadline = self._clock.now() + times.CERT_MANAGER_TIMEOUT
        while lingering is not None or not await self._cert_manager_answers():
            if self._clock.now() >= deadline:
                raise Failed("Error: context deadline exceeded")
            await self._request.wait(self._clock, times.CLUSTERCTL_POLL)
        await self._prove()

    async def _cert_manager_answers(self) -> bool:
        found = [await self._client.get("Deployment", name, "cert-manager") for name in components.CERT_MANAGER_PARTS]
        return all(each is not None and _is_available(each) for each in found)

    async def _prove(self) -> None:
        """Make the namespace of the test, and delete it."""
        await self._client.create(components.test_namespace())
        await self._client.delete("Namespace", components.CERT_MANAGER_TEST)

    async def _install(self, provider: Provider) -> None:
        for item in components.provider_objects(provider, self._hooks):
            await self._put(item)
        await self._request.wait(self._clock, times.CLUSTERCTL_APPLY_PROVIDER)
        await self._put(components.inventory_entry(provider))

    async def _patiently(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return what is answered; an API server does not serve a new kind at once."""
        for _ in range(times.CLUSTERCTL_RETRIES):
            try:
                return await ask()
            except KubeRefused as refused:
                if refused.code not in _NOT_YET:
                    raise
            await self._request.wait(self._clock, times.CLUSTERCTL_POLL)
        return await ask()

    async def _put(self, item: Object) -> None:
        """Create an object, or patch the one that is there."""
        found = await self._client.get(item["kind"], item["metadata"]["name"], item["metadata"].get("namespace", ""))
        if found is None:
            await self._client.create(item)
        else:
            await self._client.patch(item, item)


def _version(form_wanted: str) -> Say:
    if form_wanted != "json":
        raise Failed(f'Error: invalid output format "{form_wanted}"')
    told = {"major": "1", "minor": "10", "gitVersion": VERSION, "compiler": "gc", "platform": "linux/amd64"}
    return Say(json.dumps({"clusterctl": told}, indent=2) + "\n", "out")


def _config(text: str) -> dict[tuple[str, str], str]:
    """Return the URL of each provider (by type and name) in a configuration."""
    found: dict[str, Any] = yaml.safe_load(text) or {}
    return {(each["type"], each["name"]): each["url"] for each in found.get("providers", [])}


def _providers(command: Command, urls: dict[tuple[str, str], str]) -> dict[Provider, str]:
    """Return the version asked for of each provider. Raises Failed for one that the lab does not have."""
    wanted = {}
    for provider in PROVIDERS:
        name, _, version = command[provider.flag].partition(":")
        repository, file = provider.source.split()
        url = urls.get((provider.kind, name), "")
        if name != provider.name or not url.startswith(f"https://github.com/{repository}/") or not url.endswith(file):
            raise Failed(
                f'Error: failed to get provider components for the "{command[provider.flag]}" provider: '
                f"failed to get configuration for the {provider.kind} with name {name}. Please check the provider name "
                "and/or add configuration for new providers using the .clusterctl config file"
            )
        wanted[provider] = version
    return wanted


def _check_versions(wanted: dict[Provider, str]) -> None:
    for provider, version in wanted.items():
        if version != provider.version:
            file = provider.source.split()[1]
            raise Failed(
                f'Error: failed to get provider components for the "{provider.name}:{version}" provider: '
                f'failed to read "{file}" from provider\'s repository "{provider.inventory}": '
                f"release not found for version {version}, please retry later or set "
                '"GOPROXY=off" to get the current stable release: 404 Not Found'
            )


def _is_installed(provider: Provider, installed: dict[str, Object]) -> bool:
    """True when the inventory has this version. Raises Failed when it has another one."""
    found = installed.get(provider.inventory)
    if found is None:
        return False
    if found["version"] != provider.version:
        raise Failed(
            f'Error: installing provider "{provider.inventory}" can lead to a non functioning management cluster: '
            f'there is already an instance of the "{provider.inventory}" provider installed in the '
            f'"{provider.namespace}" namespace'
        )
    return True


def _is_available(deployment: Object) -> bool:
    conditions = deployment.get("status", {}).get("conditions", [])
    return any(each["type"] == "Available" and each["status"] == "True" for each in conditions)
