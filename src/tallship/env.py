"""What a step may use: the spec, the outside world through its adapters, a private folder, and the clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tallship.engine import HEED, Clock, Step, Surroundings
from tallship.errors import ApiError, SetupError, Unreachable

QUESTIONS, BETWEEN = 3, 3.0
"""How often, and how many seconds apart, an API is asked before its silence means that it is not there."""

if TYPE_CHECKING:
    from tallship.adapters.hetzner import Hetzner
    from tallship.adapters.kube import Kube
    from tallship.adapters.object_storage import ObjectStorage
    from tallship.adapters.programs import Programs
    from tallship.adapters.talos import Talos
    from tallship.adapters.web import Web
    from tallship.spec import Spec


class SystemClock:
    """Real time; or a lab's, `speed` times faster and going on from the lab's `today`."""

    def __init__(self, speed: float = 1.0, today: datetime | None = None) -> None:
        self.speed = speed
        self._today = today
        self._began = time.monotonic()

    def now(self) -> float:
        """Return seconds that only ever grow."""
        return time.monotonic() * self.speed

    def today(self) -> datetime:
        """Return the date and time of day, in UTC."""
        if self._today is None:
            return datetime.now(UTC)
        return self._today + timedelta(seconds=(time.monotonic() - self._began) * self.speed)

    def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""
        time.sleep(seconds / self.speed)

    def run_threads(self, bodies: Sequence[Callable[[], None]]) -> None:
        """Run the bodies side by side; return when all have ended. Ctrl-C is heard while they run."""
        threads = [threading.Thread(target=body, daemon=True) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)


@dataclass(frozen=True)
class Site:
    """Where the outside is: the real one, or a lab."""

    token: str = field(repr=False)
    hetzner_endpoint: str = "https://api.hetzner.cloud/v1"
    hetzner_ca: Path | None = None
    path: str = ""
    """Where programs are looked for, as in PATH."""
    components: Path | None = None
    """A folder with what clusterctl installs, laid out as its local repositories are; None: GitHub's releases."""
    charts: Path | None = None
    """A folder with the packages of the add-ons' charts, `NAME-VERSION.tgz`; None: where they are published."""
    local_programs: Path | None = None
    """A folder with the programs of a local plane and its providers; None: what the cluster file names."""
    factory_url: str = "https://factory.talos.dev"
    address_url: str = ""
    """Answers with this machine's public address."""
    ssh_port: int = 22
    """Where the image builder's rescue system listens."""
    is_lab: bool = False


def _to_nobody(_step: Step[Any], _text: str) -> None:
    """Where nobody watches."""


