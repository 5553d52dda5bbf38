"""Images that nodes need soon, pulled while they wait for something else."""

from __future__ import annotations

from tallship.adapters import reach
from tallship.adapters.talos import Talos
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import ApiError
from tallship.manifests import access, addons, conditions
from tallship.ops.access import stored
from tallship.ops.cluster import TALOS_PORT, find_control_plane, has_providers, list_control_planes


class CiliumPulled(Step[Env]):
    """Cilium's agent is on the nodes before their kubelets ask for it, or the control plane was faster.

    It is the largest image of a new node, which is not Ready without it. While Talos starts etcd and the API server
    there is time to pull it. Where that fails the kubelet pulls it later, as ever: nothing here ends a run.
    """

    name = "pull-cilium"
    title = "Pull Cilium's image ahead"
    timeout = 1800  # later than `wait-cp`, whose verdict is the one that counts
    interval = 4

    def probe(self, env: Env) -> Seen:
        """Ask which machines answer; an initialized control plane needs nothing any more."""
        live = find_control_plane(env) if has_providers(env) else None
        if live is None:
            return Seen(State.BLOCKED, "needs `apply` first")
        if conditions.initialized(live):
            return Seen(State.READY)
        nodes = self._nodes(env)
        answering = reach.listening(nodes.external, TALOS_PORT)
        if len(answering) < env.spec.control_plane.replicas:
            return Seen(State.WORKING, "waiting for Talos on every machine")
        image = addons.cilium_image(env.spec)
        found = self._talos(env, nodes).images(nodes.internal)
        lacking = [node for node, names in found.items() if isinstance(names, ApiError) or image not in names]
        if not lacking:
            return Seen(State.READY, image)
        return Seen(State.MISSING, change=f"pull {image} on {len(lacking)} nodes")

    def act(self, env: Env, seen: Seen) -> None:
        """Pull it on all nodes at once; a node where that fails is left to its kubelet."""
        nodes = self._nodes(env)
        self._talos(env, nodes).pull_image(nodes.internal, addons.cilium_image(env.spec))

    def _nodes(self, env: Env) -> access.Addresses:
        return access.node_addresses(list_control_planes(env))

    def _talos(self, env: Env, nodes: access.Addresses) -> Talos:
        """Return the machines at their own addresses: no load balancer sends anybody to them yet."""
        return Talos(stored(env, env.spec.names.talosconfig_secret, "talosconfig") or "", nodes.external)
