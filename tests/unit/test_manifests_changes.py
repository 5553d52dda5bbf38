"""What a change of the file does to what stands."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tallship.manifests import cluster
from tallship.manifests.changes import Effect, of_control_plane, of_document
from tallship.spec import Spec, parse_spec


def spec_of(text: str = "") -> Spec:
    spec = parse_spec("name: k8s\n" + text).spec
    assert spec is not None
    return spec


def live(kind: str) -> dict[str, Any]:
    """Return a document as it is stored: with defaults that nobody gave."""
    documents = {each["kind"]: each for each in cluster.infrastructure(spec_of(), "192.0.2.1")}
    documents["TalosControlPlane"] = cluster.control_plane(spec_of(), "192.0.2.1")
    stored = copy.deepcopy(documents[kind])
    stored["spec"]["aDefault"] = True
    return stored


@pytest.mark.parametrize(
    ("text", "kind", "effect", "says"),
    [
        ("", "Cluster", Effect.NONE, ""),
        ("", "HetznerCluster", Effect.NONE, ""),
        ("load_balancer: {type: lb21}", "HetznerCluster", Effect.IN_PLACE, "controlPlaneLoadBalancer differs"),
        (
            "load_balancer: {talos_api: false}\nfirewall: {admin_networks: [203.0.113.0/24]}",
            "HetznerCluster",
            Effect.IN_PLACE,
            "extraServices differs",
        ),
        ("hetzner: {location: fsn1}", "HetznerCluster", Effect.REFUSED, "region: nbg1 would become fsn1"),
        ("network: {services: 10.10.112.0/20}", "Cluster", Effect.REFUSED, "clusterNetwork.services"),
        ("network: {control_plane_subnet: 10.10.64.0/24}", "HetznerCluster", Effect.REFUSED, "subnetCidrBlock"),
    ],
)
def test_infrastructure(text: str, kind: str, effect: Effect, says: str) -> None:
    wanted = {each["kind"]: each for each in cluster.infrastructure(spec_of(text), "192.0.2.1")}[kind]
    change = of_document(live(kind), wanted)
    assert change.effect is effect
    assert says in "; ".join(change.details)


@pytest.mark.parametrize(
    ("text", "effect", "says"),
    [
        ("", Effect.NONE, ""),
        ("control_plane: {replicas: 5}", Effect.IN_PLACE, "3 control planes become 5"),
        ("kubernetes: {version: v1.32.3}", Effect.REPLACE, "Kubernetes v1.32.2 becomes v1.32.3"),
        ("control_plane: {server_type: cx43}", Effect.REPLACE, "server type or image differ"),
    ],
)
def test_control_plane(text: str, effect: Effect, says: str) -> None:
    change = of_control_plane(live("TalosControlPlane"), cluster.control_plane(spec_of(text), "192.0.2.1"))
    assert change.effect is effect
    assert says in "; ".join(change.details)
