"""`tallship diagnose`: a healthy cluster has no findings; troubles made in the lab are found, and some mended."""

from __future__ import annotations

import json
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from lost_etcd import wipe
from ship import Kept, Ship

from tallship.adapters.kube import Kube
from tallship.engine import Run, Seen, State
from tallship.errors import ApiError, TallshipError, Unreachable
from tallship.flows import UP
from tallship.manifests import health, image
from tallship.manifests.diagnosis import Finding, diagnose
from tallship.ops import bundle, controller_logs
from tallship.ops.addons import CiliumInstalled
from tallship.ops.fixes import HEALTH_CHECK, EarlyChecksRemoved, fixes
from tallship.ops.kinds import CLUSTER
from tallship.ops.node_list import list_nodes
from tallship.ops.picture import gather


def findings(ship: Ship) -> dict[str, Finding]:
    with closing(ship.env()) as env:
        return {each.code: each for each in ship.world.run(lambda: diagnose(gather(env)))}


def mend(ship: Ship) -> None:
    found = findings(ship).values()
    with closing(ship.env()) as env:
        ship.world.run(lambda: Run(env, ship.world.clock, ship.recorder).make(fixes(found)))


def test_a_healthy_cluster_has_no_findings(done: Ship) -> None:
    assert findings(done) == {}


def test_a_cluster_that_manages_itself_has_none_either(kept_pivoted: Kept) -> None:
    with kept_pivoted.copy() as ship:
        assert findings(ship) == {}


def test_two_images_of_one_name(done: Ship) -> None:
    labels = image.labels(done.spec)
    snapshot = {"architecture": "x86", "disk_gb": 10, "content": {"talos": "v1.12.2"}}
    done.world.do(lambda: done.world.lab.hetzner.add_snapshot("twin", labels, **snapshot))
    found = findings(done)
    assert set(found) == {"image-ambiguous"}
    assert "--rebuild" in found["image-ambiguous"].advice


def test_a_paused_cluster(done: Ship) -> None:
    with closing(done.env()) as env:
        done.world.run(lambda: env.home.patch(*CLUSTER, "k8s", "default", {"spec": {"paused": True}}))
    assert set(findings(done)) == {"paused"}


def test_both_sides_active_after_a_pivot(kept_pivoted: Kept) -> None:
    with kept_pivoted.copy() as ship, closing(ship.env()) as env:

        def copy_back() -> None:
            live = env.workload.find(*CLUSTER, "k8s", "default")
            assert live is not None
            meta = {"name": "k8s", "namespace": "default"}
            env.management.apply({**{key: live[key] for key in ("apiVersion", "kind", "spec")}, "metadata": meta})

        ship.world.run(copy_back)
        assert "two-active" in findings(ship)


def test_a_token_in_the_wrong_key_is_mended(done: Ship) -> None:
    with closing(done.env()) as env:

        def spoil() -> None:
            live = env.home.find("v1", "Secret", "hetzner", "default")
            assert live is not None
            data: dict[str, Any] = {"hcloud": None, "hcloud-token": live["data"]["hcloud"]}
            env.home.patch("v1", "Secret", "hetzner", "default", {"data": data})

        done.world.run(spoil)
    assert "hcloud-token" in " ".join(findings(done)["token-key"].evidence)
    mend(done)
    assert "token-key" not in findings(done)


def test_a_member_of_etcd_that_is_sick(done: Ship) -> None:
    with closing(done.env()) as env:
        name = min(each.name for each in done.world.run(lambda: list_nodes(env)))
    done.world.fault("etcd-member-unhealthy", {"machine": name}, times=0)
    found = findings(done)
    assert name in " ".join(found["member-sick"].evidence)


def test_addons_that_are_gone(done: Ship) -> None:
    with closing(done.env()) as env:

        def remove() -> None:
            for each in env.workload.list("v1", "Secret", "kube-system", labels="owner=helm"):
                if each["metadata"]["labels"]["name"] == "hccm":
                    env.workload.delete("v1", "Secret", each["metadata"]["name"], "kube-system")

        done.world.run(remove)
    assert "`tallship up --only hcloud-ccm`" in findings(done)["release-absent"].advice


def test_a_pending_release_is_mended(done: Ship) -> None:
    done.world.fault("program-killed", {"program": "helm", "command": "upgrade"}, seconds=4)
    with closing(done.env()) as env, pytest.raises(TallshipError):
        done.world.run(lambda: CiliumInstalled().act(env, Seen(State.MISSING, change="upgrade cilium")))
    assert findings(done)["release-pending"].fix == "release cilium"
    mend(done)
    assert "release-pending" not in findings(done)


def test_what_is_sold_out(done: Ship) -> None:
    done.world.fault("no-capacity", {"server_type": "cx33"}, times=0)
    with closing(done.env()) as env:
        plane = ("controlplane.cluster.x-k8s.io/v1alpha3", "TalosControlPlane", "k8s-control-plane", "default")
        done.world.run(lambda: env.home.patch(*plane, {"spec": {"replicas": 5}}))
        done.world.wait(lambda: "sold-out" in {e.code for e in diagnose(gather(env))}, 300, 10)


def test_no_network_is_found_before_the_charts_are_there(world: Any) -> None:
    from tallship.engine import select

    ship = Ship(world)
    ship.make(select(UP, last="talosconfig"))
    with closing(ship.env()) as env:
        ship.world.wait(lambda: "no-cni" in {each.code for each in diagnose(gather(env))}, 600, 10)
    found = findings(ship)
    assert "--only cilium" in found["no-cni"].advice
    assert {"uninitialized", "release-absent"} <= set(found)
    with closing(ship.env()) as env:
        ship.world.run(lambda: [env.home.apply(each) for each in health.documents(ship.spec)])
    assert "check-early" in findings(ship)
    mend(ship)
    assert "check-early" not in findings(ship)


