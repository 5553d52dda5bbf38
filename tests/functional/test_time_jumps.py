"""This machine's clock is wrong, or goes forwards and backwards by days: nothing is lost, and no door stays open."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta

import pytest
from lab_world import ClientClock
from ship import Ship
from test_backup import save

from tallship.engine import Run
from tallship.env import Env
from tallship.flows import UP
from tallship.manifests import diagnosis, firewall
from tallship.ops import backup_places, exports, firewall_allow, status
from tallship.ops.firewall import FirewallMatches
from tallship.ops.lease import LEASE, RENEWAL, VALID, ClusterLease
from tallship.ops.picture import gather
from tallship.spec import parse_spec
from tallship.spec.backups import Keep

DAYS = (0, 3, -2, 400, -400, 1)
TRUE_TODAY = ClientClock.today


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[timedelta], None]]:
    """Set by how much this machine's date is wrong; how much time passes is another matter."""
    wrong = [timedelta()]
    monkeypatch.setattr(ClientClock, "today", lambda self: TRUE_TODAY(self) + wrong[0])

    def set_wrong(by: timedelta) -> None:
        wrong[0] = by

    yield set_wrong


@contextmanager
def jumping(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each look at the date meet another day."""
    days = itertools.cycle(DAYS)
    with monkeypatch.context() as patch:
        patch.setattr(ClientClock, "today", lambda self: TRUE_TODAY(self) + timedelta(days=next(days)))
        yield


def test_a_run_ends_as_ever_while_the_date_jumps(done: Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(done.env()) as env:
        done.world.run(lambda: env.workload.patch("v1", "Secret", "hcloud", "kube-system", {"data": {"token": "eA=="}}))
        lease = ClusterLease(env, "tallship up")
        began = done.world.clock.now()
        with jumping(monkeypatch):
            run = Run(env, done.world.clock, done.recorder, guard=lease)
            outcomes = done.world.run(lambda: run.make(UP))
    assert {each.name for each in outcomes if each.acted} == {"hcloud-ccm"}
    assert done.world.clock.now() - began < 600


def test_a_lease_is_kept_and_runs_out_by_what_has_passed_not_by_dates(
    done: Ship, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = done.world
    with closing(done.env()) as one, closing(done.env()) as other, jumping(monkeypatch):
        first, second = ClusterLease(one, "tallship up"), ClusterLease(other, "tallship scale")
        world.run(lambda: first.take(lambda _text: None))
        for _ in range(4):
            world.run(lambda: world.clock.sleep(RENEWAL))
            world.run(first.renew)
        began = world.clock.now()
        world.run(lambda: second.take(lambda _text: None))  # the first one crashed
        assert VALID <= world.clock.now() - began <= 2 * VALID
        found = world.run(lambda: one.home.find(*LEASE, "tallship-k8s", "default"))
        assert found is not None
        assert found["spec"]["holderIdentity"] == second.holder


def test_a_look_with_a_wrong_date_says_so_and_ends(done: Ship, clock: Callable[[timedelta], None]) -> None:
    for days in (-4000, -2, 0, 2, 4000):
        clock(timedelta(days=days))
        with closing(done.env()) as env:
            found = done.world.run(lambda env=env: status.look(env))
            picture = done.world.run(lambda env=env: gather(env))
        assert len(found.certificates) == 4
        assert found.unseen == []
        told = {each.code for each in diagnosis.diagnose(picture)}
        assert ("clock" in told) == (days < 0)
        assert ("certificate-ends" in told) == (days == 4000)


@pytest.mark.parametrize("text", ["name: k8s\n", "name: k8s\nbackup: {recipients: [RECIPIENT]}\n"])
def test_no_backup_takes_the_place_of_another_when_the_clock_goes_back(
    text: str, done: Ship, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyrage

    recipient = str(pyrage.x25519.Identity.generate().to_public())
    spec = parse_spec(text.replace("RECIPIENT", recipient)).spec
    assert spec is not None
    done.spec = spec
    moment = done.world.clock.today()
    monkeypatch.setattr(ClientClock, "today", lambda self: moment)
    paths = [save(done), save(done), save(done)]
    assert len({path.name for path in paths}) == 3
    assert all(path.exists() for path in paths)
    with closing(done.env()) as env:
        made = [each.made for each in backup_places.list_all(env)]
    assert [(one - other).total_seconds() for one, other in itertools.pairwise(made)] == [1, 1]


def test_a_backup_of_a_clock_that_was_ahead_hides_none_and_takes_nobodys_place(
    done: Ship, clock: Callable[[timedelta], None]
) -> None:
    clock(timedelta(days=365))
    ahead = save(done)
    clock(timedelta())
    now = save(done)
    with closing(done.env()) as env:
        newest = backup_places.newest(env)
        assert newest is not None
        assert newest.name == now.name
        verdicts = backup_places.verdicts(backup_places.list_all(env), Keep(last=1, daily=0, weekly=0))
    assert {each.backup.name: each.delete for each in verdicts} == {ahead.name: False, now.name: False}
    assert "clock" in next(each.why for each in verdicts if each.backup.name == ahead.name)


def test_an_export_of_a_clock_that_was_ahead_is_not_taken_for_a_fresh_one(
    done: Ship, clock: Callable[[timedelta], None]
) -> None:
    with closing(done.env()) as env:
        clock(timedelta(days=365))
        ahead = done.world.run(lambda: exports.make(env))
        clock(timedelta())
        found = exports.newest(env)
        assert found is not None
        assert abs(found.age(env.clock.today())) > exports.FRESH_SECONDS
        now = done.world.run(lambda: exports.make(env))
        again = done.world.run(lambda: exports.make(env))
        found = exports.newest(env)
        assert found is not None
        assert found.folder in (now, again)
        (exports.root(env) / "something else").mkdir()
        assert len({ahead, now, again}) == 3
        assert exports.newest(env) == found


def allowed(env: Env) -> dict[str, datetime]:
    found = env.hetzner.find_firewall(env.spec.names.firewall)
    assert found is not None
    return {each.network: each.until for each in firewall.allowed(found.rules, env.clock.today())}


def test_a_door_that_was_opened_with_a_wrong_clock_does_not_stay_open(
    done: Ship, clock: Callable[[timedelta], None]
) -> None:
    length = timedelta(hours=2)
    with closing(done.env()) as env:
        clock(timedelta(days=365))
        done.world.run(lambda: firewall_allow.allow(env, "203.0.113.7/32", length))
        assert set(allowed(env)) == {"203.0.113.7/32"}
        clock(timedelta())
        assert allowed(env) == {}
        done.world.run(lambda: firewall_allow.allow(env, "203.0.113.8/32", firewall.LONGEST))
        clock(timedelta(hours=-12))
        assert set(allowed(env)) == {"203.0.113.8/32"}
        clock(timedelta(days=31))
        seen = done.world.run(lambda: FirewallMatches().probe(env))
        assert "has 6443 from 203.0.113.8/32" in seen.change
        done.world.run(lambda: FirewallMatches().act(env, seen))
        clock(timedelta())
        assert allowed(env) == {}
