"""Two runs at once, on two machines: one changes the cluster, the other is told who does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest
from lab_world import LabWorld
from ship import Ship

from tallship.engine import Run, Seen, State, Step, select
from tallship.env import Env
from tallship.errors import Interrupted, SetupError, TallshipError
from tallship.flows import UP
from tallship.ops.lease import DOING, LEASE, RENEWAL, VALID, ClusterLease


def lease_of(ship: Ship) -> dict[str, object]:
    with closing(ship.env()) as env:
        found = ship.world.run(lambda: env.home.find(*LEASE, "tallship-k8s", "default"))
    return {"doing": found["metadata"]["annotations"][DOING], **found["spec"]} if found else {}


def side_by_side(ship: Ship, *bodies: Callable[[], None]) -> None:
    ship.world.run(lambda: ship.world.clock.run_threads(bodies))


def renewed(ship: Ship, lease: ClusterLease, times: int) -> Callable[[], None]:
    """Return what the thread of a run that lives does."""

    def renew() -> None:
        for _ in range(times):
            ship.world.clock.sleep(RENEWAL)
            lease.renew()

    return renew


def test_a_run_that_changes_nothing_writes_none(done: Ship) -> None:
    with closing(done.env()) as env:
        lease = ClusterLease(env, "tallship up")
        run = Run(env, done.world.clock, done.recorder, guard=lease)
        done.world.reset_counters()
        done.world.run(lambda: run.make(UP))
    assert lease_of(done) == {}
    assert set(done.world.writes.values()) == {0}


def test_it_is_taken_at_the_first_act_and_given_back(done: Ship) -> None:
    class Changed(Step[Env]):
        """Something is so."""

        name = "changed"
        title = "Change something"

        def probe(self, env: Env) -> Seen:
            return Seen(State.READY if held else State.MISSING, change="change it")

        def act(self, env: Env, seen: Seen) -> None:
            found = env.home.find(*LEASE, "tallship-k8s", "default")
            held.append(found["spec"]["holderIdentity"] if found else "nobody")

    held: list[str] = []
    with closing(done.env()) as env:
        lease = ClusterLease(env, "tallship up")

        def sail() -> None:
            with lease.held():
                Run(env, done.world.clock, done.recorder, guard=lease).make((Changed(),))

        done.world.run(sail)
    assert held == [lease.holder]
    assert "holderIdentity" not in lease_of(done)


def test_the_second_is_told_who_holds_it(done: Ship) -> None:
    with closing(done.env()) as here, closing(done.env()) as there:
        first, second = ClusterLease(here, "tallship upgrade"), ClusterLease(there, "tallship scale")
        done.world.run(first.take)

        def refused() -> None:
            with pytest.raises(SetupError, match=r"`tallship upgrade`.*is working on this cluster") as caught:
                second.take()
            assert "wait for it" in caught.value.hint

        side_by_side(done, refused, renewed(done, first, 2))
        assert lease_of(done)["holderIdentity"] == first.holder


def test_of_two_that_begin_together_one_goes_on(done: Ship) -> None:
    with closing(done.env()) as here, closing(done.env()) as there:
        leases = [ClusterLease(here, "tallship up"), ClusterLease(there, "tallship up")]
        ends: list[str] = []

        def begin(lease: ClusterLease) -> Callable[[], None]:
            def take() -> None:
                try:
                    lease.take()
                except SetupError:
                    ends.append("told")
                else:
                    ends.append("held")
                    renewed(done, lease, 3)()

            return take

        side_by_side(done, *(begin(each) for each in leases))
    assert sorted(ends) == ["held", "told"]


def test_one_that_crashed_is_waited_for_and_what_it_still_does_ends(done: Ship) -> None:
    with closing(done.env()) as here, closing(done.env()) as there:
        crashed, next_one = ClusterLease(here, "tallship up"), ClusterLease(there, "tallship scale")
        done.world.run(crashed.take)
        began = done.world.clock.now()
        done.world.run(next_one.take)
        assert VALID <= done.world.clock.now() - began <= 2 * VALID
        assert lease_of(done)["doing"] == "tallship scale"
        done.world.run(crashed.renew)
        assert here.stop.is_set()
        with pytest.raises(SetupError, match="has taken this cluster over"):
            done.world.run(crashed.take)
        with pytest.raises(SetupError, match="`tallship scale`"), crashed.held():
            raise Interrupted("stopped during `wait-cp`")
        assert lease_of(done)["holderIdentity"] == next_one.holder


def test_without_a_management_cluster_there_is_nothing_to_hold(world: LabWorld) -> None:
    ship = Ship(world)
    with closing(ship.env()) as env:
        lease = ClusterLease(env, "tallship up")
        ship.world.run(lease.take)
        ship.world.run(lambda: Run(env, ship.world.clock, ship.recorder, guard=lease).make(select(UP, last="apply")))
    assert lease_of(ship)["holderIdentity"] == lease.holder


@pytest.mark.parametrize("code", ["Conflict", "Forbidden"])
def test_an_answer_that_is_none_is_no_right(done: Ship, code: str) -> None:
    fault = {"Conflict": ("conflict", {}), "Forbidden": ("unauthorized", {})}[code]
    done.world.fault(fault[0], {"api": "kubernetes", "route": "POST leases"}, times=1)
    with closing(done.env()) as env:
        lease = ClusterLease(env, "tallship up")
        if code == "Conflict":
            done.world.run(lease.take)
            assert lease_of(done)["holderIdentity"] == lease.holder
        else:
            with pytest.raises(TallshipError):
                done.world.run(lease.take)
            assert lease_of(done) == {}