@dataclass
class Env(Surroundings):
    """One cluster and everything around it. Adapters are made when they are first used."""

    spec: Spec
    site: Site
    folder: Path
    """Private to this cluster file, mode 0700."""
    clock: Clock
    base: Path = field(default_factory=Path)
    """The folder of the cluster file; paths in it are relative to this."""
    replace: bool = False
    """The person agreed that servers are replaced."""
    agreed: bool = False
    """The person agreed to what would be asked."""
    written: Spec | None = None
    """What the cluster file itself said when the command began, without what is set for this run alone."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when somebody wants the run to stop; an act that waits heeds it."""
    tell: Callable[[Step[Any], str], None] = field(default=_to_nobody)
    """Called by an act with what it has come to, for a person who watches."""

    @property
    def management_kubeconfig(self) -> Path:
        """The kubeconfig of the cluster that holds the Cluster API objects before a pivot."""
        if self.spec.management.kubeconfig is not None:
            return self.base / Path(self.spec.management.kubeconfig).expanduser()
        return self.folder / "management.kubeconfig"

    @property
    def kubeconfig(self) -> Path:
        """The cluster's own kubeconfig."""
        return self.folder / "kubeconfig"

    @property
    def talosconfig(self) -> Path:
        """The cluster's own talosconfig."""
        return self.folder / "talosconfig"

    @cached_property
    def hetzner(self) -> Hetzner:
        """Hetzner's API."""
        from tallship.adapters.hetzner import Hetzner

        return Hetzner(self.site.token, self.site.hetzner_endpoint, self.site.hetzner_ca, now=self.clock.now)

    @cached_property
    def web(self) -> Web:
        """The Image Factory and the address service."""
        from tallship.adapters.web import Web

        return Web(self.site.hetzner_ca)

    @cached_property
    def own_address(self) -> str:
        """This machine's public address, asked once per run."""
        return self.web.own_address(self.site.address_url)

    @cached_property
    def programs(self) -> Programs:
        """The external programs."""
        from tallship.adapters.programs import Programs

        return Programs(self.site.path, self.folder / "programs")

    @cached_property
    def workload(self) -> Kube:
        """The cluster's own API. Raises SetupError before the kubeconfig is there."""
        return self._kube(self.kubeconfig, "kubeconfig")

    @cached_property
    def management(self) -> Kube:
        """The API that holds the Cluster API objects before a pivot."""
        return self._kube(self.management_kubeconfig, "kind-create", self.spec.management.context)

    @cached_property
    def manages_itself(self) -> bool:
        """True when the cluster holds its own Cluster API objects, as after a pivot.

        Those in a snapshot that a management cluster is restoring do not count: they tell of servers that are gone.
        Raises Unreachable when the cluster has servers, does not answer, and is managed from nowhere else: then it may
        well manage itself, and nobody must begin anew beside it.
        """
        if not self.kubeconfig.exists():
            return False
        try:
            return self._find_cluster(self.workload) is not None and not self._is_restored_from_outside()
        except Unreachable as silence:
            if self._is_managed_outside() or not self.hetzner.list_servers(self.spec.names.owned_by_caph):
                return False
            hint = "it may manage itself: `tallship status` shows its servers"
            raise Unreachable(f"{silence.message}, and no management cluster knows it", hint=hint) from silence

    @cached_property
    def workload_answers(self) -> bool:
        """True when the cluster's own API is there, as found once per run."""
        return self.kubeconfig.exists() and self.answers(self.workload)

    def answers(self, kube: Kube) -> bool:
        """True when an API answers one of several questions: a moment's silence does not mean that it is gone."""
        for _ in range(QUESTIONS):
            if kube.is_up():
                return True
            self.clock.sleep(BETWEEN)
        return False

    def look_again(self) -> None:
        """Forget where the Cluster API objects are and how Talos is reached: both may have moved."""
        self.__dict__.pop("manages_itself", None)
        self.__dict__.pop("talos", None)

    @property
    def home(self) -> Kube:
        """The API that holds the Cluster API objects now."""
        return self.workload if self.manages_itself else self.management

    @cached_property
    def talos(self) -> Talos:
        """The nodes' Talos API."""
        from tallship.adapters.talos import Talos

        return Talos(self.talosconfig)

    @cached_property
    def storage(self) -> ObjectStorage | None:
        """The object storage of the backups; None where the file names none, and for a lab's that is not on loopback.

        Raises SetupError when its credentials are missing.
        """
        from tallship.spec.backups import is_on_loopback

        given = self.spec.backup.s3
        if given is None or (self.site.is_lab and not is_on_loopback(given.endpoint)):
            return None
        from tallship.adapters import storage_credentials
        from tallship.adapters.object_storage import ObjectStorage, Place

        file = given.credentials_file and self.base / Path(given.credentials_file).expanduser()
        credentials = storage_credentials.find(file or None, given.credentials_command)
        place = Place(given.endpoint, given.bucket, given.prefix or self.spec.name, given.region)
        return ObjectStorage(place, credentials)

    def moment(self) -> ExitStack:
        """Return what lasts as long as one probe looks: what it reads it reads once."""
        stack = ExitStack()
        for name in ("hetzner", "management", "workload"):
            if (adapter := self.__dict__.get(name)) is not None:
                stack.enter_context(adapter.memory.kept_alone())
        return stack

    def brake(self) -> tuple[float, str]:
        """Return the least seconds between two looks now, and why: Hetzner's calls are for the controllers too."""
        hetzner: Hetzner | None = self.__dict__.get("hetzner")
        return (0.0, "") if hetzner is None else hetzner.budget.brake()

    def pause(self, seconds: float) -> bool:
        """Return True after so many seconds, False as soon as somebody wants the run to stop."""
        until = self.clock.now() + seconds
        while not self.stop.is_set() and (left := until - self.clock.now()) > 0:
            self.clock.sleep(min(left, HEED))
        return not self.stop.is_set()

    def calls(self) -> dict[str, dict[str, int]]:
        """Return how often each outside thing was asked for what, by those adapters that were used."""
        names = ("hetzner", "management", "workload", "talos", "programs", "storage")
        used = {name: self.__dict__.get(name) for name in names}
        return {name: dict(adapter.calls) for name, adapter in used.items() if adapter is not None}

    def close(self) -> None:
        """Close the connections of every adapter that was used."""
        for name in ("hetzner", "management", "workload"):
            adapter = self.__dict__.get(name)
            if adapter is not None:
                adapter.close()

    def _is_managed_outside(self) -> bool:
        return self._find_cluster_outside() is not None

    def _is_restored_from_outside(self) -> bool:
        from tallship.manifests.restore import is_being_restored

        cluster = self._find_cluster_outside()
        return cluster is not None and is_being_restored(cluster)

    def _find_cluster_outside(self) -> dict[str, Any] | None:
        try:
            return self._find_cluster(self.management) if self.management_kubeconfig.exists() else None
        except Unreachable:
            return None

    def _find_cluster(self, kube: Kube) -> dict[str, Any] | None:
        try:
            return kube.find("cluster.x-k8s.io/v1beta1", "Cluster", self.spec.name, "default")
        except Unreachable:
            raise
        except ApiError as error:
            if error.code == "unknown-kind":
                return None
            raise

    def _kube(self, kubeconfig: Path, step: str, context: str | None = None) -> Kube:
        from tallship.adapters.kube import Kube

        if not kubeconfig.exists():
            raise SetupError(f"there is no {kubeconfig.name} yet", hint=f"step `{step}` makes it")
        return Kube(kubeconfig, context)
