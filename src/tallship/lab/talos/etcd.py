"""etcd as membership: who is a member of which cluster, who leads, and whether there is a quorum."""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import asdict, dataclass, fields
from typing import Any

from tallship.lab.store import Store


@dataclass(frozen=True)
class Identity:
    """What all machines of a cluster must have in common."""

    cluster_id: str
    cluster_secret: str
    token: str
    endpoint: str
    os_ca: str
    kubernetes_ca: str
    bootstrap_token: str
    etcd_ca: str

    def difference(self, other: Identity) -> str:
        """Return what keeps a machine with the other identity out, or nothing. A worker knows no etcd authority."""
        known = {**asdict(other), "etcd_ca": other.etcd_ca or self.etcd_ca}
        return next((_REFUSALS[name] for name, value in asdict(self).items() if known[name] != value), "")


_REFUSALS = {
    "etcd_ca": "error adding member: tls: failed to verify certificate: x509: certificate signed by unknown authority",
    "os_ca": "trustd: tls: failed to verify certificate: x509: certificate signed by unknown authority",
    "kubernetes_ca": "kubelet: tls: failed to verify certificate: x509: certificate signed by unknown authority",
    "bootstrap_token": "kubelet: failed to run: cannot create certificate signing request: Unauthorized",
    "cluster_id": "no members of this cluster found: discovery knows another cluster ID at this endpoint",
    "cluster_secret": "no members of this cluster found: discovered affiliates cannot be decrypted",
    "token": "trustd: rpc error: code = Unauthenticated desc = invalid token",
    "endpoint": "no members of this cluster found: the control plane endpoint is another cluster's",
}


@dataclass(frozen=True)
class Member:
    """One member, as the list of members has it."""

    id: int
    server_id: int
    hostname: str
    address: str
    is_learner: bool
    joined_at: float


class Etcd:
    """The etcd of every cluster, by cluster id; remembered in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._table = store.table("talos.etcd")
        self.upgrade_locks: set[str] = set()
        """The clusters (ids) of which a machine is asking etcd whether it may be upgraded."""

    def new_keyspace(self, cluster_name: str) -> str:
        """Return a name for what is stored in a new etcd: none that was given out before, and empty."""
        number = self._store.next_id(f"talos.etcd.{cluster_name}")
        return f"workload-{cluster_name}" + (f"-{number}" if number > 1 else "")

    def bootstrap(
        self, identity: Identity, keyspace: str, server_id: int, hostname: str, address: str, now: float
    ) -> Member:
        """Make a new etcd whose only member is this machine; it has the objects of its keyspace."""
        first = self._new_member(server_id, hostname, address, now, is_learner=False)
        document = {
            "identity": asdict(identity),
            "keyspace": keyspace,
            "members": [asdict(first)],
            "leader": server_id,
            "term": 2,
        }
        self._table[identity.cluster_id] = document
        return first

    def exists(self, cluster_id: str) -> bool:
        """True when this cluster has an etcd with at least one member."""
        return bool(self._table.get(cluster_id, {}).get("members"))

    def keyspace(self, cluster_id: str) -> str:
        """Return the name of what is stored in this etcd: `workload-NAME`, numbered from the second of that name on."""
        return str(self._table[cluster_id]["keyspace"])

    def forget(self, cluster_id: str) -> None:
        """Forget a cluster whose last machine is gone."""
        self._table.pop(cluster_id, None)

    def refusal(self, identity: Identity) -> str:
        """Return what keeps a machine of that identity out of the etcd that it would join, or nothing.

        A cluster is recognised by any part of its identity: one part that differs is what keeps the machine out.
        """
        for document in self._table.values():
            known = Identity(**document["identity"])
            related = any(getattr(known, each.name) == getattr(identity, each.name) for each in fields(identity))
            if document["members"] and related:
                return known.difference(identity)
        return ""

    def members(self, cluster_id: str) -> list[Member]:
        """Return the members in the order in which they came."""
        return [Member(**each) for each in self._table.get(cluster_id, {}).get("members", [])]

    def member_of(self, cluster_id: str, server_id: int) -> Member | None:
        """Return the member that runs on a machine."""
        return next((each for each in self.members(cluster_id) if each.server_id == server_id), None)

    def join(self, cluster_id: str, server_id: int, hostname: str, address: str, now: float) -> Member | None:
        """Add a machine as a learner; None while another one is learning. An old member of that name goes."""
        members = [each for each in self.members(cluster_id) if each.hostname != hostname]
        if any(each.is_learner for each in members):
            return None
        learner = self._new_member(server_id, hostname, address, now, is_learner=True)
        self._keep(cluster_id, [*members, learner])
        return learner

    def promote(self, cluster_id: str, server_id: int) -> None:
        """Make a learner a voter."""
        changed = [
            Member(**{**asdict(each), "is_learner": False}) if each.server_id == server_id else each
            for each in self.members(cluster_id)
        ]
        self._keep(cluster_id, changed)

    def remove(self, cluster_id: str, member_id: int) -> bool:
        """Remove a member; False when there is none of that id."""
        members = self.members(cluster_id)
        kept = [each for each in members if each.id != member_id]
        self._keep(cluster_id, kept)
        return len(kept) < len(members)

    def has_quorum(self, cluster_id: str, alive: Set[int]) -> bool:
        """True when more than half of the voters are alive (server ids)."""
        voters = [each for each in self.members(cluster_id) if not each.is_learner]
        return sum(each.server_id in alive for each in voters) > len(voters) / 2

    def leader(self, cluster_id: str, alive: Set[int]) -> Member | None:
        """Return the leader; another voter is elected when it is gone. None without a quorum."""
        if not self.has_quorum(cluster_id, alive):
            return None
        candidates = [each for each in self.members(cluster_id) if not each.is_learner and each.server_id in alive]
        leading = self._table[cluster_id]["leader"]
        found = next((each for each in candidates if each.server_id == leading), candidates[0])
        if found.server_id != leading:
            self._lead(cluster_id, found)
        return found

    def forfeit(self, cluster_id: str, server_id: int, alive: Set[int]) -> Member | None:
        """Move the leadership away from a machine; returns the new leader, None when it did not lead."""
        leading = self.leader(cluster_id, alive)
        if leading is None or leading.server_id != server_id:
            return None
        others = [each for each in self.members(cluster_id) if each.server_id != server_id]
        self._lead(cluster_id, others[0])
        return others[0]

    def term(self, cluster_id: str) -> int:
        """Return how many elections there were."""
        return int(self._table[cluster_id]["term"])

    def _lead(self, cluster_id: str, member: Member) -> None:
        document = self._table[cluster_id]
        self._table[cluster_id] = {**document, "leader": member.server_id, "term": document["term"] + 1}

    def _keep(self, cluster_id: str, members: list[Member]) -> None:
        self._table[cluster_id] = {**self._table[cluster_id], "members": [asdict(each) for each in members]}

    def _new_member(self, server_id: int, hostname: str, address: str, now: float, **values: Any) -> Member:
        number = self._store.next_id("talos.member")
        digest = hashlib.sha256(f"{server_id} {number}".encode()).digest()
        return Member(int.from_bytes(digest[:8]), server_id, hostname, address, joined_at=now, **values)
