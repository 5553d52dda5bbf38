"""clusterctl's stand-in, called by our adapter with our own configuration and arguments."""

from __future__ import annotations

import pytest
from programs_lab import NAME, ProgramsLab

from tallship.adapters.kube import Kube
from tallship.errors import ProgramError
from tallship.manifests import clusterctl, conditions

PROVIDER = "clusterctl.cluster.x-k8s.io/v1alpha3", "Provider"
DEPLOYMENTS = [
    "cabpt-controller-manager",
    "cacppt-controller-manager",
    "caph-controller-manager",
    "capi-controller-manager",
    "cert-manager",
    "cert-manager-cainjector",
    "cert-manager-webhook",
]


@pytest.fixture
def kube(lab: ProgramsLab) -> Kube:
    lab.make_management()
    return lab.kube()


def init(lab: ProgramsLab, *changed: tuple[str, str]) -> float:
    """Run `clusterctl init`; returns how long it took."""
    before = lab.clock.now()
    arguments = [dict(changed).get(each, each) for each in clusterctl.init_arguments()]
    lab.client(lambda: lab.programs.clusterctl_init(lab.kubeconfig, None, clusterctl.config(), arguments, timeout=60))
    return lab.clock.now() - before


def test_init_installs_every_provider(lab: ProgramsLab, kube: Kube) -> None:
    seconds = init(lab)
    assert 20 < seconds < 70
    assert conditions.provider_problems(kube.list(*PROVIDER)) == ([], [])
    found = kube.list("apps/v1", "Deployment")
    assert sorted(each["metadata"]["name"] for each in found) == DEPLOYMENTS
    lab.client(lambda: lab.clock.sleep_thread(60))
    assert all(conditions.deployment_available(each) for each in kube.list("apps/v1", "Deployment"))
    assert kube.list("cluster.x-k8s.io/v1beta1", "Cluster") == []
    assert (lab.home / "clusterctl.yaml").stat().st_mode & 0o777 == 0o600


def test_second_init_changes_nothing_but_its_test_namespace(lab: ProgramsLab, kube: Kube) -> None:
    init(lab)
    lab.client(lambda: lab.clock.sleep_thread(60))
    before = {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in kube.list(*PROVIDER)}
    lab.writes.clear()
    assert init(lab) < 15
    after = {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in kube.list(*PROVIDER)}
    assert before == after
    assert lab.writes["kubernetes"] == 2, "made and deleted"


def test_init_fails_while_the_test_namespace_is_going_away(lab: ProgramsLab, kube: Kube) -> None:
    name = "cert-manager-test"
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    stays = {"name": "stays", "namespace": name, "finalizers": ["example.com/for-ever"]}
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": stays})
    kube.delete("v1", "Namespace", name)
    before = lab.clock.now()
    with pytest.raises(ProgramError) as caught:
        init(lab)
    assert "context deadline exceeded" in caught.value.detail
    assert lab.clock.now() - before > 600
    assert kube.list(*PROVIDER) == []


def test_another_version_of_a_provider_that_is_there_is_refused(lab: ProgramsLab, kube: Kube) -> None:
    init(lab)
    lab.client(lambda: lab.clock.sleep_thread(60))
    kube.patch(*PROVIDER, "infrastructure-hetzner", "caph-system", {"version": "v1.0.6"})
    with pytest.raises(ProgramError) as caught:
        init(lab)
    assert "can lead to a non functioning management cluster" in caught.value.detail


def test_unknown_version_is_refused(lab: ProgramsLab, kube: Kube) -> None:
    with pytest.raises(ProgramError) as caught:
        init(lab, ("hetzner:v1.0.7", "hetzner:v9.9.9"))
    assert "release not found for version v9.9.9" in caught.value.detail
    with pytest.raises(ProgramError) as caught:
        init(lab, ("hetzner:v1.0.7", "hezner:v1.0.7"))
    assert "failed to get configuration for the InfrastructureProvider with name hezner" in caught.value.detail


def test_cluster_that_is_stopped_is_told(lab: ProgramsLab, kube: Kube) -> None:
    lab.ask(lab.management.halt(NAME))
    with pytest.raises(ProgramError) as caught:
        init(lab)
    assert "unreachable" in caught.value.detail
