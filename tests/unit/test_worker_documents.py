"""The documents of pools, what a change of them replaces, and what is of no use after it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from tallship.lab.talos.config import generate, patch, secrets, validate
from tallship.manifests import cluster, health, image, makefile, pivot, talos, worker_rollout, workers
from tallship.spec import Spec, parse_spec

Document = dict[str, Any]

POOL = "name: k8s\nworkers: [{name: general, replicas: 2}]\n"


def spec_of(text: str) -> Spec:
    reading = parse_spec(text)
    assert reading.spec is not None, reading.mistakes
    return reading.spec


def pool(settings: str, more: str = "") -> Spec:
    return spec_of(f"name: k8s\nworkers: [{{name: general, {settings}}}]\n{more}")


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    return [each for each in documents if each["kind"] == kind]


def deployment(spec: Spec) -> Document:
    return of_kind(workers.documents(spec), "MachineDeployment")[0]


def named(documents: list[Document]) -> list[str]:
    return [f"{each['kind']}/{each['metadata']['name']}" for each in documents]


def test_no_pools_are_no_documents() -> None:
    spec = spec_of("name: k8s")
    assert workers.documents(spec) == []
    assert cluster.placement_groups(spec) == ["control-plane"]
    assert len(health.documents(spec)) == 2
    assert "\nworkers:" not in makefile.text(spec)


def test_each_machine_deployment_names_templates_that_come_before_it() -> None:
    seen: set[str] = set()
    for each in workers.documents(spec_of("name: k8s\nworkers: [{name: a, replicas: 20}, {name: b}]")):
        if each["kind"] == "MachineDeployment":
            assert worker_rollout.templates(each) <= seen
        seen.add(each["metadata"]["name"])
    assert len(seen) == len(workers.documents(spec_of("name: k8s\nworkers: [{name: a, replicas: 20}, {name: b}]")))


def test_a_large_pool_has_a_machine_deployment_for_each_placement_group() -> None:
    spec = pool("replicas: 20")
    found = of_kind(workers.documents(spec), "MachineDeployment")
    assert [(each["metadata"]["name"], each["spec"]["replicas"]) for each in found] == [
        ("k8s-general", 9),
        ("k8s-general-2", 9),
        ("k8s-general-3", 2),
    ]
    machines = of_kind(workers.documents(spec), "HCloudMachineTemplate")
    groups = [each["spec"]["template"]["spec"]["placementGroupName"] for each in machines]
    assert groups == ["general", "general-2", "general-3"]
    assert cluster.placement_groups(spec) == ["control-plane", *groups]
    assert len(of_kind(workers.documents(spec), "TalosConfigTemplate")) == 1


def test_templates_have_other_names_exactly_when_their_content_differs() -> None:
    first = named(workers.documents(spec_of(POOL)))
    assert named(workers.documents(pool("replicas: 5"))) == first
    for settings, more, kind in (
        ("replicas: 2, server_type: cx43", "", "HCloudMachineTemplate"),
        ("replicas: 2, labels: {a: b}", "", "TalosConfigTemplate"),
        ("replicas: 2, taints: ['a:NoExecute']", "", "TalosConfigTemplate"),
        ("replicas: 2", "talos: {patches: [{machine: {sysctls: {a: b}}}]}", "TalosConfigTemplate"),
    ):
        other = named(workers.documents(pool(settings, more)))
        assert {each.split("/")[0] for each in set(other) ^ set(first)} == {kind}


def test_servers_of_two_architectures_boot_from_two_images() -> None:
    spec = pool("server_type: cax21")
    (template,) = of_kind(workers.documents(spec), "HCloudMachineTemplate")
    assert template["spec"]["template"]["spec"]["imageName"] == "talos-arm64-v1.12.2"
    assert cluster.machine_template(spec)["spec"]["template"]["spec"]["imageName"] == "talos-amd64-v1.12.2"
    assert image.names(spec) == ["talos-amd64-v1.12.2", "talos-arm64-v1.12.2"]
    assert [f"-var architecture={each} packer" in makefile.text(spec) for each in ("amd64", "arm64")] == [True, True]


PATCHES = """\
talos:
  patches:
    - machine: {sysctls: {a: b}}
    - cluster: {etcd: {extraArgs: {a: b}}}
