"""The Secret that gives Cluster API the project's token."""

from __future__ import annotations

from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.manifests import secret
from tallship.ops import bootstrap
from tallship.ops.objects import find, missing


class TokenSecretMatches(Step[Env]):
    """The token Secret equals ours."""

    name = "secret"
    title = "Give Cluster API the Hetzner token"

    def probe(self, env: Env) -> Seen:
        """Compare the Secret with what we would apply."""
        if not bootstrap.home_answers(env):
            return Seen(State.BLOCKED, "needs `kind-create` first")
        wanted = secret.hetzner(env.site.token)
        if (seen := missing(env.home, [wanted], "Secret hetzner")) is not None:
            return seen
        # CAPH v1.0.7 holds it by a finalizer, and goes on with the token in it; nobody can take a deletion back.
        is_going = ((find(env.home, wanted) or {}).get("metadata") or {}).get("deletionTimestamp")
        return Seen(State.READY, "somebody has deleted it: it stays as long as the cluster does" if is_going else "")

    def act(self, env: Env, seen: Seen) -> None:
        """Apply the Secret."""
        env.home.apply(secret.hetzner(env.site.token))
