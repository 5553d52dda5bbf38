"""The Secret that gives Cluster API the project's token."""

from __future__ import annotations

from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.manifests import secret
from tallship.ops import bootstrap
from tallship.ops.objects import equals_stored


class TokenSecretMatches(Step[Env]):
    """The token Secret equals ours."""

    name = "secret"
    title = "Give Cluster API the Hetzner token"

    def probe(self, env: Env) -> Seen:
        """Compare the Secret with what we would apply."""
        if not bootstrap.home_answers(env):
            return Seen(State.BLOCKED, "needs `kind-create` first")
        if equals_stored(env.home, secret.hetzner(env.site.token)):
            return Seen(State.READY)
        return Seen(State.MISSING, change="apply Secret hetzner")

    def act(self, env: Env, seen: Seen) -> None:
        """Apply the Secret."""
        env.home.apply(secret.hetzner(env.site.token))
