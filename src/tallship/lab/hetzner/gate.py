"""The door of the API: who may come in, what goes wrong on purpose, what is counted, how it is answered."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiohttp import web

from tallship.lab.damage import damaged
from tallship.lab.faults import Fault
from tallship.lab.hetzner.balancer import Balancer
from tallship.lab.hetzner.errors import Refused
from tallship.lab.hetzner.project import Project
from tallship.lab.hetzner.ratelimit import Bucket
from tallship.lab.hetzner.routing import Call, Reply, Route
from tallship.lab.hetzner.times import SLOW_ANSWER
from tallship.lab.hetzner.tokens import Tokens
from tallship.lab.hetzner.unlisted import Unlisted
from tallship.lab.world import hold_clients, is_tallship

UNLISTED: Final = 10.0
"""Seconds for which the fault of that name keeps something out of lists."""

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]

ADMITTED: Final = web.RequestKey("admitted", bool)
"""Whether the project's request budget is told: not when the token was refused."""

REFUSALS: Final[dict[str, tuple[str, str]]] = {
    "unauthorized": ("unauthorized", "unable to authenticate"),
    "rate-limit": ("rate_limit_exceeded", "limit of requests per hour reached"),
    "token-readonly": ("token_readonly", "this token is read-only"),
    "locked": ("locked", "the resource is locked: an action is running"),
    "conflict": ("conflict", "the resource was changed during the request, try again"),
    "server-error": ("server_error", "internal server error"),
    "no-capacity": ("resource_unavailable", "error during placement: no capacity for this server type"),
    "quota": ("resource_limit_exceeded", "project limit exceeded"),
}
"""Faults that refuse a request: the fault's name, the API's code and words."""

BY_STATUS: Final = {503: "unavailable", 504: "timeout"}
"""Hetzner API: its words for errors of its own that are not a plain 500."""

CAPACITY_ROUTES: Final = ("POST /servers", "POST /servers/{id}/actions/poweron")
"""The only routes where `no-capacity` strikes."""


