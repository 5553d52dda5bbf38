"""The stand-ins' webhooks as real API servers call them: AdmissionReview over HTTPS."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tallship.lab.controllers.patch import copy_json
from tallship.lab.kube.admission import admit, denial
from tallship.lab.kube.errors import RefusedRequest

Document = dict[str, Any]
Answer = Callable[[Document], Document]
_DEFAULTED = ("/spec", "/metadata/labels")
"""What defaults are filled into."""


def app(runs: Callable[[str], bool]) -> web.Application:
    """Return the server of `/PROVIDER/defaults` and `/PROVIDER/verdict`; a provider that does not run has no answer."""

    def answering(answer: Answer) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            if not runs(request.match_info["provider"]):
                raise web.HTTPServiceUnavailable(text="no endpoints available for service")
            review = await request.json()
            given = {"uid": review["request"]["uid"], **answer(review["request"])}
            return web.json_response({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": given})

        return handle

    made = web.Application()
    made.router.add_post("/{provider}/defaults", answering(defaults))
    made.router.add_post("/{provider}/verdict", answering(verdict))
    return made


def defaults(request: Document) -> Document:
    """Return the JSON patch that fills in defaults; what is wrong with the object is the other webhook's to say."""
    new = copy_json(request["object"])
    with contextlib.suppress(RefusedRequest):
        admit(new, request.get("oldObject"), bool(request.get("dryRun")))
    patch = [
        {"op": "add", "path": path, "value": _at(new, path)}
        for path in _DEFAULTED
        if _at(new, path) != _at(request["object"], path)
    ]
    encoded = base64.b64encode(json.dumps(patch).encode()).decode()
    return {"allowed": True, **({"patchType": "JSONPatch", "patch": encoded} if patch else {})}


def verdict(request: Document) -> Document:
    """Return whether the object is allowed, and why not."""
    new = copy_json(request["object"])
    try:
        admit(new, request.get("oldObject"), bool(request.get("dryRun")))
    except RefusedRequest as refusal:
        status = refusal.body()
        status["message"] = str(status["message"]).removeprefix(denial(new["kind"]))
        return {"allowed": False, "status": status}
    return {"allowed": True}


def _at(item: Document, path: str) -> Any:
    for part in path.strip("/").split("/"):
        item = item.get(part) or {}
    return item
