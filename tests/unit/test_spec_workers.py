"""Pools of workers in the cluster file: what they may say, and every mistake."""

from __future__ import annotations

import jsonschema
import pytest

from tallship.spec import Spec, json_schema, parse_spec
from tallship.spec.patches import is_of_control_planes
from tallship.spec.pools import most_servers


def spec_of(workers: str, more: str = "") -> Spec:
    reading = parse_spec(f"name: k8s\nworkers: {workers}\n{more}")
    assert reading.spec is not None, reading.mistakes
    return reading.spec


def told(workers: str, more: str = "") -> str:
    reading = parse_spec(f"name: k8s\nworkers: {workers}\n{more}")
    return "\n".join(map(str, [*reading.mistakes, *reading.warnings]))


def test_the_guides_cluster_has_no_pools() -> None:
    spec = parse_spec("name: k8s").spec
    assert spec is not None
    assert spec.workers == ()
    assert spec.architectures == ("amd64",)


def test_a_name_alone_is_a_whole_pool() -> None:
    (pool,) = spec_of("[{name: general}]").workers
    assert (pool.server_type, pool.replicas, pool.labels, pool.taints, pool.location) == ("cx33", 1, {}, (), None)


@pytest.mark.parametrize(
    ("replicas", "parts"),
    [(0, (0,)), (1, (1,)), (9, (9,)), (10, (9, 1)), (18, (9, 9)), (19, (9, 9, 1)), (100, (*(9,) * 11, 1))],
)
def test_a_pool_is_divided_before_its_placement_group_is_full(replicas: int, parts: tuple[int, ...]) -> None:
    network = "network: {control_plane_subnet: 10.10.64.0/24}"
    (pool,) = spec_of(f"[{{name: general, replicas: {replicas}}}]", network).workers
    assert pool.parts == parts
    assert sum(parts) == replicas


def test_a_taint_is_written_as_kubectl_writes_it_or_as_a_mapping() -> None:
    (pool,) = spec_of(
        "[{name: a, taints: ['gpu=yes:NoSchedule', 'b:NoExecute', {key: c, effect: NoSchedule}]}]"
    ).workers
    assert [(each.key, each.value, each.effect) for each in pool.taints] == [
        ("gpu", "yes", "NoSchedule"),
        ("b", "", "NoExecute"),
        ("c", "", "NoSchedule"),
    ]


def test_roles_are_cluster_apis_to_give_and_the_rest_the_nodes_own() -> None:
    roles = "node-role.kubernetes.io/worker: '', a.node-restriction.kubernetes.io/b: c"
    (pool,) = spec_of(f"[{{name: a, labels: {{{roles}, disk: nvme, node.kubernetes.io/d: e}}}}]").workers
    assert pool.machine_labels == {"node-role.kubernetes.io/worker": "", "a.node-restriction.kubernetes.io/b": "c"}
    assert pool.node_labels == {"disk": "nvme", "node.kubernetes.io/d": "e"}


@pytest.mark.parametrize(
    ("workers", "message"),
    [
        ("[{server_type: cx33}]", "workers[0].name: is required"),
        ("[{name: Big}]", "`Big` cannot be the name of a pool"),
        ("[{name: a}, {name: a}]", "workers[0].name: there are 2 pools `a`"),
        ("[{name: a-2}]", "would be a part of the pool `a` when that has more than 9 servers"),
        ("[{name: control-plane}]", "named like the control plane"),
        ("[{name: a, replicas: 101}]", "must be at most 100, not 101"),
        ("[{name: a, replicas: -1}]", "must be at least 0, not -1"),
        ("[{name: a, server_type: cx22}]", "workers[0].server_type: Hetzner no longer offers `cx22`"),
        ("[{name: a, server_type: cx99}]", "`cx99` is not a server type known to this release"),
        ("[{name: a, location: ash}]", "ash lies in network zone us-east, the cluster's network in eu-central"),
        ("[{name: a, location: mars}]", "workers[0].location: must be one of"),
        ("[{name: a, labels: {topology.kubernetes.io/zone: x}}]", "no label that a node may give itself"),
        ("[{name: a, labels: {node-role.kubernetes.io/control-plane: ''}}]", "that a node runs the control plane"),
        ("[{name: a, labels: {app.kubernetes.io/part-of: x}}]", "NodeRestriction"),
        ("[{name: a, labels: {'a b': x}}]", "`a b` cannot be a key in Kubernetes"),
        ("[{name: a, labels: {a/b/c: x}}]", "`a/b/c` cannot be a key in Kubernetes"),
        ("[{name: a, labels: {disk: 'x y'}}]", "`x y` cannot be a value in Kubernetes"),
        ("[{name: a, labels: {gpu: true}}]", "workers[0].labels.gpu: must be text"),
        ("[{name: a, taints: [gpu]}]", "`gpu` is not a taint (hint: write it like `key=value:NoSchedule`"),
        ("[{name: a, taints: ['gpu:Never']}]", "`gpu:Never` is not a taint"),
        ("[{name: a, taints: ['a=1:NoExecute', 'a=2:NoExecute']}]", "`a` has the effect NoExecute twice"),
        ("[{name: a, replica: 3}]", "workers[0].replica: there is no such key (hint: did you mean `replicas`?)"),
        ("{name: a}", "workers: must be a list, not a mapping"),
        ("[{name: a, replicas: 100}]", "has no room for 116 nodes"),
        ("[{name: a, replicas: 99}]", "114 servers at once, and Hetzner takes 100 in a network"),
    ],
)
def test_a_mistake_in_a_pool_is_told(workers: str, message: str) -> None:
    small = "network: {pods: 10.10.192.0/19}" if "116 nodes" in message else ""
    assert message in told(workers, small)