class Gate:
    """Turns HTTP requests into calls of the routes' handlers and their replies into HTTP."""

    def __init__(
        self, project: Project, tokens: Tokens, bucket: Bucket, balancer: Balancer, writes: Counter[str]
    ) -> None:
        self._project = project
        self._tokens = tokens
        self._bucket = bucket
        self._balancer = balancer
        self._writes = writes
        self._unlisted = Unlisted(project)

    def app(self, routes: Sequence[Route]) -> web.Application:
        """Return an application that serves the routes below `/v1`."""
        app = web.Application(middlewares=[hold_clients, self._explain])
        for route in routes:
            path = "/v1" + route.path.replace("{id}", r"{id:\d+}").replace("{action}", r"{action:\d+}")
            app.router.add_route(route.method, path, self._handler(route))
        return app

    @web.middleware
    async def _explain(self, request: web.Request, handler: Next) -> web.StreamResponse:
        """Give every answer its correlation id, and every refusal its JSON body."""
        try:
            answer = await handler(request)
        except Refused as refused:
            answer = web.json_response(refused.body(), status=refused.status)
        except web.HTTPNotFound:
            answer = _unknown("not_found", f"the lab's Hetzner API has no route {request.method} {request.path}")
        except web.HTTPMethodNotAllowed:
            answer = _unknown("method_not_allowed", f"{request.method} is not allowed on {request.path}")
        answer.headers["X-Correlation-Id"] = uuid.uuid4().hex[:16]
        if request.get(ADMITTED):
            answer.headers.update(self._bucket.headers())
        return answer

    def _handler(self, route: Route) -> Next:
        async def handle(request: web.Request) -> web.StreamResponse:
            data = await _read(request)
            facts = _facts(request, route, data)
            await self._delay(facts)
            if await self._cut(request, "reset", facts):
                return web.Response()
            self._tokens.check(request.headers.get("Authorization", ""), request.method)
            request[ADMITTED] = True
            self._bucket.drink()
            self._refuse(request, facts)
            reply = self._unlisted.seen(
                route.handler(Call(self._project, dict(request.match_info), request.query, data))
            )
            if request.method != "GET":
                await self._note_change(request, reply, facts)
            await self._cut(request, "lost-answer", facts)
            return damaged(_answer(request, reply), request, self._project.faults, facts)

        return handle

    async def _delay(self, facts: dict[str, str]) -> None:
        """Let the fault `slow` happen: the request is held before anything else."""
        if fault := self._project.faults.take("slow", **facts):
            await self._project.clock.sleep(float(fault.values.get("seconds", SLOW_ANSWER)))

    async def _cut(self, request: web.Request, name: str, facts: dict[str, str]) -> bool:
        """True when a fault cut the connection: `reset` before the request acts, `lost-answer` after it."""
        fault = self._project.faults.take(name, **facts)
        if fault is None:
            return False
        if "seconds" in fault.values:
            await self._project.clock.sleep(float(fault.values["seconds"]))
        if request.transport is not None:
            request.transport.abort()
        return True

    def _refuse(self, request: web.Request, facts: dict[str, str]) -> None:
        """Let the faults happen that refuse a request."""
        for name, (code, message) in REFUSALS.items():
            if name == "no-capacity" and facts["route"] not in CAPACITY_ROUTES:
                continue
            if name == "token-readonly" and request.method == "GET":
                continue
            if fault := self._project.faults.take(name, **facts):
                request[ADMITTED] = not fault.values.get("bare")
                status = int(fault.values.get("status", 0))
                told = str(fault.values.get("message", message))
                raise Refused(BY_STATUS.get(status, code), told, status=status, details=fault.values.get("details"))

    async def _note_change(self, request: web.Request, reply: Reply, facts: dict[str, str]) -> None:
        if reply.changed:
            tallship = is_tallship(request.headers.get("User-Agent", ""))
            self._writes["hetzner" if tallship else "controllers"] += 1
        for action in _actions(reply):
            if fault := self._project.faults.take("action-error", command=action["command"], **facts):
                self._project.actions.doom(action["id"], *_doom(fault))
            if self._project.faults.take("action-stuck", command=action["command"], **facts):
                self._project.actions.hold(action["id"])
        if request.method == "POST" and (fault := self._project.faults.take("unlisted", **facts)):
            self._unlisted.hide(reply, self._project.clock.now() + float(fault.values.get("seconds", UNLISTED)))
        await self._balancer.refresh()


async def _read(request: web.Request) -> object:
    if not request.can_read_body:
        return None
    try:
        return json.loads(await request.text() or "null")
    except ValueError as error:
        raise Refused("json_error", "the request's body is not valid JSON") from error


def _facts(request: web.Request, route: Route, data: object) -> dict[str, str]:
    """Return what faults may match: the route, the client's program, and the type and place of a new server."""
    body = data if isinstance(data, dict) else {}
    facts = {name: str(body[name]) for name in ("server_type", "location") if name in body}
    agent = request.headers.get("User-Agent", "").replace("/", " ").split(" ")[0]
    return {**facts, "api": "hetzner", "route": route.name, "agent": agent, **request.match_info}


def _actions(reply: Reply) -> list[dict[str, Any]]:
    body = reply.body or {}
    return [action for action in (body.get("action"), *body.get("actions", ())) if action]


def _doom(fault: Fault) -> tuple[str, str]:
    code = str(fault.values.get("code", "action_failed"))
    return code, str(fault.values.get("message", "the action failed"))


def _answer(request: web.Request, reply: Reply) -> web.StreamResponse:
    if reply.body is None:
        return web.Response(status=reply.status)
    answer = web.json_response(reply.body, status=reply.status)
    links = [f'<{request.url.update_query(page=page)}>; rel="{name}"' for name, page in reply.links.items()]
    if links:
        answer.headers["Link"] = ", ".join(links)
    return answer


def _unknown(code: str, message: str) -> web.Response:
    refused = Refused(code, message)
    return web.json_response(refused.body(), status=refused.status)
