"""Rules about the Cluster and what its documents say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tallship.manifests import conditions, pivot
from tallship.manifests.diagnosis.finding import Finding, Rule
from tallship.manifests.picture import Document, Picture
from tallship.spec.names import HETZNER_SECRET_KEY
from tallship.versions import number


def paused(picture: Picture) -> Iterator[Finding]:
    """No controller works on a paused Cluster, and two that are not paused fight over the same servers."""
    live = picture.the("Cluster")
    if live is None:
        return
    others = picture.other_side
    if others and not pivot.is_paused(live) and not all(pivot.is_paused(each) for each in others):
        yield Finding(
            "two-active",
            "error",
            "two sets of controllers work on the same servers",
            "the Cluster is in both management clusters, and paused in neither",
            "pause the one that is not to go on: set its `spec.paused` to true; then `tallship pivot`",
        )
    elif others and pivot.is_paused(live):
        yield Finding(
            "both-paused",
            "error",
            "nobody works on the cluster",
            "a pivot has stopped in the middle: the Cluster is paused on both sides",
            "`tallship pivot` finishes it",
        )
    elif pivot.is_paused(live):
        yield Finding(
            "paused",
            "warning",
            "nobody works on the cluster",
            "somebody has paused the Cluster",
            "whoever paused it sets its `spec.paused` to false",
        )


def endpoint(picture: Picture) -> Iterator[Finding]:
    """CAPH v1.0.7 crashes, for every cluster, when a HetznerCluster with a load balancer has no endpoint."""
    live = picture.the("HetznerCluster")
    if live is None or not (live["spec"].get("controlPlaneLoadBalancer") or {}).get("enabled", True):
        return
    if not live["spec"].get("controlPlaneEndpoint"):
        yield Finding(
            "no-endpoint",
            "error",
            "CAPH crashes again and again",
            "the HetznerCluster has no `controlPlaneEndpoint` (syself/cluster-api-provider-hetzner #1534)",
            "`tallship up --only apply` writes it",
        )


def patches(picture: Picture) -> Iterator[Finding]:
    """Patches that stop a roll-out from ever ending, or machines from ever getting a configuration."""
    live = picture.the("TalosControlPlane")
    config = _config(live)
    empty = [key for key in ("strategicPatches", "configPatches") if config.get(key) == []]
    if empty:
        yield Finding(
            "empty-patches",
            "error",
            "servers are replaced without end",
            "an empty list of patches never equals what a machine was made with (CACPPT v0.5.12)",
            "`tallship up` writes the document without it",
            tuple(f"controlPlaneConfig.controlplane.{key} is empty" for key in empty),
        )
    if config.get("configPatches") and number(str(config.get("talosVersion") or "v1.12"))[:2] >= (1, 12):
        yield Finding(
            "json-patches",
            "error",
            "new machines get no configuration",
            "JSON patches fail with Talos 1.12 and later, whose configuration has several documents",
            "write `talos.patches` as strategic merge patches; `tallship up` applies them",
            tuple(
                line
                for each in picture.management.get("TalosConfig", ())
                for line in conditions.why_not_ready(each)
                if "patch" in line.lower()
            ),
        )


def hostname(picture: Picture) -> Iterator[Finding]:
    """A node is matched with its server by its name."""
    live = picture.the("TalosControlPlane")
    if live is None:
        return
    source = (_config(live).get("hostname") or {}).get("source")
    if source != "InfrastructureName":
        yield Finding(
            "hostname-source",
            "error",
            "nodes are never matched with their servers",
            "a node's name must be its server's: `hostname.source` is not InfrastructureName",
            "`tallship up --replace` writes it, and replaces the servers one by one",
            (f"hostname.source is {source or 'not set'}",),
        )


def token(picture: Picture) -> Iterator[Finding]:
    """CAPH reads the token from one key of one Secret, and says when Hetzner refuses it or too many calls."""
    live = picture.the("HetznerCluster")
    if live is None:
        return
    ref = live["spec"].get("hetznerSecretRef") or {}
    key = (ref.get("key") or {}).get("hcloudToken") or "hcloud-token"
    stored = next((e for e in picture.management.get("Secret", ()) if e["metadata"]["name"] == ref.get("name")), None)
    if stored is not None and key not in (stored.get("data") or {}):
        yield Finding(
            "token-key",
            "error",
            "CAPH finds no token",
            f"the Secret `{ref.get('name')}` has no key `{key}`, which the HetznerCluster names",
            "`tallship up --from secret --until apply` writes Secret and reference",
            (f"its keys are: {', '.join(sorted(stored.get('data') or {})) or 'none'}",),
            "token" if key == HETZNER_SECRET_KEY else "",
        )
    for each in (live, *picture.management.get("HCloudMachine", ())):
        refused = conditions.find_condition(each, "HCloudTokenAvailable")
        if refused is not None and refused.get("reason") == "HCloudCredentialsInvalid":
            yield Finding(
                "token-refused",
                "error",
                "Hetzner does not accept CAPH's token",
                "it was deleted, or is of another project",
                "make a token in Hetzner's console, give it to this tool, then `tallship up --only secret`",
                tuple(conditions.why_not_ready(each)[:3]),
            )
            return


def rate_limit(picture: Picture) -> Iterator[Finding]:
    """CAPH leaves an object alone for five minutes when the project's limit is met."""
    for each in (*picture.management.get("HetznerCluster", ()), *picture.management.get("HCloudMachine", ())):
        found = conditions.find_condition(each, "HetznerAPIReachable")
        if found is not None and found.get("status") == "False":
            yield Finding(
                "rate-limit",
                "warning",
                "CAPH waits: the project's limit of calls is met",
                "all programs with a token of this project share 3600 calls an hour",
                "wait; find what else asks so often",
                (str(found.get("message", "")),),
            )
            return


def _config(plane: Document | None) -> dict[str, Any]:
    spec = (plane or {}).get("spec") or {}
    return dict((spec.get("controlPlaneConfig") or {}).get("controlplane") or {})


RULES: tuple[Rule, ...] = (paused, endpoint, patches, hostname, token, rate_limit)
