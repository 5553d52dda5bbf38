"""Cluster API and its providers in a local plane: definitions and webhooks in its API, managers as its programs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tallship import versions
from tallship.adapters.kube import Kube
from tallship.engine import Seen, State
from tallship.env import Env
from tallship.errors import SetupError
from tallship.localplane import components, manager
from tallship.localplane.child import State as Running
from tallship.localplane.kubernetes import LOOPBACK
from tallship.localplane.plane import LocalPlane
from tallship.ops.bootstrap import LocalCluster, ensure_programs
from tallship.ops.files import put_private
from tallship.versions import Provider

INSTALLED = "providers.json"
"""Which provider was installed at which version, in the plane's folder."""
PASSED_ON = ("HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "https_proxy", "no_proxy")
"""What a manager needs of the environment to reach Hetzner from this machine."""


def probe(env: Env) -> Seen:
    """Compare what is installed, and runs, with the pinned versions."""
    cluster = LocalCluster(env)
    found = cluster.find()
    if found is None:
        return Seen(State.BLOCKED, "needs `kind-create` first")
    known = _installed(cluster)
    absent = [f"{each.inventory} {each.version}" for each in versions.PROVIDERS if _differs(each, known, found)]
    if absent:
        return Seen(State.MISSING, change=f"install {', '.join(absent)}")
    running = found.programs()
    waiting = [each.component for each in versions.PROVIDERS if running[each.component].state is not Running.READY]
    if waiting:
        return Seen(State.WORKING, f"waiting for {', '.join(waiting)}")
    return Seen(State.READY)


def act(env: Env, tell: Callable[[str], None]) -> None:
    """Apply each provider's definitions and webhooks, and start its manager; `tell` hears how far that is."""
    cluster, programs = LocalCluster(env), ensure_programs(env, tell)
    found = cluster.find()
    if found is None:
        raise SetupError("the local plane does not run", hint="`tallship up --only kind-create` starts it")
    known = _installed(cluster)
    for provider in versions.PROVIDERS:
        if _differs(provider, known, found):
            tell(f"install {provider.inventory} {provider.version}")
            _install(env.management, found, provider, programs)
            known[provider.component] = provider.version
            put_private(cluster.folder / INSTALLED, json.dumps(known, indent=1))


def explain(env: Env) -> list[str]:
    """Return how the managers ended that do not run."""
    found = LocalCluster(env).find()
    programs = found.programs() if found is not None else {}
    return [f"{name}: {each.last_end}" for name, each in programs.items() if each.last_end]


def _install(kube: Kube, plane: LocalPlane, provider: Provider, programs: Path) -> None:
    program = programs / provider.component
    flags = manager.known_flags(program)
    url = f"https://{LOOPBACK}:{manager.webhook_port(plane, provider.component, flags)}"
    for each in components.for_processes(_documents(programs / provider.file), url, plane.authority):
        kube.apply(each)
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": provider.namespace}})
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    plane.add(manager.describe(plane, provider.component, program, flags, environment))


def _documents(file: Path) -> list[dict[str, Any]]:
    try:
        return [each for each in yaml.load_all(file.read_text(), yaml.CSafeLoader) if isinstance(each, dict)]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        hint = "it is what the provider publishes with its release"
        raise SetupError(f"cannot read the components in `{file}`", detail=str(error), hint=hint) from error


def _installed(cluster: LocalCluster) -> dict[str, str]:
    try:
        known: dict[str, str] = json.loads((cluster.folder / INSTALLED).read_text())
    except (OSError, ValueError):
        return {}
    return known


def _differs(provider: Provider, known: dict[str, str], plane: LocalPlane) -> bool:
    return known.get(provider.component) != provider.version or provider.component not in plane.programs()
