"""CACPPT #237: a member has left etcd, its Machine was not deleted, and the roll-out would wait for ever."""

from __future__ import annotations

from contextlib import closing

from ship import Ship
from test_upgrade import machine_names, sail, steer, versions

from tallship.engine import Run
from tallship.manifests.diagnosis import diagnose
from tallship.ops.fixes import fixes
from tallship.ops.kinds import CONTROL_PLANE
from tallship.ops.picture import gather

LOST = {"agent": "cluster-api-control-plane-provider-talos", "route": "DELETE machines"}
"""The call after the one by which the member leaves: its loss is the defect's cause."""


def deletions(ship: Ship) -> list[str]:
    return [line for line in ship.recorder.heard if line.startswith("roll-out: delete Machine")]


def test_an_upgrade_deletes_exactly_that_machine_and_ends_well(done: Ship) -> None:
    before = machine_names(done)
    done.world.fault("server-error", LOST)
    sail(done, steer(done, kubernetes_version="v1.32.3"))
    assert versions(done) == {("v1.32.3", "v1.12.2", True)}
    (told,) = deletions(done)
    assert "#237" in told
    assert told.removeprefix("roll-out: delete Machine ").split(":")[0] in before


def test_an_upgrade_in_which_nothing_is_lost_deletes_no_machine_itself(done: Ship) -> None:
    sail(done, steer(done, kubernetes_version="v1.32.3"))
    assert deletions(done) == []


def test_diagnose_finds_it_and_mends_it(done: Ship) -> None:
    done.world.fault("server-error", LOST)
    with closing(done.env()) as env:
        plane = (*CONTROL_PLANE, "k8s-control-plane", "default")
        done.world.run(lambda: env.home.patch(*plane, {"spec": {"version": "v1.32.3"}}))
        done.world.wait(lambda: "member-left" in {each.code for each in diagnose(gather(env))}, 900, 10)

        def mend() -> None:
            found = diagnose(gather(env))
            Run(env, done.world.clock, done.recorder).make(fixes(found))

        done.world.run(mend)
        done.world.wait(lambda: {each.code for each in diagnose(gather(env))} <= {"learner"}, 900, 10)
