"""Actions over the API: by id, and as lists of what happened to a resource."""

from __future__ import annotations

from typing import Final

from tallship.lab.hetzner.errors import gone, not_found
from tallship.lab.hetzner.routing import Call, Reply, Route, listed


def action_routes(noun: str, plural: str) -> list[Route]:
    """Return the routes that list and get the actions of a noun's resources."""

    def of_all(call: Call) -> Reply:
        return listed(call, "actions", call.project.actions.of(noun), ("id", "status"))

    def of_one(call: Call) -> Reply:
        call.project.get(noun, call.id)
        return listed(call, "actions", call.project.actions.of(noun, call.id), ("id", "status"))

    return [
        Route("GET", f"/{plural}/actions", of_all),
        Route("GET", f"/{plural}/actions/{{id}}", get_action),
        Route("GET", f"/{plural}/{{id}}/actions", of_one),
        Route("GET", f"/{plural}/{{id}}/actions/{{action}}", get_action),
    ]


def get_action(call: Call) -> Reply:
    """Return the action whose id stands last in the path."""
    key = call.path.get("action", call.path["id"])
    action = call.project.actions.find(key)
    if action is None:
        raise not_found("action", key)
    return Reply(200, {"action": action})


def list_actions(call: Call) -> Reply:
    """Return the actions with the ids of the query; Hetzner removed the list of all actions on 2025-01-30."""
    wanted = call.query.getall("id", [])
    if not wanted:
        raise gone("https://docs.hetzner.cloud/changelog#2025-01-30-listing-arbitrary-actions-in-the-actions-list")
    found = [action for key in wanted if (action := call.project.actions.find(key))]
    return listed(call, "actions", found, ("id", "status"))


ROUTES: Final = [
    Route("GET", "/actions", list_actions),
    Route("GET", "/actions/{id}", get_action),
]