firewall: {talos: true}
oidc: {issuer: https://login.example.com, client_id: k8s}
"""


@pytest.mark.parametrize("more", ["", PATCHES])
def test_talos_takes_the_configuration_of_a_worker(more: str) -> None:
    spec = pool("labels: {a: b}, taints: ['gpu=yes:NoSchedule']", more)
    subnets = ([spec.network.pods], [spec.network.services])
    bundle = secrets.new_bundle()
    endpoint = "https://203.0.113.10:6443"
    base = generate.controlplane_config(
        bundle, "k8s", endpoint, "1.32.2", "v1.12.2", *subnets, "cluster.local", "worker"
    )
    documents = patch.apply_patches(base, talos.worker_patches(spec, spec.workers[0]))
    validate.load(yaml.safe_dump_all(documents))
    main = next(each for each in documents if "machine" in each)
    assert main["machine"]["nodeLabels"]["a"] == "b"
    taints = main["machine"]["kubelet"]["extraConfig"]["registerWithTaints"]
    assert taints == [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]
    rules = {each["name"] for each in documents if each.get("kind") == "NetworkRuleConfig"}
    assert ("kubelet" in rules) == bool(more)
    assert not {"etcd", "trustd", "kubernetes-api"} & rules
    assert main["machine"].get("sysctls", {}) == ({"a": "b"} if more else {})


def test_a_role_is_given_by_cluster_api_and_replaces_nobody() -> None:
    before, after = (deployment(pool(each)) for each in ("replicas: 1", "labels: {node-role.kubernetes.io/worker: ''}"))
    assert after["spec"]["template"]["metadata"]["labels"]["node-role.kubernetes.io/worker"] == ""
    assert worker_rollout.replaces_servers(before, after) == []


@pytest.mark.parametrize(
    ("settings", "more", "reason"),
    [
        ("replicas: 9", "", ""),
        ("replicas: 2", "health_checks: {enabled: false}", ""),
        ("server_type: cx43", "", "server type or image differ"),
        ("location: fsn1", "", "location nbg1 becomes fsn1"),
        ("labels: {a: b}", "", "Talos version, labels, taints or patches differ"),
        ("replicas: 2", "kubernetes: {version: v1.32.3}", "Kubernetes v1.32.2 becomes v1.32.3"),
    ],
)
def test_a_change_says_why_it_replaces_servers(settings: str, more: str, reason: str) -> None:
    wanted = deployment(pool(settings, more))
    assert "; ".join(worker_rollout.replaces_servers(deployment(spec_of(POOL)), wanted)) == reason
    empty = deployment(pool("replicas: 0"))
    assert worker_rollout.replaces_servers(empty, wanted) == []


def test_a_stored_configuration_that_means_the_same_keeps_its_name() -> None:
    spec = spec_of(POOL)
    (config,) = of_kind(workers.documents(spec), "TalosConfigTemplate")
    stored, live = copy.deepcopy(config), copy.deepcopy(deployment(spec))
    stored["metadata"]["name"] = "k8s-general-older"
    patches = stored["spec"]["template"]["spec"]["strategicPatches"]
    stored["spec"]["template"]["spec"]["strategicPatches"] = [f"# older\n{each}" for each in reversed(patches)]
    live["spec"]["template"]["spec"]["bootstrap"]["configRef"]["name"] = "k8s-general-older"
    found = workers.documents(spec, [live], [stored])
    assert worker_rollout.replaces_servers(live, of_kind(found, "MachineDeployment")[0]) == []
    assert of_kind(found, "TalosConfigTemplate")[0]["spec"] == stored["spec"]
    changed = workers.documents(pool("replicas: 2, labels: {a: b}"), [live], [stored])
    assert "k8s-general-older" not in {each["metadata"]["name"] for each in changed}
    assert workers.documents(spec, [live], []) == workers.documents(spec)


def test_templates_are_of_use_while_a_set_refers_to_them() -> None:
    documents = workers.documents(spec_of(POOL))
    (one,), (other,) = (of_kind(documents, kind) for kind in ("HCloudMachineTemplate", "TalosConfigTemplate"))
    foreign = {**one, "metadata": {**one["metadata"], "name": "mine", "labels": {}}}
    assert worker_rollout.unused([one, other, foreign], [deployment(spec_of(POOL))]) == []
    assert worker_rollout.unused([one, other, foreign], []) == [one, other]


def live(count: int = 2, /, **status: int) -> Document:
    """A MachineDeployment with a status that is whole but for what is given."""
    whole = {"replicas": count, "updatedReplicas": count, "readyReplicas": count, "observedGeneration": 2}
    document = deployment(pool(f"replicas: {count}"))
    return {**document, "metadata": {**document["metadata"], "generation": 2}, "status": {**whole, **status}}


@pytest.mark.parametrize(
    ("status", "done"),
    [
        ({}, True),
        ({"replicas": 3}, False),
        ({"updatedReplicas": 1}, False),
        ({"readyReplicas": 1}, False),
        ({"observedGeneration": 1}, False),
    ],
)
def test_a_pool_is_rolled_out_when_every_count_is_what_it_should_be(status: dict[str, int], done: bool) -> None:
    assert worker_rollout.is_rolled_out(live(**status)) is done
    told = "k8s-general: " in "".join(worker_rollout.waiting([live(**status)], [], []))
    assert told is not done


def test_an_empty_pool_waits_for_nothing() -> None:
    empty = live(0)
    empty["status"] = {"observedGeneration": 2}
    assert list(worker_rollout.waiting([empty], [], [])) == []


def test_machines_that_go_and_nodes_that_are_not_ready_are_waited_for() -> None:
    going = {"metadata": {"name": "old", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    joined = {"metadata": {"name": "new"}, "status": {"nodeRef": {"name": "n1"}}}
    node = {"metadata": {"name": "n1"}, "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "X"}]}}
    lines = list(worker_rollout.waiting([live()], [going, joined], [node]))
    assert lines[0] == "old is going"
    assert lines[1].startswith("n1: Ready is False: X")
    assert worker_rollout.ready_nodes([joined], [node]) == 0
    node["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    assert worker_rollout.ready_nodes([joined, going], [node]) == 1


def test_placement_groups_stay_as_long_as_a_server_is_in_them() -> None:
    before, wanted = cluster.hetzner_cluster(pool("replicas: 20")), cluster.hetzner_cluster(pool("replicas: 9"))
    servers = [{"metadata": {"name": "a"}, "spec": {"placementGroupName": "general-3"}}]
    kept = worker_rollout.with_groups_in_use(wanted, before, servers)
    assert [each["name"] for each in worker_rollout.live_groups(kept)] == ["control-plane", "general", "general-3"]
    assert worker_rollout.with_groups_in_use(wanted, before, []) == wanted


def test_placement_groups_are_made_and_deleted_by_caph() -> None:
    made = {"status": {"hcloudPlacementGroups": [{"id": 1, "name": "control-plane", "type": "spread"}]}}
    asked = {**cluster.hetzner_cluster(pool("replicas: 1")), **made}
    assert worker_rollout.lacking_groups(asked, ["control-plane", "general"]) == ["general"]
    assert worker_rollout.excess_groups(asked) == []
    asked["spec"]["hcloudPlacementGroups"] = []
    assert worker_rollout.excess_groups(asked) == ["control-plane"]


@pytest.mark.parametrize(("count", "most"), [(1, 1), (2, 1), (6, 2), (30, 10)])
def test_a_third_of_the_workers_may_be_replaced_at_once(count: int, most: int) -> None:
    spec = pool(f"replicas: {count}")
    check = health.documents(spec)[-1]
    assert check["metadata"]["name"] == "k8s-workers"
    assert check["spec"]["maxUnhealthy"] == most
    assert "remediationTemplate" not in check["spec"]


def test_a_pivot_waits_for_pools_that_change() -> None:
    told = pivot.why_not_yet(
        {"spec": {}}, None, [], None, [live(), {**live(readyReplicas=1), "metadata": {"name": "a"}}]
    )
    assert "pool a is changing" in told
    assert not any("general" in each for each in told)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("error during placement (resource_unavailable, 5c2)", "another `server_type` or `location`"),
        ("server limit reached (resource_limit_exceeded)", "the project's limits"),
        ("0 of 2 workers are ready", ""),
    ],
)
def test_hetzners_refusals_come_with_advice(text: str, advice: str) -> None:
    assert advice in worker_rollout.hint(text)
    assert bool(advice) == bool(worker_rollout.hint(text))
