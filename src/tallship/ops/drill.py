"""A rehearsal of the restore, beside the cluster: a real etcd opens the snapshot, a real API server serves it.

Nothing of the cluster is asked or touched. What came back is counted, and then thrown away.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tallship import versions
from tallship.adapters.kube import Kube
from tallship.engine import Flow, Seen, State, Step
from tallship.env import Env
from tallship.errors import SetupError
from tallship.localplane import plane, restored
from tallship.localplane.certificates import Pair
from tallship.localplane.plane import Settings
from tallship.manifests import bundle
from tallship.ops import bootstrap, local_programs
from tallship.ops.files import make_private_folder

COUNTED = (
    ("v1", "Namespace"),
    ("v1", "Node"),
    ("v1", "Secret"),
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("v1", "PersistentVolume"),
    ("v1", "PersistentVolumeClaim"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
)
"""The kinds that are counted."""


@dataclass
class Report:
    """What came back."""

    snapshot: dict[str, Any] = field(default_factory=dict)
    """What the backup says of itself."""
    counts: dict[str, int] = field(default_factory=dict)
    """Objects by kind, as the API server serves them."""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of the authorities in the backup."""
    problems: list[str] = field(default_factory=list)
    """What did not come back, or not as it should."""

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        return asdict(self)


@dataclass(frozen=True)
class Drill:
    """One rehearsal: an opened backup, a folder that is thrown away, and what should be found."""

    backup: Path
    """The folder with `manifest.json`, `etcd.snapshot` and `secrets.yaml`."""
    folder: Path
    expected: tuple[str, ...] = ()
    """Objects that should be there, each as `Kind/namespace/name`, of the kinds that are counted."""
    report: Report = field(default_factory=Report, compare=False)
    programs: list[Path] = field(default_factory=list, compare=False)
    """The folder with the programs, once they are there."""

    def secrets(self) -> dict[str, Any]:
        """Return the secrets bundle. Raises SetupError."""
        try:
            return bundle.read((self.backup / "secrets.yaml").read_text(encoding="utf-8"))
        except (OSError, bundle.Unreadable) as error:
            raise SetupError(f"the backup's secrets cannot be read: {error}", hint="take another backup") from error


@dataclass(frozen=True)
class ProgramsThere(Step[Env]):
    """etcd, etcdutl and the API server of the cluster's versions are on this machine."""

    name: ClassVar[str] = "drill-programs"
    title: ClassVar[str] = "Get etcd and an API server"
    timeout: ClassVar[float] = 1800

    drill: Drill

    def probe(self, env: Env) -> Seen:
        """Look whether this run has them."""
        if self.drill.programs:
            return Seen(State.READY, str(self.drill.programs[0]))
        return Seen(State.MISSING, change="find the programs, or fetch them")

    def act(self, env: Env, seen: Seen) -> None:
        """Use what the user gave, else fetch what is not there."""
        manifest = json.loads((self.drill.backup / "manifest.json").read_text(encoding="utf-8"))
        self.drill.report.snapshot = manifest["etcd"]
        wanted = versions.drill_files(manifest["versions"]["kubernetes"], str(manifest["etcd"]["cluster_version"]))
        outside = local_programs.Outside(env.clock, env.stop, env.spec.programs.mirrors)
        given = bootstrap.given_programs(env)
        found = local_programs.ensure(
            bootstrap.cache_folder(), wanted, given, lambda text: env.tell(self, text), outside
        )
        self.drill.programs.append(found)


@dataclass(frozen=True)
class SnapshotOpened(Step[Env]):
    """A real etcd's data are made of the snapshot."""

    name: ClassVar[str] = "drill-etcd"
    title: ClassVar[str] = "Open the snapshot"
    timeout: ClassVar[float] = restored.SECONDS

    drill: Drill

    def probe(self, env: Env) -> Seen:
        """Look for the data."""
        if (self.drill.folder / "etcd").is_dir():
            return Seen(State.READY)
        return Seen(State.MISSING, change="restore the snapshot into an etcd of this machine")

    def act(self, env: Env, seen: Seen) -> None:
        """Let etcdutl verify and restore it."""
        restored.restore(self.drill.folder, self.drill.programs[0], self.drill.backup / "etcd.snapshot")


@dataclass(frozen=True)
class Served(Step[Env]):
    """A real API server serves what came back, and everything that is expected is there."""

    name: ClassVar[str] = "drill-read"
    title: ClassVar[str] = "Read what came back"
    timeout: ClassVar[float] = 300

    drill: Drill

    def probe(self, env: Env) -> Seen:
        """Look whether it was read."""
        report = self.drill.report
        if report.counts:
            return Seen(State.READY, f"{sum(report.counts.values())} objects")
        return Seen(State.MISSING, change="serve it by an API server of this machine, and read it")

    def act(self, env: Env, seen: Seen) -> None:
        """Start the API server with the cluster's authority and keys, and read everything."""
        drill, secrets = self.drill, self.drill.secrets()
        drill.report.fingerprints = bundle.fingerprints(secrets)
        settings = Settings(
            drill.programs[0],
            services=env.spec.network.services,
            authority=Pair(*bundle.authority(secrets)),
            encryption=bundle.encryption(secrets),
        )
        found = plane.start(drill.folder, settings)
        kube = Kube(found.kubeconfig)
        try:
            _read(kube, drill, bundle.authority(secrets)[0])
        finally:
            kube.close()


def _read(kube: Kube, drill: Drill, authority: str) -> None:
    report, there = drill.report, set[str]()
    for api_version, kind in COUNTED:
        found = kube.list(api_version, kind)
        report.counts[kind] = len(found)
        for each in found:
            meta = each["metadata"]
            there.add("/".join(part for part in (kind, meta.get("namespace", ""), meta["name"]) if part))
    report.problems += [f"{each} did not come back" for each in drill.expected if each not in there]
    if not report.counts["Node"]:
        report.problems.append("there is no Node in it")
    published = kube.find("v1", "ConfigMap", "kube-root-ca.crt", "kube-system")
    if published and bundle.fingerprint(published["data"]["ca.crt"]) != bundle.fingerprint(authority):
        report.problems.append("the cluster's own authority is not that of the backup's secrets")


def flow(drill: Drill) -> Flow[Env]:
    """Return the rehearsal."""
    return (ProgramsThere(drill), SnapshotOpened(drill), Served(drill))


@contextmanager
def place(env: Env, opened: Path, expected: Sequence[str]) -> Iterator[Drill]:
    """Give a drill a folder of its own; at the end its programs are ended and the folder is deleted."""
    folder = env.folder / "drill"
    _throw_away(folder)
    try:
        yield Drill(opened, make_private_folder(folder), tuple(expected))
    finally:
        _throw_away(folder)


def _throw_away(folder: Path) -> None:
    if folder.exists():
        plane.stop(folder)
        shutil.rmtree(folder)
