"""Which server type the control plane gets: the first of those in the cluster file that can be had when it is needed.

A control plane that stands keeps the type that it has. Another is chosen only when its servers are replaced anyway, or
when one that has to be made cannot be had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tallship.env import Env
from tallship.errors import ApiError
from tallship.manifests import image
from tallship.ops import bootstrap
from tallship.ops.kinds import CONTROL_PLANE, HCLOUD_MACHINE_TEMPLATE
from tallship.spec import Spec

Document = dict[str, Any]


def placed(env: Env) -> Spec:
    """Return the cluster file with the server type that its control plane has or gets."""
    return with_type(env.spec, chosen(env)) if env.spec.control_plane.fallback_types else env.spec


def with_type(spec: Spec, server_type: str) -> Spec:
    """Return the cluster file with another server type for its control plane."""
    plane = spec.control_plane.model_copy(update={"server_type": server_type})
    return spec.model_copy(update={"control_plane": plane})


def chosen(env: Env) -> str:
    """Return the server type of the control plane; asks Hetzner only when there is a choice to make."""
    plane = env.spec.control_plane
    if not plane.fallback_types:
        return plane.server_type
    live = _live_type(env)
    if live in plane.types:
        return live
    return next(available(env, plane.types), plane.server_type)


def available(env: Env, types: Iterable[str]) -> Iterator[str]:
    """Yield those types that can be had in the cluster's location now."""
    for name in types:
        found = env.hetzner.find_server_type(name)
        if found is not None and env.spec.hetzner.location in found.available_in:
            yield name


def _live_type(env: Env) -> str:
    """Return the type of the control plane's template; nothing before there is one, or when a roll-out is due."""
    try:
        if not bootstrap.home_answers(env):
            return ""
        plane = env.home.find(*CONTROL_PLANE, env.spec.names.control_plane, "default")
        if plane is None:
            return ""
        name = plane["spec"]["infrastructureTemplate"]["name"]
        template = env.home.find(*HCLOUD_MACHINE_TEMPLATE, name, "default")
    except ApiError:
        return ""  # what it is asked for is told by who asks next
    machine = template["spec"]["template"]["spec"] if template else {}
    is_due = plane["spec"]["version"] != env.spec.kubernetes.version or machine.get("imageName") != image.name(env.spec)
    return "" if env.replace and is_due else str(machine.get("type", ""))
