"""After an upgrade what Talos puts into its cluster is what the new Talos would put there."""

from __future__ import annotations

from contextlib import closing

from ship import Ship

from tallship.ops.bootstrap_manifests import ManifestsSynced

DEPLOYMENT = ("apps/v1", "Deployment", "coredns", "kube-system")
OLD, NEW = "registry.k8s.io/coredns/coredns:v1.11.1", "registry.k8s.io/coredns/coredns:v1.13.2"


def image(ship: Ship) -> str:
    with closing(ship.env()) as env:
        live = ship.world.run(lambda: env.workload.find(*DEPLOYMENT))
    assert live is not None
    return str(live["spec"]["template"]["spec"]["containers"][0]["image"])


def test_a_new_cluster_has_nothing_to_sync(done: Ship) -> None:
    assert image(done) == NEW
    done.world.reset_counters()
    (outcome,) = done.make((ManifestsSynced(),))
    assert outcome.acted == ()
    assert set(done.world.writes.values()) == {0}


def test_what_an_older_talos_made_is_brought_up_to_date_and_nothing_else(done: Ship) -> None:
    with closing(done.env()) as env:

        def spoil() -> None:
            container = {"name": "coredns", "image": OLD}
            change = {"spec": {"replicas": 3, "template": {"spec": {"containers": [container]}}}}
            env.workload.patch(*DEPLOYMENT, change)

        done.world.run(spoil)
    assert image(done) == OLD
    (outcome,) = done.make((ManifestsSynced(),))
    assert outcome.acted == ("apply Deployment coredns",)
    assert image(done) == NEW
    (again,) = done.make((ManifestsSynced(),))
    assert again.acted == ()
