"""The charts that the real helm installs in the lab make the same objects as the lab's stand-in."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tallship.lab.programs import chart_packages
from tallship.lab.programs.charts import REPOSITORIES, Chart, coalesced
from tallship.manifests import addons
from tallship.spec import load_spec

Values = dict[str, Any]
ROOT = Path(__file__).parents[2]
SECONDS = 60.0
CHARTS = {chart.name: chart for versions in REPOSITORIES.values() for chart in versions.values()}
OURS = {
    "cilium": "cilium",
    "hcloud-ccm": "hcloud-cloud-controller-manager",
    "talos-ccm": "talos-cloud-controller-manager",
}
OTHER: dict[str, list[Values]] = {
    "cilium": [
        {"k8sServicePort": 6443, "MTU": 1400, "operator": {"replicas": 1, "hostNetwork": False}},
        {"hubble": {"enabled": False, "relay": {"enabled": True, "replicas": 2}}, "routingMode": "native"},
        {"ipam": {"mode": "kubernetes"}, "bpf": {"masquerade": True}, "kubeProxyReplacement": True},
        {"operator": {"tolerations": []}, "securityContext": {"capabilities": {"ciliumAgent": ["NET_ADMIN"]}}},
    ],
    "hcloud-cloud-controller-manager": [
        {"networking": {"enabled": True, "clusterCIDR": "10.10.128.0/17"}, "replicaCount": 2},
        {"monitoring": {"enabled": False}, "robot": {"enabled": True}, "nodeSelector": {"a": "b"}},
        {"env": {"A": {"value": "b"}}, "args": {"v": 4}, "additionalTolerations": [{"operator": "Exists"}]},
    ],
    "talos-cloud-controller-manager": [
        {"enabledControllers": ["node-csr-approval"], "replicaCount": 2, "extraArgs": ["--x=y"]},
        {"logVerbosityLevel": 4, "tolerations": [], "nodeSelector": {}},
    ],
}


def cases() -> list[Any]:
    spec = load_spec(ROOT / "examples/k8s/tallship.yaml")
    given = [(chart, addons.values(name, spec), "ours") for name, chart in OURS.items()]
    given += [(chart, {}, "defaults") for chart in CHARTS]
    given += [(chart, values, str(n)) for chart, listed in OTHER.items() for n, values in enumerate(listed)]
    return [pytest.param(CHARTS[chart], values, id=f"{chart}-{name}") for chart, values, name in given]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("charts")
    chart_packages.write(folder)
    return folder


@pytest.mark.parametrize(("chart", "values"), cases())
def test_real_helm_makes_what_the_stand_in_makes(
    programs: Path, packages: Path, tmp_path: Path, chart: Chart, values: Values
) -> None:
    package = packages / f"{chart.name}-{chart.version}.tgz"
    command = [programs / "helm", "template", "one", package, "--namespace", "kube-system", "--values", "-"]
    home = {"HOME": str(tmp_path)}
    text = yaml.safe_dump(values)
    done = subprocess.run(command, input=text, env=home, capture_output=True, text=True, timeout=SECONDS, check=True)
    wanted = chart.template(chart.app_version, "one", "kube-system", coalesced(chart.defaults, values))
    assert named(yaml.safe_load_all(done.stdout)) == named(wanted)


def named(objects: Any) -> dict[tuple[str, str, str], Any]:
    """Return the objects by kind and name, with their parts in one order."""
    return {(each["apiVersion"], each["kind"], each["metadata"]["name"]): each for each in objects if each}
