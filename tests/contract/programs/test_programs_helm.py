"""helm's stand-in, called by our adapter, with the charts that we install."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from programs_lab import ProgramsLab

from tallship import versions
from tallship.errors import ProgramError
from tallship.lab.kube.writes import Options
from tallship.manifests import addons, conditions
from tallship.manifests.release import Release
from tallship.spec import Spec

CILIUM = versions.CHARTS["cilium"]
CCM = versions.CHARTS["hcloud-ccm"]
TALOS_CCM = versions.CHARTS["talos-ccm"]
SPEC = Spec(name="k8s")


@pytest.fixture
def kubeconfig(lab: ProgramsLab) -> Path:
    return lab.workload_kubeconfig()


def upgrade(lab: ProgramsLab, kubeconfig: Path, chart: versions.Chart, **more: Any) -> float:
    """Run `helm upgrade --install` with our values; returns how long it took."""
    before = lab.clock.now()
    values = {**addons.values(chart.component, SPEC), **more}
    version = versions.COMPONENTS[chart.component].version
    lab.client(lambda: lab.programs.helm_upgrade(chart, version, values, kubeconfig))
    return lab.clock.now() - before


def release(lab: ProgramsLab, chart: versions.Chart) -> Release:
    """Return the newest revision as our probe reads it."""
    records = [
        each for each in lab.objects("Secret").values() if each["metadata"]["labels"].get("name") == chart.release
    ]
    found = conditions.newest_release(records)
    assert found is not None
    return found


def container(workload: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = workload["spec"]["template"]["spec"]["containers"][0]
    return found


def test_cilium_is_made_of_our_values(lab: ProgramsLab, kubeconfig: Path) -> None:
    assert 3 < upgrade(lab, kubeconfig, CILIUM) < 10
    agent = container(lab.objects("DaemonSet")["cilium"])
    env = {each["name"]: each.get("value") for each in agent["env"]}
    assert (env["KUBERNETES_SERVICE_HOST"], env["KUBERNETES_SERVICE_PORT"]) == ("localhost", "7445")
    assert "SYS_MODULE" not in agent["securityContext"]["capabilities"]["add"]
    settings = lab.objects("ConfigMap")["cilium-config"]["data"]
    assert settings["ipam"] == "kubernetes"
    assert settings["kube-proxy-replacement"] == "true"
    assert settings["routing-mode"] == "native"
    assert settings["ipv4-native-routing-cidr"] == SPEC.network.pods
    assert {"cilium-operator", "hubble-relay"} <= set(lab.objects("Deployment"))


def test_hetzner_ccm_runs_on_the_hosts_network_with_the_pod_network(lab: ProgramsLab, kubeconfig: Path) -> None:
    upgrade(lab, kubeconfig, CCM)
    made = lab.objects("Deployment")["hcloud-cloud-controller-manager"]
    assert made["spec"]["template"]["spec"]["hostNetwork"]
    assert f"--cluster-cidr={SPEC.network.pods}" in container(made)["args"]
    env = {each["name"]: each for each in container(made)["env"]}
    assert env["HCLOUD_NETWORK"]["valueFrom"]["secretKeyRef"] == {"name": "hcloud", "key": "network"}
    assert env["HCLOUD_LOAD_BALANCERS_LOCATION"]["value"] == "nbg1"


def test_talos_ccm_needs_the_talos_api_in_the_cluster(lab: ProgramsLab, kubeconfig: Path) -> None:
    with pytest.raises(ProgramError) as caught:
        upgrade(lab, kubeconfig, TALOS_CCM)
    assert 'no matches for kind "ServiceAccount" in version "talos.dev/v1alpha1"' in caught.value.detail
    assert lab.objects("Secret") == {}, "helm looks before it records anything"


def test_our_probe_reads_the_release(lab: ProgramsLab, kubeconfig: Path) -> None:
    upgrade(lab, kubeconfig, CILIUM)
    found = release(lab, CILIUM)
    assert conditions.release_equals(found, "1.18.6", addons.values("cilium", SPEC))
    assert not conditions.release_equals(found, "1.18.6", {})
    assert found.revision == 1


def test_upgrade_supersedes_and_takes_away_what_is_gone(lab: ProgramsLab, kubeconfig: Path) -> None:
    upgrade(lab, kubeconfig, CILIUM)
    upgrade(lab, kubeconfig, CILIUM, hubble={"enabled": False}, MTU=1400)
    assert release(lab, CILIUM).revision == 2
    first = lab.objects("Secret")["sh.helm.release.v1.cilium.v1"]
    assert first["metadata"]["labels"]["status"] == "superseded"
    assert "hubble-relay" not in lab.objects("Deployment")
    assert lab.objects("ConfigMap")["cilium-config"]["data"]["mtu"] == "1400"


def test_same_upgrade_touches_no_object(lab: ProgramsLab, kubeconfig: Path) -> None:
    upgrade(lab, kubeconfig, CILIUM)
    before = lab.objects("DaemonSet")["cilium"]["metadata"]["resourceVersion"]
    upgrade(lab, kubeconfig, CILIUM)
    assert lab.objects("DaemonSet")["cilium"]["metadata"]["resourceVersion"] == before


def test_only_ten_revisions_are_kept(lab: ProgramsLab, kubeconfig: Path) -> None:
    for mtu in range(1400, 1412):
        upgrade(lab, kubeconfig, CCM, podLabels={"mtu": str(mtu)})
    assert len(lab.objects("Secret")) == 10
    assert release(lab, CCM).revision == 12


def test_unknown_charts_are_refused(lab: ProgramsLab, kubeconfig: Path) -> None:
    def install(chart: versions.Chart, version: str) -> str:
        with pytest.raises(ProgramError) as caught:
            lab.client(lambda: lab.programs.helm_upgrade(chart, version, {}, kubeconfig))
        return caught.value.detail

    assert "not found" in install(CILIUM, "9.9.9")
    elsewhere = dataclasses.replace(CILIUM, repository="https://charts.example.com")
    assert "is not a valid chart repository or cannot be reached" in install(elsewhere, "1.18.6")
    assert "FetchReference" in install(dataclasses.replace(TALOS_CCM, reference="oci://ghcr.io/other/chart"), "0.5.4")


def test_object_of_somebody_else_is_not_taken_over(lab: ProgramsLab, kubeconfig: Path) -> None:
    upgrade(lab, kubeconfig, CCM)
    forget(lab)
    with pytest.raises(ProgramError) as caught:
        lab.client(
            lambda: lab.programs.helm_upgrade(dataclasses.replace(CCM, release="other"), "1.29.2", {}, kubeconfig)
        )
    assert "cannot be imported into the current release" in caught.value.detail
    upgrade(lab, kubeconfig, CCM)
    assert release(lab, CCM).status == "deployed", "its own objects are adopted"


@pytest.mark.parametrize("installed", [False, True])
def test_killed_helm_leaves_its_release_pending_and_is_recovered(
    lab: ProgramsLab, kubeconfig: Path, installed: bool
) -> None:
    if installed:
        upgrade(lab, kubeconfig, CILIUM)
    interrupt(lab, kubeconfig, signal.SIGKILL)
    pending = release(lab, CILIUM)
    assert pending.status == ("pending-upgrade" if installed else "pending-install")
    with pytest.raises(ProgramError) as caught:
        upgrade(lab, kubeconfig, CILIUM)
    assert "another operation (install/upgrade/rollback) is in progress" in caught.value.detail
    lab.client(lambda: lab.programs.helm_recover("cilium", "kube-system", kubeconfig))
    if installed:
        assert (release(lab, CILIUM).status, release(lab, CILIUM).revision) == ("deployed", 3)
    else:
        assert lab.objects("Secret") == {}
    upgrade(lab, kubeconfig, CILIUM)
    assert release(lab, CILIUM).status == "deployed"


def test_terminated_helm_marks_its_release_failed(lab: ProgramsLab, kubeconfig: Path) -> None:
    status, err = interrupt(lab, kubeconfig, signal.SIGTERM)
    assert status == 1
    assert "Release cilium has been cancelled." in err
    assert release(lab, CILIUM).status == "failed"
    upgrade(lab, kubeconfig, CILIUM)
    assert (release(lab, CILIUM).status, release(lab, CILIUM).revision) == ("deployed", 2)


def test_recovery_of_a_whole_release_does_nothing(lab: ProgramsLab, kubeconfig: Path) -> None:
    upgrade(lab, kubeconfig, CILIUM)
    lab.client(lambda: lab.programs.helm_recover("cilium", "kube-system", kubeconfig))
    assert release(lab, CILIUM).revision == 1


def interrupt(lab: ProgramsLab, kubeconfig: Path, number: signal.Signals) -> tuple[int, str]:
    """Run an upgrade by hand and send a signal while it applies objects; returns its exit status and stderr."""
    words = ["upgrade", "--install", "cilium", "cilium", "--repo", "https://helm.cilium.io", "--version", "1.18.6"]
    words += ["--namespace", "kube-system", "--kubeconfig", str(kubeconfig), "--values", "-", "--reset-values"]
    words += ["--history-max", "10", "--timeout", "5m", "--output", "json"]
    process = subprocess.Popen(
        [str(lab.folder / "bin" / "helm"), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.defpath},
    )
    heard: list[str] = []

    def work() -> None:
        heard.append(process.communicate("{}", timeout=10)[1])

    def strike() -> None:
        while not is_pending(lab):
            lab.clock.sleep_thread(0.2)
        process.send_signal(number)
        process.wait(10)  # time stands still: this thread does not sleep in the lab

    lab.clock.run_client(lambda: lab.clock.run_threads([work, strike]))
    return process.returncode, heard[0]


def is_pending(lab: ProgramsLab) -> bool:
    """True while a revision is pending."""
    return any(each["metadata"]["labels"]["status"].startswith("pending-") for each in lab.objects("Secret").values())


def forget(lab: ProgramsLab) -> None:
    """Delete every record of helm's."""

    def delete() -> None:
        for each in lab.workload.objects("Secret"):
            lab.workload.writes.delete(
                lab.workload._resources["secrets"], "kube-system", each["metadata"]["name"], Options("test")
            )

    lab.call(delete)
