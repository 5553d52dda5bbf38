"""An upgrade in place as documents tell it: notes, refusals, drains, and with what a node would come back."""

from __future__ import annotations

from typing import Any

import pytest

from tallship.manifests import in_place
from tallship.manifests.in_place import Comeback, Mark

BOOT = "0f9c2a4e-1111-2222-3333-444455556666"


def machine(**annotations: str) -> dict[str, Any]:
    return {"metadata": {"name": "one", "annotations": annotations}}


@pytest.mark.parametrize("is_installed", [False, True])
def test_a_mark_is_read_as_it_was_written(is_installed: bool) -> None:
    mark = Mark("v1.12.3", "v1.12.2", BOOT, is_installed)
    written = in_place.marking({"metadata": {}}, mark)["metadata"]["annotations"]
    assert in_place.mark_of({"metadata": {"annotations": written}}) == mark


@pytest.mark.parametrize("text", ["", "to v1.12.3", "yes"])
def test_what_is_no_mark_is_none(text: str) -> None:
    assert in_place.mark_of({"metadata": {"annotations": {in_place.MARK: text}}}) is None
    assert in_place.mark_of({"metadata": {}}) is None


def test_only_our_own_wish_to_skip_remediation_is_taken_back() -> None:
    mark = Mark("v1.12.3", "v1.12.2", BOOT)
    ours = in_place.marking(machine(), mark)["metadata"]["annotations"]
    assert ours[in_place.SKIP_REMEDIATION] == in_place.OURS
    assert in_place.unmarking({"metadata": {"annotations": ours}})["metadata"]["annotations"] == {
        in_place.MARK: None,
        in_place.SKIP_REMEDIATION: None,
    }
    theirs = machine(**{in_place.SKIP_REMEDIATION: ""})
    assert list(in_place.marking(theirs, mark)["metadata"]["annotations"]) == [in_place.MARK]
    assert list(in_place.unmarking(theirs)["metadata"]["annotations"]) == [in_place.MARK]


@pytest.mark.parametrize(
    ("current", "kubernetes", "target", "says"),
    [
        ({"a": "v1.12.2", "b": "v1.12.3"}, "v1.32.2", "v1.12.3", ""),
        ({"a": "v1.12.2"}, "v1.32.2", "v1.13.0", ""),
        ({"a": "v1.11.9"}, "v1.32.2", "v1.14.0", "a: Talos v1.14.0 cannot be installed over v1.11.9"),
        ({"a": "v1.12.0"}, "v1.32.2", "v1.10.9", "a: Talos v1.10.9 cannot be installed over v1.12.0"),
        ({"a": "v1.12.2"}, "v1.30.1", "v1.13.0", "Talos v1.13.0 does not run Kubernetes v1.30.1, but 1.31 to 1.36"),
    ],
)
def test_what_the_tables_forbid_is_told(current: dict[str, str], kubernetes: str, target: str, says: str) -> None:
    found = in_place.refusals(current, [kubernetes], target)
    assert len(found) == bool(says)
    assert all(each.startswith(says) for each in found)


def pod(name: str, owner: str = "", phase: str = "Running", **annotations: str) -> dict[str, Any]:
    owners = [{"kind": owner, "controller": True}] if owner else []
    metadata = {"name": name, "ownerReferences": owners, "annotations": annotations}
    return {"metadata": metadata, "spec": {"nodeName": "one"}, "status": {"phase": phase}}


def test_a_drain_evicts_what_comes_again_elsewhere() -> None:
    mirror = pod("mirror", "Node", **{"kubernetes.io/config.mirror": "x"})
    elsewhere = {**pod("elsewhere", "ReplicaSet"), "spec": {"nodeName": "two"}}
    ended = pod("ended", "Job", "Succeeded")
    pods = [pod("goes", "ReplicaSet"), pod("agent", "DaemonSet"), pod("mine"), mirror, elsewhere, ended]
    assert [each["metadata"]["name"] for each in in_place.to_evict(pods, "one")] == ["goes"]


def plane(talos: str = "v1.12.2") -> dict[str, Any]:
    return {
        "spec": {
            "infrastructureTemplate": {"name": "k8s-control-plane-1"},
            "controlPlaneConfig": {"controlplane": {"talosVersion": talos}},
        }
    }


def template(name: str, image: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"template": {"spec": {"imageName": image}}}}


def node(name: str, version: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"nodeInfo": {"osImage": f"Talos ({version})"}}}


def test_a_replaced_node_comes_back_with_what_the_image_has() -> None:
    templates = [template("k8s-control-plane-0", "v1.9.0"), template("k8s-control-plane-1", "talos-amd64-v1.12.2-0a")]
    nodes = [node("a", "v1.12.3"), node("b", "v1.12.2")]
    found = in_place.comeback(plane("v1.12.1"), templates, nodes)
    assert found == Comeback("v1.12.2", {"a": "v1.12.3"})
    assert found.text == "a server that is replaced would come back with Talos v1.12.2, but a runs v1.12.3"
    assert "`tallship upgrade --talos v1.12.3`" in found.hint


def test_a_pool_has_a_template_of_its_own() -> None:
    pool = {"spec": {"template": {"spec": {"infrastructureRef": {"name": "k8s-big-1"}}}}}
    found = in_place.comeback(pool, [template("k8s-big-1", "talos-amd64-v1.12.2")], [node("w", "v1.13.0")])
    assert found == Comeback("v1.12.2", {"w": "v1.13.0"})


def test_an_image_of_ones_own_name_is_told_by_the_configuration() -> None:
    found = in_place.comeback(plane(), [template("k8s-control-plane-1", "golden")], [node("a", "v1.12.2")])
    assert found == Comeback("v1.12.2", {})
    assert (found.text, found.hint) == ("", "")


def test_nothing_is_claimed_where_nothing_tells() -> None:
    assert in_place.comeback(plane(""), [], [node("a", "v1.12.2")]) == Comeback("", {})
