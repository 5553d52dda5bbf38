"""Pools of workers in tallship.yaml, and what can be wrong with them beside the other settings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, StrictStr, StringConstraints

from tallship.spec.names import SERVER_NAME_LIMIT
from tallship.spec.section import Section
from tallship.spec.server_types import architecture_of, check_server_type
from tallship.spec.values import LOCATIONS, Architecture, Location, Text, mistake
from tallship.versions import Problem

if TYPE_CHECKING:
    from tallship.spec.models import Spec

MOST_OF_A_PART = 9
"""Hetzner: 10 servers in a placement group; and an update adds one before it removes one."""

MOST_PLACEMENT_GROUPS = 50
"""Hetzner: placement groups in a project."""

MOST_SERVERS = 100
"""Hetzner: servers in a network."""

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
OWN_DOMAINS = ("kubernetes.io", "k8s.io")
"""Kubernetes: labels under these are not a kubelet's to set (NodeRestriction)."""
KUBELETS_DOMAINS = ("node.kubernetes.io", "kubelet.kubernetes.io")
"""Kubernetes: except these."""
CLUSTER_API_DOMAINS = ("node-restriction.kubernetes.io", "node.cluster.x-k8s.io")
ROLE = "node-role.kubernetes.io"
"""Cluster API v1.10: labels under these it copies from a Machine to its node, also later."""
OTHERS_ROLES = (f"{ROLE}/control-plane", f"{ROLE}/master")

_DOMAIN = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
_WORD = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"


def _pool_name(text: str) -> str:
    if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", text):
        hint = "lower-case letters, digits and dashes; it begins with a letter and does not end with a dash"
        raise mistake(f"`{text}` cannot be the name of a pool", hint)
    if re.search(r"-\d+$", text):
        hint = f"`{text}` would be a part of the pool `{text.rsplit('-', 1)[0]}` when that has more than 9 servers"
        raise mistake(f"`{text}` ends with a dash and a number", hint)
    if text.startswith("control-plane"):
        raise mistake(f"`{text}` is named like the control plane", "choose another name")
    return text


def _key(text: str) -> str:
    prefix, _, name = text.rpartition("/")
    if not re.fullmatch(_WORD, name) or (("/" in text) and not (len(prefix) <= 253 and re.fullmatch(_DOMAIN, prefix))):
        raise mistake(f"`{text}` cannot be a key in Kubernetes", "write it like `example.com/disk` or `disk`")
    return text


def _label_key(text: str) -> str:
    if _key(text) in OTHERS_ROLES:
        raise mistake(f"`{text}` says that a node runs the control plane", "leave it out")
    if _is_cluster_apis(text):
        return text
    prefix = text.rpartition("/")[0]
    if _lies_in(prefix, OWN_DOMAINS) and not _lies_in(prefix, KUBELETS_DOMAINS):
        hint = f"choose a prefix of your own, or `{ROLE}/` (Kubernetes: NodeRestriction)"
        raise mistake(f"`{text}` is no label that a node may give itself", hint)
    return text


def _is_cluster_apis(key: str) -> bool:
    prefix = key.rpartition("/")[0]
    return prefix == ROLE or _lies_in(prefix, CLUSTER_API_DOMAINS)


def _lies_in(prefix: str, domains: tuple[str, ...]) -> bool:
    return any(prefix == domain or prefix.endswith(f".{domain}") for domain in domains)


def _word(text: str) -> str:
    if text and not re.fullmatch(_WORD, text):
        hint = "at most 63 of letters, digits, `.`, `_`, `-`, beginning and ending with a letter or digit; or nothing"
        raise mistake(f"`{text}` cannot be a value in Kubernetes", hint)
    return text


def _taint(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"([^=:]+)(?:=([^=:]*))?:([^=:]+)", value)
    if found is None or found[3] not in EFFECTS:
        raise mistake(
            f"`{value}` is not a taint", f"write it like `key=value:{EFFECTS[0]}`, or {', '.join(EFFECTS[1:])}"
        )
    return {"key": found[1], "value": found[2] or "", "effect": found[3]}


class Taint(Section):
    """What keeps Pods away that do not tolerate it."""

    key: Annotated[StrictStr, AfterValidator(_key)] = Field(description="the taint's key")
    value: Annotated[StrictStr, AfterValidator(_word)] = Field(default="", description="its value; may be empty")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(description="what it does to such Pods")


