"""Things that are there and in no list yet: an API whose reads come from a copy that is behind."""

from __future__ import annotations

from dataclasses import replace

from tallship.lab.hetzner.project import Project
from tallship.lab.hetzner.routing import Reply


class Unlisted:
    """What lists leave out, until when; a question for one thing by its id finds it."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._until: dict[int, float] = {}

    def hide(self, reply: Reply, until: float) -> None:
        """Keep what this reply tells of out of lists until then, in lab time."""
        for name, made in (reply.body or {}).items():
            if name != "action" and isinstance(made, dict) and "id" in made:
                self._until[int(made["id"])] = until

    def seen(self, reply: Reply) -> Reply:
        """Return a reply without what its lists leave out."""
        hidden = {key for key, until in self._until.items() if self._project.clock.now() < until}
        if not hidden or not reply.body or "meta" not in reply.body:
            return reply
        lists = {
            name: [each for each in found if each["id"] not in hidden]
            for name, found in reply.body.items()
            if isinstance(found, list)
        }
        return replace(reply, body={**reply.body, **lists})
