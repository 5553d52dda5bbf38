"""What every reconciliation of CAPH begins with: its Cluster, its token, and a client for that token."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tallship.lab.clock import wall
from tallship.lab.controllers.caph.hcloud import HCloud, HCloudError, Hetzner
from tallship.lab.controllers.conditions import Conditions, find
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import add_finalizer, add_owner, secret_value, set_label
from tallship.lab.controllers.patch import copy_json
from tallship.lab.http_session import HttpSession
from tallship.lab.kubeclient import Object

SECRET_FINALIZER = "infrastructure.cluster.x-k8s.io/caph-secret"  # noqa: S105 - a name
SOURCE = "hetzner-controller"
RATE_LIMIT_PAUSE = timedelta(minutes=5)
RATE_LIMIT_POLL = 30.0


@dataclass
class Scope:
    """The parts of CAPH that all its controllers share."""

    api: CachedApi
    hetzner: Hetzner
    http: HttpSession = field(default_factory=HttpSession)

    def client(self, hetzner_cluster: Object) -> HCloud | None:
        """Return a client with the token of a HetznerCluster's Secret; None while there is no token."""
        ref = hetzner_cluster["spec"]["hetznerSecretRef"]
        secret = self.api.get("Secret", ref["name"], hetzner_cluster["metadata"]["namespace"])
        token = secret_value(secret, token_key(hetzner_cluster)) if secret is not None else ""
        return HCloud(self.http.get(), self.hetzner, token, self.api.clock) if token else None

    async def acquire(self, name: str, owner: Object, finalizer: str = "") -> None:
        """Mark a Secret as one that CAPH uses: label, owner, and the finalizer when one is given."""
        secret = self.api.get("Secret", name, owner["metadata"]["namespace"])
        if secret is None:
            return
        marked = copy_json(secret)
        set_label(marked, "caph.environment", "owned")
        add_owner(marked, owner)
        if finalizer:
            add_finalizer(marked, finalizer)
        if marked != secret:
            await self.api.save(secret, marked)

    async def close(self) -> None:
        """Close all connections."""
        await self.http.close()

    def token_missing(self, item: Object) -> None:
        """Say on an object that the Secret or its token is not there."""
        conditions = Conditions(item, self.api.now())
        text = "could not find HetznerSecret"
        conditions.false("HCloudTokenAvailable", "HetznerSecretUnreachable", "Error", text)

    def rate_limited(self, item: Object) -> bool:
        """True while an object must be left alone because Hetzner's rate limit was met; ends after five minutes."""
        condition = find(item, "HetznerAPIReachable")
        if condition is None or condition["status"] == "True":
            return False
        if wall(self.api.clock) < datetime.fromisoformat(condition["lastTransitionTime"]) + RATE_LIMIT_PAUSE:
            return True
        Conditions(item, self.api.now()).true("HetznerAPIReachable")
        return False

    def meet_error(self, item: Object, error: HCloudError, doing: str) -> bool:
        """Note an error that concerns the token or the project as a whole; True when it was one."""
        conditions = Conditions(item, self.api.now())
        if error.code == "rate_limit_exceeded":
            text = f"exceeded hcloud rate limit with calling function {doing!r}"
            conditions.false("HetznerAPIReachable", "RateLimitExceeded", "Warning", text)
            return True
        if error.code in ("unauthorized", "token_readonly"):
            conditions.false("HCloudTokenAvailable", "HCloudCredentialsInvalid", "Error", "wrong hcloud token")
            return True
        return False


def token_key(hetzner_cluster: Object) -> str:
    """Return the key of the token in the Secret."""
    return str(hetzner_cluster["spec"]["hetznerSecretRef"].get("key", {}).get("hcloudToken") or "hcloud-token")


def owned_label(hetzner_cluster: Object) -> str:
    """Return the label that everything of this cluster carries at Hetzner."""
    return f"caph-cluster-{hetzner_cluster['metadata']['name']}"