class Pool(Section):
    """Servers of one kind that carry work and no control plane."""

    name: Annotated[StrictStr, StringConstraints(min_length=1), AfterValidator(_pool_name)] = Field(
        description="the pool's name; with the cluster's it begins the names of its servers"
    )
    server_type: Text = Field(default="cx33", description="Hetzner's server type; cax types have arm64 processors")
    replicas: Annotated[StrictInt, Field(ge=0, le=100)] = Field(default=1, description="how many servers")
    labels: dict[Annotated[StrictStr, AfterValidator(_label_key)], Annotated[StrictStr, AfterValidator(_word)]] = Field(
        default_factory=dict,
        description="labels of its nodes; a change of others than roles replaces the pool's servers",
    )
    taints: tuple[Annotated[Taint, BeforeValidator(_taint)], ...] = Field(
        default=(), description="taints of its nodes, as `key=value:Effect`; a change replaces the pool's servers"
    )
    location: Location | None = Field(
        default=None, description="Hetzner's location; default is the cluster's, another is in the same network zone"
    )

    @property
    def architecture(self) -> Architecture:
        """The architecture of the server type."""
        return architecture_of(self.server_type)

    @property
    def node_labels(self) -> dict[str, str]:
        """The labels that its nodes give themselves."""
        return {key: value for key, value in self.labels.items() if not _is_cluster_apis(key)}

    @property
    def machine_labels(self) -> dict[str, str]:
        """The labels that Cluster API gives its nodes."""
        return {key: value for key, value in self.labels.items() if _is_cluster_apis(key)}

    @property
    def parts(self) -> tuple[int, ...]:
        """The servers of each part: a placement group is full before a large pool is. At least one part, if empty."""
        full, rest = divmod(self.replicas, MOST_OF_A_PART)
        return (MOST_OF_A_PART,) * full + ((rest,) if rest or not full else ())


def most_servers(spec: Spec) -> int:
    """Return how many servers there can be at once: an update adds one to each part before it removes one."""
    return spec.control_plane.replicas + 1 + sum(pool.replicas + len(pool.parts) for pool in spec.workers)


def check(spec: Spec) -> Iterator[Problem]:
    """Yield every problem with the pools."""
    counts = Counter(pool.name for pool in spec.workers)
    for index, pool in enumerate(spec.workers):
        path = ("workers", index)
        if counts[pool.name] > 1:
            yield Problem((*path, "name"), f"there are {counts[pool.name]} pools `{pool.name}`", "rename one")
        yield from _check_name(spec, index, pool)
        location = pool.location or spec.hetzner.location
        yield from check_server_type((*path, "server_type"), pool.server_type, location)
        if (zone := LOCATIONS[location]) != spec.hetzner.network_zone:
            message = f"{location} lies in network zone {zone}, the cluster's network in {spec.hetzner.network_zone}"
            near = ", ".join(each for each in LOCATIONS if LOCATIONS[each] == spec.hetzner.network_zone)
            yield Problem((*path, "location"), message, f"choose one of {near}")
        for (key, effect), count in Counter((each.key, each.effect) for each in pool.taints).items():
            if count > 1:
                yield Problem((*path, "taints"), f"`{key}` has the effect {effect} twice", "remove one")
    yield from _check_counts(spec)
    for key in ("name", "sha256"):
        if len(spec.architectures) > 1 and getattr(spec.image, key):
            message = f"is the {'checksum' if key == 'sha256' else key} of one image"
            yield Problem(("image", key), message, "leave it out: servers of two architectures need two")


def _check_name(spec: Spec, index: int, pool: Pool) -> Iterator[Problem]:
    example = spec.names.longest_worker(pool.name, len(pool.parts))
    if (excess := len(example) - SERVER_NAME_LIMIT) > 0:
        message = f"makes servers named like `{example}`, which is longer than {SERVER_NAME_LIMIT} characters"
        yield Problem(("workers", index, "name"), message, f"shorten it, or the cluster's name, by {excess}")


def _check_counts(spec: Spec) -> Iterator[Problem]:
    groups = 1 + sum(len(pool.parts) for pool in spec.workers)
    if groups > MOST_PLACEMENT_GROUPS:
        message = f"these pools need {groups} placement groups, and Hetzner has {MOST_PLACEMENT_GROUPS} in a project"
        yield Problem(("workers",), message, f"a group holds {MOST_OF_A_PART} servers: fewer, larger pools need fewer")
    if (servers := most_servers(spec)) > MOST_SERVERS:
        message = f"{servers} servers at once, and Hetzner takes {MOST_SERVERS} in a network"
        yield Problem(("workers",), message, "an update adds one to each placement group", fatal=False)
