"""The programs' way into the lab: one long request for each run, open in both directions while the program runs."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Mapping
from contextlib import aclosing
from contextvars import Context
from typing import Any

import aiohttp
from aiohttp import web

from tallship.lab.clock import LabClock
from tallship.lab.faults import Faults
from tallship.lab.kubeclient import KubeRefused
from tallship.lab.programs.conversation import Failed, Program, ProgramRequest, Say, Terminated, WriteFile

log = logging.getLogger(__name__)

SIGTERM_STATUS = 143
"""A shell's exit status for a program that SIGTERM ended."""

NO_DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"


def routes(programs: Mapping[str, Program], faults: Faults, clock: LabClock) -> list[web.RouteDef]:
    """Return the routes to add to the lab's control API, behind its guard."""
    door = Door(programs, faults, clock)
    return [web.post("/programs/{name}", door.handle)]


class Door:
    """Runs a program for as long as its program's connection is open."""

    def __init__(self, programs: Mapping[str, Program], faults: Faults, clock: LabClock) -> None:
        self._programs = programs
        self._faults = faults
        self._clock = clock

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer with lines of JSON until the program's exit status."""
        name = request.match_info["name"]
        program = self._programs.get(name)
        if program is None:
            raise web.HTTPNotFound(text=f"the lab has no stand-in for {name}\n")
        asked = await _first_line(request)
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await answer.prepare(request)
        work = asyncio.create_task(self._run(name, program, asked, answer))
        listener = asyncio.create_task(_listen(request, asked, work))
        try:
            await asyncio.wait((work,))
        finally:
            for task in (work, listener):
                task.cancel()
            await asyncio.gather(work, listener, return_exceptions=True)
        return answer

    async def _run(self, name: str, program: Program, asked: ProgramRequest, answer: web.StreamResponse) -> None:
        status = 0
        try:
            await self._go_wrong(name, asked)
            if fault := self._faults.take("program-killed", **_facts(name, asked)):
                await self._until_killed(program, asked, answer, float(fault.values.get("seconds", 0)))
            else:
                await _tell(program, asked, answer)
        except Failed as failed:
            status = failed.status
            await _send(answer, {"err": failed.words.rstrip("\n") + "\n"})
        except Terminated:
            status = SIGTERM_STATUS
        except KubeRefused as refused:
            status = 1
            await _send(answer, {"err": f"Error: {refused}\n"})
        except (aiohttp.ClientError, OSError) as error:
            status = 1
            await _send(answer, {"err": f"Error: Kubernetes cluster unreachable: {error}\n"})
        except Exception:
            log.exception("the stand-in of %s failed at %s", name, asked.argv)
            status = 70
            await _send(answer, {"err": f"the lab's stand-in of {name} has a defect: see lab.log\n"})
        await _send(answer, {"exit": status})
        await answer.write_eof()

    async def _until_killed(
        self, program: Program, asked: ProgramRequest, answer: web.StreamResponse, seconds: float
    ) -> None:
        """Let the program work for so long and no longer; whatever is half done then stays so."""
        work = asyncio.create_task(_tell(program, asked, answer))
        timer = asyncio.create_task(self._clock.sleep(seconds), context=Context())  # the program waits, not we
        try:
            await asyncio.wait((work, timer), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return
        finally:
            for task in (work, timer):
                task.cancel()
            await asyncio.gather(work, timer, return_exceptions=True)
        await _send(answer, {"kill": int(signal.SIGKILL)})

    async def _go_wrong(self, name: str, asked: ProgramRequest) -> None:
        facts = _facts(name, asked)
        if fault := self._faults.take("program-slow", **facts):
            await asked.wait(self._clock, float(fault.values.get("seconds", 60)))
        if self._faults.take("program-hangs", **facts):
            await asked.terminated.wait()
            raise Terminated
        if fault := self._faults.take("program-fails", **facts):
            raise Failed(str(fault.values.get("stderr", "Error: on purpose")), int(fault.values.get("status", 1)))
        if name in ("kind", "docker") and asked.argv[:1] != ("version",) and self._faults.take("docker-down", **facts):
            raise Failed(NO_DAEMON)


def _facts(name: str, asked: ProgramRequest) -> dict[str, str]:
    return {"program": name, "command": asked.argv[0] if asked.argv else ""}


async def _tell(program: Program, asked: ProgramRequest, answer: web.StreamResponse) -> None:
    async with aclosing(program.handle(asked)) as outputs:  # when nobody listens any more its connections close
        async for output in outputs:
            await _send(answer, _word(output))


async def _first_line(request: web.Request) -> ProgramRequest:
    text = b""
    while not text.endswith(b"\n"):
        part = await request.content.readany()
        if not part:
            raise web.HTTPBadRequest(text="the command line is not whole\n")
        text += part
    words = json.loads(text)
    return ProgramRequest(tuple(words["argv"]), words["stdin"], words["cwd"], words["files"])


async def _listen(request: web.Request, asked: ProgramRequest, work: asyncio.Task[None]) -> None:
    """Hear SIGTERM, and end the work when the program is gone."""
    try:
        while await request.content.readany():
            asked.terminated.set()
    except (aiohttp.ClientError, OSError):
        pass  # the connection broke: the program was killed
    work.cancel()


def _word(output: Say | WriteFile) -> dict[str, Any]:
    if isinstance(output, Say):
        return {output.stream: output.text + "\n" if output.stream == "err" else output.text}
    return {"file": output.path, "text": output.text}


async def _send(answer: web.StreamResponse, word: dict[str, Any]) -> None:
    await answer.write(json.dumps(word).encode() + b"\n")
