"""Who may change a cluster now: one run at a time, also from several machines.

A Lease lies beside the Cluster API objects, as controllers that elect a leader use one. It is taken just before a run's
first act, so that a run that changes nothing writes none, renewed while the run lasts, and given back at its end. A
machine's clock is never compared with another's: a Lease has run out when nobody has renewed it for as long as it is
valid, seen from here.
"""

from __future__ import annotations

import getpass
import os
import platform
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tallship.adapters.kube import Kube
from tallship.engine import Guard
from tallship.env import Env
from tallship.errors import ApiError, Interrupted, SetupError, TallshipError, Unreachable
from tallship.ops import bootstrap
from tallship.spec.names import NAMESPACE

LEASE = ("coordination.k8s.io/v1", "Lease")
VALID = 30
"""Seconds for which a Lease holds after it was renewed last."""
RENEWAL = 10
"""Seconds between two renewals."""
LOOK = 5
"""Seconds between two looks at a Lease of somebody else."""
LATE = 4 * VALID
"""Seconds after which nobody tries any more to take one that others are always faster to take."""
DOING = "tallship.dev/doing"
"""Annotation: the command that holds it."""

Document = dict[str, Any]


class ClusterLease(Guard):
    """One run's right to change a cluster."""

    def __init__(self, env: Env, doing: str, pace: float | None = None) -> None:
        """`pace`: after how many seconds of this machine it is renewed side by side; None: whoever made it does so."""
        self.holder = f"{getpass.getuser()}@{platform.node()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        self.lost_to = ""
        """Who has taken it over while this run could not renew it."""
        self._env = env
        self._doing = doing
        self._pace = pace
        self._kube: Kube | None = None
        self._alone = threading.RLock()
        self._ended = threading.Event()

    def take(self, tell: Callable[[str], None] = lambda _text: None) -> None:
        """Return when this run holds the Lease, or there is no management cluster yet that could keep one.

        A run that crashed elsewhere is waited for until its Lease has run out; `tell` hears of it. Raises SetupError
        that tells who holds it, Interrupted, or ApiError.
        """
        with self._alone:
            if self.lost_to:
                raise self._lost()
            kube = self._home()
            if kube is None or kube is self._kube:
                return
            self._take_in(kube, tell)
            self._give_back()
            self._kube = kube

    def renew(self) -> None:
        """Say that this run still lives; a Lease that somebody has taken over stops the run at its next wait."""
        with self._alone:
            if self._kube is None:
                return
            found = self._find(self._kube)
            if found is not None and _holder(found) != self.holder:
                self.lost_to, self._kube = _told(found), None
                self._env.stop.set()
            elif found is not None:
                self._kube.patch(*LEASE, self._name, NAMESPACE, self._content(found))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Renew it side by side with what is done here, once it is taken; give it back at the end.

        Raises SetupError instead of Interrupted when somebody has taken it over.
        """
        if self._pace is not None:
            threading.Thread(target=self._keep_renewing, args=(self._pace,), daemon=True).start()
        try:
            yield
        except Interrupted as stop:
            if self.lost_to:
                raise self._lost() from stop
            raise
        finally:
            self._ended.set()
            with self._alone, suppress(TallshipError):
                self._give_back()

    def _home(self) -> Kube | None:
        """Return the API that keeps the Lease; None when it is not there, or not any more, so that nobody holds one."""
        try:
            return self._env.home if bootstrap.home_answers(self._env) else None
        except Unreachable:
            return None

    def _keep_renewing(self, pace: float) -> None:
        while not self._ended.wait(pace):
            with self._alone, suppress(TallshipError):  # an API that is away for a moment: the next one may do
                if not self._ended.is_set():
                    self.renew()

    def _take_in(self, kube: Kube, tell: Callable[[str], None]) -> None:
        """Take it; whoever lives renews it within the time for which it is valid."""
        clock, version, since = self._env.clock, "", 0.0
        late = clock.now() + LATE
        while True:
            found = self._find(kube)
            now = clock.now()
            if found is not None and version and found["metadata"]["resourceVersion"] != version and _holder(found):
                raise _held(found)
            if found is None or not _holder(found) or (version and now - since >= VALID):
                with _unless_somebody_was_faster():
                    self._write(kube, found)
                    return
            elif not version:
                version, since = found["metadata"]["resourceVersion"], now
                tell(f"{_told(found)} holds the cluster: if it has crashed, this run goes on in {VALID} s")
            if now >= late:
                raise _held(found)
            if not self._env.pause(LOOK):
                raise Interrupted("stopped while another run holds the cluster", hint="run the same command again")

    def _write(self, kube: Kube, found: Document | None) -> None:
        if found is None:
            meta = {"name": self._name, "namespace": NAMESPACE}
            content = self._content({"metadata": meta})
            kube.create({"apiVersion": LEASE[0], "kind": LEASE[1], **content, "metadata": meta | content["metadata"]})
        else:
            kube.patch(*LEASE, self._name, NAMESPACE, self._content(found))

    def _give_back(self) -> None:
        kube, self._kube = self._kube, None
        found = self._find(kube) if kube is not None else None
        if kube is not None and found is not None and _holder(found) == self.holder:
            version = {"resourceVersion": found["metadata"]["resourceVersion"]}
            kube.patch(*LEASE, self._name, NAMESPACE, {"metadata": version, "spec": {"holderIdentity": None}})

    def _find(self, kube: Kube) -> Document | None:
        return kube.find(*LEASE, self._name, NAMESPACE)

    def _content(self, found: Document) -> Document:
        """Return what says that this run holds it; refused when somebody else has written since `found`."""
        now = f"{self._env.clock.today():%Y-%m-%dT%H:%M:%S.%fZ}"
        spec = {"holderIdentity": self.holder, "leaseDurationSeconds": VALID, "renewTime": now}
        if _holder(found) != self.holder:
            spec["acquireTime"] = now
        version = found["metadata"].get("resourceVersion")
        meta: Document = {"annotations": {DOING: self._doing}, **({"resourceVersion": version} if version else {})}
        return {"metadata": meta, "spec": spec}

    @property
    def _name(self) -> str:
        return f"tallship-{self._env.spec.name}"

    def _lost(self) -> SetupError:
        return SetupError(
            f"{self.lost_to} has taken this cluster over: this run could not say for {VALID} s that it lives",
            hint="`tallship status` shows what it does; run this again when it has ended",
        )


@contextmanager
def _unless_somebody_was_faster() -> Iterator[None]:
    """Pass over the API server's word that somebody else has written first."""
    try:
        yield
    except ApiError as error:
        if error.code not in ("Conflict", "AlreadyExists"):
            raise


def _holder(lease: Document) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _told(lease: Document) -> str:
    doing = (lease["metadata"].get("annotations") or {}).get(DOING, "another run")
    who, _, rest = _holder(lease).partition("_")
    return f"{who}, process {rest.partition('_')[0]} (`{doing}`)" if rest else f"{who} (`{doing}`)"


def _held(lease: Document | None) -> SetupError:
    if lease is None:
        return SetupError("others are always faster to take this cluster", hint="run the same command again later")
    return SetupError(
        f"{_told(lease)} is working on this cluster",
        detail=f"its Lease {lease['metadata']['name']} was renewed at {lease['spec'].get('renewTime')}",
        hint="wait for it, or stop it with Ctrl-C there",
    )
