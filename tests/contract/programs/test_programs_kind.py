"""kind's stand-in, called by our adapter over real sockets."""

from __future__ import annotations

import stat
import subprocess

import pytest
from programs_lab import IMAGE, NAME, ProgramsLab

from tallship.errors import ProgramError


def test_versions_are_told(lab: ProgramsLab) -> None:
    names = ("kind", "clusterctl", "helm")
    found = lab.client(lambda: [lab.programs.find(name).version for name in names])
    assert found == ["0.30.0", "1.10.10", "3.19.0"]


def test_created_cluster_answers_and_is_listed(lab: ProgramsLab) -> None:
    assert lab.client(lab.programs.kind_clusters) == []
    first = lab.make_management()
    assert lab.client(lab.programs.kind_clusters) == [NAME]
    assert 80 < first < 90, "with pulling the node image"
    assert stat.S_IMODE(lab.kubeconfig.stat().st_mode) == 0o600
    assert lab.kube().is_up()


def test_second_creation_takes_45_seconds(lab: ProgramsLab) -> None:
    lab.make_management()
    lab.client(lambda: lab.programs.kind_delete(NAME, lab.kubeconfig))
    assert not lab.kubeconfig.exists()
    assert 45 <= lab.make_management() < 46


def test_cluster_that_exists_is_not_created_again(lab: ProgramsLab) -> None:
    lab.make_management()
    with pytest.raises(ProgramError) as caught:
        lab.make_management()
    assert 'node(s) already exist for a cluster with the name "k8s-mgmt"' in caught.value.detail


def test_kubeconfig_is_written_again(lab: ProgramsLab) -> None:
    lab.make_management()
    text = lab.kubeconfig.read_text()
    lab.kubeconfig.unlink()
    lab.client(lambda: lab.programs.kind_kubeconfig(NAME, lab.kubeconfig))
    assert "kind-k8s-mgmt" in text
    assert lab.kube().is_up()


def test_stopped_node_is_started(lab: ProgramsLab) -> None:
    lab.make_management()
    lab.ask(lab.management.halt(NAME))
    kube = lab.kube()
    assert not kube.is_up()
    assert lab.client(lab.programs.kind_clusters) == [NAME]
    lab.client(lambda: lab.programs.kind_start(NAME))
    assert not kube.is_up()
    lab.client(lambda: lab.clock.sleep_thread(15))
    assert kube.is_up()


def test_docker_that_is_down_is_told(lab: ProgramsLab) -> None:
    lab.fault("docker-down")
    with pytest.raises(ProgramError) as caught:
        lab.client(lab.programs.kind_clusters)
    assert "Cannot connect to the Docker daemon" in caught.value.detail


def test_unknown_flags_are_refused_in_kinds_words(lab: ProgramsLab) -> None:
    done = lab.client(lambda: _run(lab, "kind", "create", "cluster", "--name", NAME, "--image", IMAGE, "--wait", "5m"))
    assert done.returncode == 1
    assert done.stderr == "ERROR: unknown flag: --wait\n"


def test_program_of_a_lab_that_is_down_says_so(lab: ProgramsLab) -> None:
    control = lab.folder / "bin" / ".control.json"
    control.write_text(control.read_text().replace("8445", "1"))
    done = _run(lab, "helm", "version", "--template", "{{.Version}}")
    assert done.returncode == 1
    assert "the lab does not answer" in done.stderr


def _run(lab: ProgramsLab, *argv: str) -> subprocess.CompletedProcess[str]:
    words = [str(lab.folder / "bin" / argv[0]), *argv[1:]]
    return subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
