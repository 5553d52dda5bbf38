"""helm 3.19: upgrade --install, history, rollback and uninstall of a release, and its version.

A helm that is killed leaves its revision pending, and the next upgrade refuses; one that gets SIGTERM marks it failed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import yaml

from tallship.lab.clock import LabClock
from tallship.lab.kubeclient import KubeClient, KubeRefused, Object
from tallship.lab.programs import charts, times
from tallship.lab.programs.charts import Chart
from tallship.lab.programs.command import Command, form, parse
from tallship.lab.programs.conversation import Failed, Output, ProgramRequest, Say, Terminated
from tallship.lab.programs.helm_objects import check_kinds, check_owners, put_objects, remove_objects
from tallship.lab.programs.releases import WHOLE, Releases, Revision, new_revision

VERSION = "v3.19.0"
FORMS = (
    form("version", required="--template"),
    form(
        "upgrade",
        required="--version --namespace --kubeconfig --values --history-max --timeout --output",
        options="--repo",
        flags="--install --reset-values",
        arguments=(2, 2),
    ),
    form("history", required="--namespace --kubeconfig --output", options="--max", arguments=(1, 1)),
    form("rollback", required="--namespace --kubeconfig", arguments=(1, 2)),
    form("uninstall", required="--namespace --kubeconfig", arguments=(1, 1)),
)
CONTENT = ("chart", "manifest", "config")
"""What makes one revision differ from another."""
_BUSY = "another operation (install/upgrade/rollback) is in progress"


class Helm:
    """`helm`."""

    def __init__(self, clock: LabClock) -> None:
        self._clock = clock

    async def handle(self, request: ProgramRequest) -> AsyncGenerator[Output, None]:
        """Do what the command line says."""
        command = parse("helm", request.argv, FORMS)
        await request.wait(self._clock, times.STARTUP)
        verb = command.form.words[0]
        if verb == "version":
            yield Say(VERSION, "out")
            return
        client = KubeClient.from_kubeconfig(request.read(command["--kubeconfig"]), f"Helm/{VERSION[1:]}")
        try:
            run = Run(client, self._clock, request, command)
            actions = {
                "upgrade": run.upgrade,
                "history": run.history,
                "rollback": run.rollback,
                "uninstall": run.uninstall,
            }
            yield await actions[verb]()
        finally:
            await client.close()


class Run:
    """One command on one release."""

    def __init__(self, client: KubeClient, clock: LabClock, request: ProgramRequest, command: Command) -> None:
        self._client = client
        self._clock = clock
        self._request = request
        self._command = command
        self._name, self._namespace = command.arguments[0], command["--namespace"]
        self._releases = Releases(client, clock, self._name, self._namespace)

    async def history(self) -> Say:
        """Tell all revisions, oldest first."""
        found = await self._existing()
        newest = found[-int(self._command.get("--max", "256")) :]
        return Say(json.dumps([_told(each) for each in newest]) + "\n", "out")

    async def upgrade(self) -> Say:
        """Install the chart, or upgrade the release to it."""
        chart = await self._fetch()
        values = _values(self._request.read(self._command["--values"]))
        history = await self._releases.history()
        if not history and "--install" not in self._command.flags:
            raise Failed(f'Error: UPGRADE FAILED: "{self._name}" has no deployed releases')
        what = "UPGRADE FAILED" if history else "INSTALLATION FAILED"
        if history and history[-1].is_pending:
            raise Failed(f"Error: {what}: {_BUSY}")
        objects = chart.render(self._name, self._namespace, values)
        await check_kinds(self._client, objects, what)
        before = _current(history)
        if before is None:
            await check_owners(self._client, objects, self._name, self._namespace)
        content = {
            "chart": {"metadata": chart.metadata(), "templates": [], "values": chart.defaults},
            "manifest": charts.manifest(objects),
        } | ({"config": values} if values else {})
        status = "pending-upgrade" if history else "pending-install"
        revision = await self._begin(history, status, content)
        await self._carry_out(revision, before, what)
        await self._supersede(history)
        await self._releases.set_status(revision, "deployed", "Upgrade complete" if history else "Install complete")
        await self._prune([*history, revision])
        return Say(json.dumps(revision.body) + "\n", "out")

    async def rollback(self) -> Say:
        """Go back to a revision: the one that is named, else the one before the newest."""
        history = await self._existing()
        named = self._command.arguments[1:]
        number = int(named[0]) if named else history[-1].number - 1
        target = next((each for each in history if each.number == number), None)
        if target is None:
            raise Failed(f"Error: release has no {number} version")
        content: dict[str, Any] = {key: target.body[key] for key in CONTENT if key in target.body}
        revision = await self._begin(history, "pending-rollback", content)
        await self._carry_out(revision, _current(history), "rollback failed")
        await self._supersede(history)
        await self._releases.set_status(revision, "deployed", f"Rollback to {number}")
        return Say("Rollback was a success! Happy Helming!\n", "out")

    async def uninstall(self) -> Say:
        """Delete the release's objects and its records."""
        history = await self._releases.history()
        if not history:
            raise Failed(f"Error: uninstall: Release not loaded: {self._name}: release: not found")
        await self._releases.set_status(history[-1], "uninstalling", "Deletion in progress (or silently failed)")
        await self._request.wait(self._clock, times.HELM_UNINSTALL)
        await remove_objects(self._client, charts.parsed(history[-1].body["manifest"]))
        for each in history:
            await self._releases.delete(each)
        return Say(f'release "{self._name}" uninstalled\n', "out")

    async def _existing(self) -> list[Revision]:
        found = await self._releases.history()
        if not found:
            raise Failed("Error: release: not found")
        return found

    async def _fetch(self) -> Chart:
        """Return the chart, after the time that fetching it takes."""
        repository, reference = self._command.get("--repo"), self._command.arguments[1]
        for prefix, seconds in times.HELM_FETCH.items():
            if (repository or reference).startswith(prefix):
                await self._request.wait(self._clock, seconds)
        return charts.find(repository, reference, self._command["--version"])

    async def _begin(self, history: list[Revision], status: str, content: dict[str, Any]) -> Revision:
        """Store the next revision as pending: what stays behind when helm is killed."""
        number = history[-1].number + 1 if history else 1
        first = history[0].body["info"]["first_deployed"] if history else ""
        revision = new_revision(self._clock, self._name, self._namespace, number, first, status, content)
        await self._releases.create(revision)
        return revision

    async def _carry_out(self, revision: Revision, before: Revision | None, what: str) -> None:
        """Apply the revision's objects; when that fails, or SIGTERM comes, the revision is failed."""
        objects = charts.parsed(revision.body["manifest"])
        old = charts.parsed(before.body["manifest"]) if before else []
        try:
            await self._request.wait(self._clock, times.HELM_APPLY_OBJECT * len(objects))
            await put_objects(self._client, objects, old)
        except Terminated:
            await self._fail(revision, "context canceled")
            raise Failed(f"Release {self._name} has been cancelled.\nError: {what}: context canceled") from None
        except KubeRefused as refused:
            await self._fail(revision, str(refused))
            raise Failed(f"Error: {what}: {refused}") from refused

    async def _fail(self, revision: Revision, why: str) -> None:
        kind = "Release" if revision.number == 1 else "Upgrade"
        await self._releases.set_status(revision, "failed", f'{kind} "{self._name}" failed: {why}')

    async def _supersede(self, history: list[Revision]) -> None:
        for each in history:
            if each.status == "deployed":
                await self._releases.set_status(each, "superseded", each.body["info"]["description"])

    async def _prune(self, history: list[Revision]) -> None:
        """Forget the oldest revisions beyond the limit; the deployed one stays."""
        limit = int(self._command["--history-max"])
        for each in history[: max(len(history) - limit, 0)] if limit else []:
            if each.status != "deployed":
                await self._releases.delete(each)


def _current(history: list[Revision]) -> Revision | None:
    """Return the revision whose objects are in the cluster: the deployed one, else the newest that is not pending."""
    deployed = [each for each in history if each.status == "deployed"]
    others = [each for each in history if each.status in (*WHOLE, "failed")]
    return next(iter([*reversed(deployed), *reversed(others)]), None)


def _values(text: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise Failed(f"Error: failed to parse -: {error}") from error
    if not isinstance(values, dict):
        raise Failed("Error: failed to parse -: cannot unmarshal into map[string]interface {}")
    return values


def _told(revision: Revision) -> Object:
    metadata = revision.body["chart"]["metadata"]
    return {
        "revision": revision.number,
        "updated": revision.body["info"]["last_deployed"],
        "status": revision.status,
        "chart": f"{metadata['name']}-{metadata['version']}",
        "app_version": metadata["appVersion"],
        "description": revision.body["info"]["description"],
    }
