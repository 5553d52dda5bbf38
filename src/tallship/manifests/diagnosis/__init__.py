"""A diagnosis: rules over one picture of the cluster. A rule that cannot see what it looks at says nothing."""

from __future__ import annotations

from tallship.manifests.diagnosis import access, addons, cluster, control_plane, nodes, servers
from tallship.manifests.diagnosis.finding import Finding, Rule
from tallship.manifests.picture import Picture

RULES: tuple[Rule, ...] = (
    *cluster.RULES,
    *servers.RULES,
    *control_plane.RULES,
    *nodes.RULES,
    *addons.RULES,
    *access.RULES,
)

__all__ = ["RULES", "Finding", "Rule", "diagnose"]


def diagnose(picture: Picture) -> list[Finding]:
    """Return everything that the rules find, errors first."""
    found = [finding for rule in RULES for finding in rule(picture)]
    return sorted(found, key=lambda each: each.severity != "error")
