"""The files with which people reach the cluster: kubeconfig and talosconfig."""

from __future__ import annotations

from pathlib import Path

from tallship import bounded
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.manifests import access
from tallship.ops.cluster import find_control_plane, has_providers, list_control_planes, load_balancer_address
from tallship.ops.files import is_private, put_private

RENEW_DAYS = 30
"""A client certificate with fewer days left is fetched anew."""


class KubeconfigWritten(Step[Env]):
    """The local kubeconfig has the cluster's authority, a certificate for 30 more days, mode 0600."""

    name = "kubeconfig"
    title = "Fetch the kubeconfig"

    def probe(self, env: Env) -> Seen:
        """Compare the file with the Secret that the control plane provider keeps."""
        text = stored(env, env.spec.names.kubeconfig_secret, "value")
        if text is None:
            if has_providers(env) and find_control_plane(env) is not None:
                return Seen(State.WORKING, "waiting for the control plane provider to make it")
            return Seen(State.BLOCKED, "needs `apply` first")
        return _see(env.kubeconfig, "kubeconfig", text, env)

    def act(self, env: Env, seen: Seen) -> None:
        """Write the file."""
        text = stored(env, env.spec.names.kubeconfig_secret, "value")
        put_private(env.kubeconfig, text or "")


class TalosconfigWritten(Step[Env]):
    """The local talosconfig has the cluster's authority, endpoints a person can reach, mode 0600."""

    name = "talosconfig"
    title = "Fetch the talosconfig"

    def probe(self, env: Env) -> Seen:
        """Compare the file with the Secret that the bootstrap provider keeps."""
        wanted = self._wanted(env)
        if wanted is None:
            return Seen(State.BLOCKED, "needs `wait-cp` first")
        return _see(env.talosconfig, "talosconfig", wanted, env)

    def act(self, env: Env, seen: Seen) -> None:
        """Write the file, with the load balancer as endpoint."""
        put_private(env.talosconfig, self._wanted(env) or "")

    def _wanted(self, env: Env) -> str | None:
        text = stored(env, env.spec.names.talosconfig_secret, "talosconfig")
        if text is None:
            return None
        addresses = access.node_addresses(list_control_planes(env))
        endpoints = [load_balancer_address(env)] if env.spec.load_balancer.talos_api else addresses.external
        return access.talosconfig(text, endpoints, addresses.internal)


def stored(env: Env, name: str, key: str) -> str | None:
    """Return one key of a Secret that holds the cluster's access, or None while it is not there."""
    if not has_providers(env):
        return None
    return env.home.secret_value(name, "default", key)


def _see(path: Path, noun: str, wanted: str, env: Env) -> Seen:
    if not path.exists():
        return Seen(State.MISSING, change=f"write {path}")
    try:
        reasons = access.differences(noun, _text(path), wanted, env.clock.today(), RENEW_DAYS)
    except ValueError:
        hint = "who wrote it? `tallship diagnose` looks at the controllers"
        return Seen(State.BROKEN, f"the {noun} in the Secret of Cluster API is none", hint=hint)
    if not is_private(path):
        reasons.append("others may read it")
    if reasons:
        return Seen(State.MISSING, "; ".join(reasons), change=f"write {path}")
    return Seen(State.READY, str(path))


def _text(path: Path) -> str:
    """Return the text of a file; nothing for what is none, which is written again then."""
    try:
        return bounded.read_text(path)
    except (OSError, bounded.Unreadable):
        return ""
