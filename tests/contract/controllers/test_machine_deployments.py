"""What the controllers make of a MachineDeployment: workers that join, more, fewer, other ones, and none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import worked_pool
from cluster_life import ClusterLife, condition
from controller_world import ControllerWorld, manifests
from worker_pool import CLUSTER_KINDS, WorkerPool

from tallship.lab.talos import durations

HASH = "machine-template-hash"
REVISION = "machinedeployment.clusters.x-k8s.io/revision"


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    """A pool of two beside one control plane; each test leaves two, and says what it changed about them."""
    world = ControllerWorld(boots=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durations, "API_SERVER_FIRST", 5.0)
        life = ClusterLife(world, 1)
        life.wait_ready(1)
        made = WorkerPool(life)
        made.apply()
        made.wait_ready(2)
        yield made
    life.close()
    world.close()


def new(item: dict[str, object], kind: str) -> dict[str, str]:
    """Return a condition of the v1beta2 form."""
    listed = item["status"]["v1beta2"]["conditions"]  # type: ignore[index]
    return next(each for each in listed if each["type"] == kind)


def test_two_workers_join_and_are_told_of_in_the_status(pool: WorkerPool) -> None:
    deployment, (machine_set,) = pool.deployment(), pool.world.objects("MachineSet")
    status = deployment["status"]
    assert (status["phase"], status["observedGeneration"]) == ("Running", deployment["metadata"]["generation"])
    assert status["unavailableReplicas"] == 0
    assert status["selector"] == "cluster.x-k8s.io/cluster-name=k8s,cluster.x-k8s.io/deployment-name=k8s-workers"
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "Ready": "True",
        "Available": "True",
        "MachineSetReady": "True",
    }
    told = {each["type"]: each["status"] for each in status["v1beta2"]["conditions"]}
    good = {"Available": "True", "MachinesReady": "True", "MachinesUpToDate": "True"}
    quiet = ("RollingOut", "Remediating", "ScalingDown", "ScalingUp", "Paused", "Deleting")
    assert told == good | dict.fromkeys(quiet, "False")
    assert machine_set["status"]["fullyLabeledReplicas"] == 2
    assert machine_set["metadata"]["annotations"][REVISION] == "1" == deployment["metadata"]["annotations"][REVISION]
    cluster = pool.world.get("Cluster", "k8s")
    assert new(cluster, "WorkersAvailable")["reason"] == "Available"
    assert cluster["status"]["v1beta2"]["workers"] == {
        "desiredReplicas": 2,
        "replicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
        "upToDateReplicas": 2,
    }


def test_objects_are_those_that_the_real_manager_writes(pool: WorkerPool) -> None:
    objects = {
        kind: [each for each in pool.world.objects(kind) if kind == "MachineDeployment" or _is_of_pool(each)]
        for kind in CLUSTER_KINDS
    }
    told, recorded = worked_pool.facts(objects), worked_pool.recorded()
    assert {kind: told[kind] for kind in CLUSTER_KINDS} == recorded


def test_each_machine_is_cloned_from_the_templates_and_owns_its_parts(pool: WorkerPool) -> None:
    (machine_set,) = pool.world.objects("MachineSet")
    for machine in pool.world.call(pool.machines):
        name, labels = machine["metadata"]["name"], machine["metadata"]["labels"]
        assert labels[HASH] == machine_set["metadata"]["labels"][HASH]
        assert labels["cluster.x-k8s.io/set-name"] == machine_set["metadata"]["name"]
        (owner,) = machine["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["controller"]) == (
            "MachineSet",
            machine_set["metadata"]["name"],
            True,
        )
        for kind, group in (("HCloudMachine", "infrastructure"), ("TalosConfig", "bootstrap")):
            part = pool.world.get(kind, name)
            assert part["metadata"]["annotations"]["cluster.x-k8s.io/cloned-from-name"] == worked_pool.POOL
            cloned = part["metadata"]["annotations"]["cluster.x-k8s.io/cloned-from-groupkind"]
            assert cloned == f"{kind}Template.{group}.cluster.x-k8s.io"
            assert [each["kind"] for each in part["metadata"]["ownerReferences"]] == ["Machine"]
            assert part["metadata"]["labels"][HASH] == labels[HASH]
        assert machine["status"]["nodeRef"]["name"] == name
        assert new(machine, "UpToDate")["status"] == "True"
    for kind in ("HCloudMachineTemplate", "TalosConfigTemplate"):
        template = pool.world.get(kind, worked_pool.POOL)
        assert [each["kind"] for each in template["metadata"]["ownerReferences"]] == ["Cluster"]


def test_workers_are_no_control_planes(pool: WorkerPool) -> None:
    servers = {each["name"]: each for each in pool.world.call(pool.world.hetzner.servers)}
    names = pool.names()
    assert {servers[name]["labels"]["machine_type"] for name in names} == {"worker"}
    (plane,) = set(servers) - names
    targets = pool.world.get("HetznerCluster", "k8s")["status"]["controlPlaneLoadBalancer"]["targets"]
    assert [each["serverID"] for each in targets] == [servers[plane]["id"]]
    assert pool.life.members() == [plane]
    workers = [each for each in pool.world.call(pool.world.machines.list) if each.hostname in names]
    assert len(workers) == 2 and not any(each.serves_kubernetes or each.runs_etcd for each in workers)
    config = workers[0].config
    assert config["machine"]["ca"]["key"] == "" and "etcd" not in config["cluster"]


def test_node_is_told_of_its_machine_and_gets_the_role_that_the_template_gives_it(pool: WorkerPool) -> None:
    def nodes() -> list[dict[str, dict[str, dict[str, str]]]]:
        found = pool.world.run(pool.life.client.list("Node"))
        return [each for each in found if each["metadata"]["name"] in pool.names()]

    before = pool.names()
    pool.patch({"spec": {"template": {"metadata": {"labels": {"node-role.kubernetes.io/worker": ""}}}}})
    pool.world.wait(5)
    for node in nodes():
        assert node["metadata"]["labels"]["node-role.kubernetes.io/worker"] == ""
        assert node["metadata"]["annotations"]["cluster.x-k8s.io/owner-kind"] == "MachineSet"
        assert node["metadata"]["annotations"]["cluster.x-k8s.io/machine"] == node["metadata"]["name"]
    pool.patch({"spec": {"template": {"metadata": {"labels": {"node-role.kubernetes.io/worker": None}}}}})
    pool.world.wait(5)
    assert not any("node-role.kubernetes.io/worker" in node["metadata"].get("labels", {}) for node in nodes())
    assert pool.names() == before, "labels change in place"


def test_at_rest_nobody_writes(pool: WorkerPool) -> None:
    pool.world.wait(200)  # until CAPH has met the cluster
    before = pool.world.writes["controllers"]
    pool.world.wait(300)
    assert pool.world.writes["controllers"] == before


def test_pool_grows_and_shrinks_and_the_marked_machine_goes_first(pool: WorkerPool) -> None:
    pool.scale(3)
    pool.world.wait(3)
    assert pool.deployment()["status"]["phase"] == "ScalingUp"
    pool.wait_ready(3)
    marked = sorted(pool.names())[-1]
    pool.patch({"metadata": {"annotations": {"cluster.x-k8s.io/delete-machine": "yes"}}}, "Machine", marked)
    pool.scale(1)
    pool.world.wait(3)
    assert new(pool.deployment(), "ScalingDown")["message"] == "Scaling down from 3 to 1 replicas"
    pool.wait_ready(1)
    assert marked not in pool.names()
    (node,) = (each["metadata"]["name"] for each in pool.world.run(pool.life.client.list("Node")) if not _role(each))
    assert {node} == pool.names(), "the Nodes of the Machines that went are gone"
    pool.scale(2)
    pool.wait_ready(2)


def test_other_templates_roll_the_pool_one_by_one_with_one_more_machine(pool: WorkerPool) -> None:
    before = pool.names()
    pool.watch()
    pool.apply(2, template="k8s-workers-2", server_type="cx43")
    pool.world.wait(20)
    assert condition(pool.deployment(), "Available")["status"] == "True"
    rolling = new(pool.deployment(), "RollingOut")
    assert rolling["message"].splitlines()[1:] == [
        "* HCloudMachine is not up-to-date",
        "* TalosConfig is not up-to-date",
    ]
    pool.wait_ready(2, 900)
    assert not before & pool.names()
    assert (pool.most, pool.fewest_ready) == (3, 2)
    types = {
        each["spec"]["type"] for each in pool.world.objects("HCloudMachine") if each["metadata"]["name"] in pool.names()
    }
    assert types == {"cx43"}
    sets = {
        each["metadata"]["annotations"][REVISION]: each["spec"]["replicas"] for each in pool.world.objects("MachineSet")
    }
    assert sets == {"1": 0, "2": 2}, "the last one is kept for its history"
    pool.apply(2)
    pool.wait_ready(2, 900)
    sets = {
        each["metadata"]["annotations"][REVISION]: each["spec"]["replicas"] for each in pool.world.objects("MachineSet")
    }
    assert sets == {"2": 0, "3": 2}, "the first MachineSet is the current one again"


def test_nothing_is_made_while_the_control_plane_is_older_than_it_should_be(pool: WorkerPool) -> None:
    before = pool.names()
    pool.world.run(pool.world.set_available(_deployment("cacppt"), False))
    pool.world.wait(2)
    pool.life.change(version="v1.32.3")
    pool.scale(3)
    pool.world.wait(60)
    assert pool.names() == before
    (machine_set,) = (each for each in pool.world.objects("MachineSet") if each["spec"]["replicas"])
    assert condition(machine_set, "MachinesCreated")["reason"] == "PreflightCheckFailed"
    assert "is upgrading" in condition(machine_set, "MachinesCreated")["message"]
    pool.life.change(version="v1.32.2")
    pool.world.run(pool.world.set_available(_deployment("cacppt"), True))
    pool.wait_ready(3)
    pool.scale(2)
    pool.wait_ready(2)


def test_sick_worker_is_replaced_when_its_health_check_leaves_that_to_the_machine_set(pool: WorkerPool) -> None:
    selector = {"matchExpressions": [{"key": "cluster.x-k8s.io/deployment-name", "operator": "Exists"}]}
    rule = {"type": "Ready", "status": "False", "timeout": "60s"}
    spec = {"clusterName": "k8s", "maxUnhealthy": 1, "selector": selector, "unhealthyConditions": [rule]}
    check = {
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "MachineHealthCheck",
        "metadata": {"name": "k8s-workers", "namespace": "default"},
        "spec": spec,
    }
    pool.world.run(pool.world.apply(check))
    sick, other = sorted(pool.names())
    pool.world.run(pool.life.set_ready(sick, "False"))
    pool.world.wait(50)
    assert sick in pool.names()
    pool.world.wait(12)
    leaving = pool.world.get("Machine", sick)
    assert "deletionTimestamp" in leaving["metadata"]
    assert condition(leaving, "OwnerRemediated")["status"] == "True"
    assert new(leaving, "OwnerRemediated")["reason"] == "MachineDeleting"
    pool.wait_ready(2)
    assert other in pool.names() and sick not in pool.names()
    pool.world.run(pool.world.client.delete("MachineHealthCheck", "k8s-workers", "default"))


def test_pool_goes_with_everything_that_it_made(pool: WorkerPool) -> None:
    servers = len(pool.world.call(pool.world.hetzner.servers))
    pool.world.run(pool.world.client.delete("MachineDeployment", worked_pool.POOL, "default"))
    pool.world.wait(3)
    assert new(pool.deployment(), "Deleting")["message"] == "Deleting 2 Machines"
    pool.wait_gone(lambda: pool.world.management.objects("MachineDeployment"))
    assert pool.world.objects("MachineSet") == [] and pool.names() == set()
    assert len(pool.world.call(pool.world.hetzner.servers)) == servers - 2
    assert {kind: len(pool.world.objects(kind)) for kind in CLUSTER_KINDS} == {
        "MachineDeployment": 0,
        "MachineSet": 0,
        "Machine": 1,
        "HCloudMachine": 1,
        "TalosConfig": 1,
    }
    assert pool.world.objects("HCloudMachineTemplate"), "templates belong to the Cluster"


def test_workers_go_before_the_control_plane_when_the_cluster_is_deleted(
    booting_world: ControllerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durations, "API_SERVER_FIRST", 5.0)
    world, life = booting_world, ClusterLife(booting_world, 1)
    pool = WorkerPool(life)
    pool.apply(2)
    pool.wait_ready(2)
    world.run(world.client.delete("Cluster", "k8s", "default"))
    world.wait(2)
    assert new(world.get("Cluster", "k8s"), "Deleting")["message"].splitlines() == [
        "* MachineDeployments: k8s-workers",
        f"* MachineSets: {world.objects('MachineSet')[0]['metadata']['name']}",
        f"* Worker Machines: {', '.join(sorted(pool.names()))}",
    ]
    world.wait(25)
    assert len(pool.names()) == 2
    assert "deletionTimestamp" not in world.objects("TalosControlPlane")[0]["metadata"]
    pool.wait_gone(pool.machines)
    assert len(world.call(world.hetzner.servers)) == 1
    life.close()
    pool.wait_gone(lambda: world.management.objects("Cluster"))
    assert world.call(world.hetzner.servers) == []


def test_placement_group_takes_ten_servers_and_the_eleventh_machine_says_so(world: ControllerWorld) -> None:
    world.run(world.deploy())
    cluster = manifests(world.token, 1)
    next(each for each in cluster if each["kind"] == "HetznerCluster")["spec"]["hcloudPlacementGroups"].append(
        {"name": "workers", "type": "spread"}
    )
    world.run(world.apply(*cluster, *worked_pool.documents(11, group="workers")))
    world.wait(90)
    servers = world.call(world.hetzner.servers)
    (group,) = {each["placement_group"]["name"] for each in servers if each["labels"]["machine_type"] == "worker"}
    assert (group, len(servers)) == ("k8s-workers", 11), "ten of them workers"
    refused = [
        condition(each, "ServerCreateSucceeded")
        for each in world.objects("HCloudMachine")
        if condition(each, "ServerCreateSucceeded")["status"] == "False"
    ]
    (told,) = ((each["reason"], each["severity"]) for each in refused)
    assert told == ("ServerCreateFailed", "Warning")
    assert "placement_error" in refused[0]["message"]


def _deployment(provider: str) -> dict[str, object]:
    meta = {"name": f"{provider}-controller-manager", "namespace": f"{provider}-system"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta}


def _is_of_pool(item: dict[str, dict[str, dict[str, str]]]) -> bool:
    return "cluster.x-k8s.io/deployment-name" in item["metadata"].get("labels", {})


def _role(node: dict[str, dict[str, dict[str, str]]]) -> bool:
    return "node-role.kubernetes.io/control-plane" in node["metadata"].get("labels", {})
