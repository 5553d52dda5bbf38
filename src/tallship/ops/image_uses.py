"""Which clusters need which image: told by their templates where they can be asked, and by their servers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tallship.adapters.kube import Kube
from tallship.env import Env
from tallship.errors import ApiError, SetupError
from tallship.ops.kinds import HCLOUD_MACHINE_TEMPLATE

CLUSTER_LABEL = "cluster.x-k8s.io/cluster-name"
SERVER_LABEL = "caph-cluster-"
"""CAPH v1.0.7 labels each server with this and the cluster's name."""
SECONDS = 5.0
"""How long a cluster may take to answer: one that is gone must not hold up the others."""


@dataclass
class Uses:
    """What is known of who needs what."""

    by_name: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Clusters whose HCloudMachineTemplates name an image."""
    by_id: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Clusters that have a server made from a snapshot."""
    answered: set[Path] = field(default_factory=set)
    silent: set[Path] = field(default_factory=set)
    """Kubeconfigs whose clusters answered, and did not."""

    def of(self, number: int, name: str) -> tuple[str, ...]:
        """Return the clusters that use a snapshot."""
        return tuple(sorted(self.by_id.get(number, set()) | self.by_name.get(name, set())))


def find(env: Env) -> Uses:
    """Ask every cluster that this person has a kubeconfig of, side by side, and look at the project's servers."""
    uses = Uses()
    for server in env.hetzner.list_servers():
        owners = {label.removeprefix(SERVER_LABEL) for label in server.labels if label.startswith(SERVER_LABEL)}
        if server.image is not None and owners:
            uses.by_id[server.image] |= owners
    env.clock.run_threads([partial(_ask, uses, path, context) for path, context in _kubeconfigs(env)])
    return uses


def is_unknown(env: Env, uses: Uses) -> bool:
    """True when this file's cluster has servers and does not answer: it may need an image that no server has yet."""
    own = {env.kubeconfig, env.management_kubeconfig}
    has_servers = any(env.spec.name in clusters for clusters in uses.by_id.values())
    return has_servers and not own & uses.answered


def _kubeconfigs(env: Env) -> Iterator[tuple[Path, str | None]]:
    """Yield this cluster's kubeconfigs, and those in the state folders beside its own."""
    if env.management_kubeconfig.exists():
        yield env.management_kubeconfig, env.spec.management.context
    folders = [env.folder, *(each for each in env.folder.parent.iterdir() if each != env.folder and each.is_dir())]
    for folder in folders:
        for name in ("kubeconfig", "management.kubeconfig"):
            path = folder / name
            if path.exists() and path != env.management_kubeconfig:
                yield path, None


def _ask(uses: Uses, path: Path, context: str | None) -> None:
    try:
        with closing(Kube(path, context, SECONDS)) as kube:
            templates = kube.list(*HCLOUD_MACHINE_TEMPLATE)
    except (ApiError, SetupError):
        uses.silent.add(path)
        return
    uses.answered.add(path)
    for template in templates:
        name = template["spec"]["template"]["spec"].get("imageName", "")
        uses.by_name[name].add(_cluster(template["metadata"]))


def _cluster(metadata: Mapping[str, Any]) -> str:
    """Return the cluster that a template belongs to; the template's own name where nothing says so."""
    owners = [each["name"] for each in metadata.get("ownerReferences") or [] if each["kind"] == "Cluster"]
    return str((metadata.get("labels") or {}).get(CLUSTER_LABEL) or (owners or [metadata["name"]])[0])