def test_kubernetes_all_down_still_shows_hetzner(done: Ship) -> None:
    done.world.fault("reset", {"api": "kubernetes", "agent": "tallship"}, times=0)
    with closing(done.env()) as env:
        picture = done.world.run(lambda: gather(env))
    assert len(picture.hetzner["servers"]) == 3
    assert {"Cluster API", "the cluster"} <= set(picture.unseen)


def test_a_lost_majority_is_found_though_kubernetes_is_down(done: Ship) -> None:
    wipe(done, 0, 1)
    with closing(done.env()) as env:
        picture = done.world.run(lambda: gather(env))
    assert "the cluster" in picture.unseen
    (found,) = [each for each in diagnose(picture) if each.code == "no-quorum"]
    assert "backup restore" in found.advice


def test_a_cluster_without_a_kubeconfig_here_is_not_called_well(done: Ship) -> None:
    with closing(done.env()) as env:
        for path in (env.kubeconfig, env.management_kubeconfig, env.talosconfig):
            path.unlink()
        picture = done.world.run(lambda: gather(env))
    assert set(picture.unseen) == {"Cluster API", "the cluster", "Talos"}


def test_another_cluster_in_the_same_namespace_is_left_alone(done: Ship) -> None:
    api, meta = "cluster.x-k8s.io/v1beta1", {"name": "another", "namespace": "default"}
    check = {"clusterName": "another", "selector": {"matchLabels": {"a": "b"}}, "unhealthyConditions": []}
    with closing(done.env()) as env:

        def plant() -> None:
            env.home.apply({"apiVersion": api, "kind": "Cluster", "metadata": meta, "spec": {"paused": True}})
            env.home.apply({"apiVersion": api, "kind": "MachineHealthCheck", "metadata": meta, "spec": check})

        done.world.run(plant)
        assert findings(done) == {}
        done.world.run(lambda: EarlyChecksRemoved().act(env, Seen(State.MISSING)))
        left = done.world.run(lambda: env.home.list(*HEALTH_CHECK, "default"))
    assert [each["metadata"]["name"] for each in left] == ["another"]


def test_a_log_is_followed_past_an_api_that_is_away_and_a_pod_that_has_not_begun(
    done: Ship, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[list[str] | TallshipError] = [
        ["a"],
        Unreachable("away"),
        ApiError("it is being made", code="400"),
        ["a", "b"],
    ]

    def log(self: Kube, namespace: str, pod: str, container: str = "", lines: int = 0) -> list[str]:
        answer = answers.pop(0)
        if isinstance(answer, TallshipError):
            raise answer
        return answer

    monkeypatch.setattr(Kube, "log", log)
    with closing(done.env()) as env:
        silences: list[str] = []
        told = controller_logs.follow(env, "caph", 10, silences.append)
        assert done.world.run(lambda: [next(told), next(told)]) == [["a"], ["b"]]
    assert silences == ["away", "no pod of `caph` has begun"]


def test_a_bundle_holds_no_secret(done: Ship, tmp_path: Path) -> None:
    canary = "canary0secret0of0somebody0else"
    with closing(done.env()) as env:

        def plant() -> None:
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "planted", "namespace": "kube-system"}}
            env.workload.apply({**secret, "stringData": {"anything": canary}})
            meta = {"name": "planted", "namespace": "default"}
            env.home.apply({**secret, "metadata": meta, "stringData": {"a": canary}})
            event = {"apiVersion": "v1", "kind": "Event", "metadata": meta, "type": "Warning", "message": canary}
            env.home.apply({**event, "involvedObject": {"kind": "Secret", "name": "planted"}})

        done.world.run(plant)
        pods = [each["metadata"]["name"] for each in done.world.run(lambda: env.home.list("v1", "Pod", "caph-system"))]
        done.world.do(lambda: write_logs(done, pods, f"token={canary} and {done.world.token}"))
        (env.folder / "logs").mkdir(exist_ok=True)
        (env.folder / "logs/9999.jsonl").write_text(json.dumps({"heard": f"token={canary}"}) + "\n")
        picture = done.world.run(lambda: gather(env, logs=True))
        path = bundle.write(env, picture, diagnose(picture), tmp_path / "help.tar.gz")
        texts = [env.kubeconfig.read_text(), env.talosconfig.read_text()]
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        held = {each.name: read.read().decode() for each in archive if (read := archive.extractfile(each))}
    assert {"tallship-k8s/logs/caph.log", "tallship-k8s/runs/9999.jsonl"} <= set(held)
    assert '"planted"' in held["tallship-k8s/management/Event.json"]
    keys = [line.split(": ")[1] for text in texts for line in text.splitlines() if "key" in line and len(line) > 80]
    assert "(taken out)" in next(text for name, text in held.items() if name.endswith("logs/caph.log"))
    for name, text in held.items():
        for secret in (canary, done.world.token, *keys, "PRIVATE KEY"):
            assert secret not in text, name


def write_logs(ship: Ship, pods: list[str], text: str) -> None:
    """Make these pods of the management cluster have said it."""
    (server,) = ship.world.lab.management._running.values()
    for pod in pods:
        server.write_log("caph-system", pod, text)


@pytest.mark.parametrize("name", controller_logs.NAMES)
def test_each_controller_has_a_log(done: Ship, name: str) -> None:
    with closing(done.env()) as env:
        assert isinstance(done.world.run(lambda: controller_logs.tail(env, name, 5)), list)