def test_fifty_placement_groups_are_the_most_of_a_project() -> None:
    pools = ", ".join(f"{{name: p{number}}}" for number in range(50))
    assert "these pools need 51 placement groups, and Hetzner has 50 in a project" in told(f"[{pools}]")


def test_the_names_of_a_pools_servers_fit() -> None:
    assert told(f"[{{name: {'a' * 47}}}]") == ""
    assert "which is longer than 63 characters (hint: shorten it, or the cluster's name, by 1)" in told(
        f"[{{name: {'a' * 48}}}]"
    )
    assert "`k8s-" + "a" * 47 + "-2-xxxxx-xxxxx`" in told(f"[{{name: {'a' * 47}, replicas: 10}}]")


def test_subnet_has_room_for_every_worker_and_one_more_of_each_part() -> None:
    workers = "[{name: a, replicas: 10}]"
    assert most_servers(spec_of(workers)) == 3 + 1 + 10 + 2
    small = "network: {control_plane_subnet: 10.10.64.0/28}"
    assert "10.10.64.0/28 has no room for 16 servers and the load balancer" in told(workers, small)


def test_two_architectures_need_two_images() -> None:
    spec = spec_of("[{name: arm, server_type: cax21}]")
    assert spec.architectures == ("amd64", "arm64")
    for key, value, what in (("sha256", "a" * 64, "checksum"), ("name", "talos", "name")):
        mistake = told("[{name: arm, server_type: cax21}]", f"image: {{{key}: {value}}}")
        assert f"image.{key}: is the {what} of one image" in mistake


@pytest.mark.parametrize(
    ("patch", "alone"),
    [
        ("machine: {sysctls: {a: b}}", False),
        ("cluster: {network: {dnsDomain: a.b}}", False),
        ("cluster: {etcd: {extraArgs: {a: b}}}", True),
        ("apiVersion: v1alpha1\nkind: KmsgLogConfig\n---\ncluster: {apiServer: {}}", True),
        ("machine: {features: {kubernetesTalosAPIAccess: {enabled: false}}}", True),
    ],
)
def test_a_patch_that_workers_cannot_be_told_is_the_control_planes(patch: str, alone: bool) -> None:
    assert is_of_control_planes(patch) is alone


def test_a_patch_that_workers_are_not_given_is_warned_of() -> None:
    patch = "talos: {patches: [{cluster: {etcd: {extraArgs: {a: b}}}, machine: {sysctls: {a: b}}}]}"
    assert "is given to the control planes alone" in told("[{name: a}]", patch)
    assert "control planes alone" not in told("[]", patch)


def test_the_schema_takes_both_ways_of_writing_a_taint() -> None:
    schema = json_schema()
    taints = ["a=b:NoSchedule", {"key": "a", "effect": "NoExecute"}]
    jsonschema.validate({"name": "k8s", "workers": [{"name": "a", "taints": taints}]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "k8s", "workers": [{"name": "a", "taints": [{"key": "a"}]}]}, schema)
