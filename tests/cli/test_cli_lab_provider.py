"""What stands beside a lab: providers' managers as processes, and what a lab remembers of itself."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator

import pytest
import yaml
from real_lab import SPEED, RealLab

from tallship.lab import daemon
from tallship.localplane import kubernetes

COMPONENTS = """
apiVersion: v1
kind: Namespace
metadata: {name: capi-system}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: capi}
webhooks:
  - {name: one, clientConfig: {service: {name: webhook, namespace: capi-system, path: /validate}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: clusters.cluster.x-k8s.io}
spec: {group: cluster.x-k8s.io}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLab]:
    made = RealLab(tmp_path_factory.mktemp("lab"))
    made.run("lab", "up", "--speed", SPEED, "--without", "capi")
    try:
        yield made
    finally:
        daemon.stop(made.state / "lab")


def test_provider_gets_definitions_webhooks_and_a_certificate(lab: RealLab) -> None:
    (lab.folder / "core.yaml").write_text(COMPONENTS)
    found = lab.data("lab", "provider", "core.yaml", "--port", "9440", "--to", "capi")
    assert (found["definitions"], found["webhooks"], found["url"]) == (1, 1, "https://127.0.0.1:9440")
    folder = lab.folder / "capi"
    first, hooks = yaml.safe_load_all((folder / "objects.yaml").read_text())
    assert first["kind"] == "CustomResourceDefinition"
    assert hooks["webhooks"][0]["clientConfig"]["url"] == "https://127.0.0.1:9440/validate"
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(folder / "tls.crt", folder / "tls.key")
    assert [stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()] == [0o600] * 3


@pytest.mark.parametrize(
    ("text", "said"),
    [("kind: Namespace\n", "no definitions and no webhooks"), ("a: [", "cannot read `wrong.yaml`")],
)
def test_file_without_components_is_refused(lab: RealLab, text: str, said: str) -> None:
    (lab.folder / "wrong.yaml").write_text(text)
    _, err = lab.run("lab", "provider", "wrong.yaml", "--port", "9440", "--to", "wrong", code=2)
    assert said in err
    assert not (lab.folder / "wrong").exists()


def test_lab_that_is_started_again_is_as_it_was(lab: RealLab) -> None:
    lab.run("lab", "down")
    lab.run("validate")
    lab.run("plan", "--lab")
    known = lab.data("lab", "status")
    assert (known["without"], str(lab.handle.speed)) == (["capi"], f"{SPEED}.0")
    lab.run("lab", "down")
    lab.run("lab", "up", "--without", "")
    assert (lab.data("lab", "status")["without"], str(lab.handle.speed)) == ([], f"{SPEED}.0")


@pytest.mark.parametrize(
    "words", [("--kubernetes", "real"), ("--programs", "."), ("--kubernetes", "built-in", "--programs", ".")]
)
def test_real_api_servers_need_their_programs(lab: RealLab, words: tuple[str, ...]) -> None:
    _, err = lab.run("lab", "up", *words, code=2)
    assert "`--kubernetes real` and `--programs DIR` go together" in err


def test_clusters_stay_with_their_kind_of_api_server(lab: RealLab) -> None:
    _, err = lab.run("lab", "up", "--kubernetes", "real", "--programs", ".", code=2)
    assert "with its built-in API servers" in err
    lab.run("lab", "down")
    _, err = lab.run("lab", "up", "--kubernetes", "real", "--programs", ".", code=2)
    assert "holds no program `etcd`, `kube-apiserver`, `kube-controller-manager`" in err
    for name in kubernetes.NAMES:
        (lab.folder / name).touch(0o700)
    _, err = lab.run("lab", "up", "--kubernetes", "real", "--programs", ".", code=2)
    assert "the clusters of this lab have built-in API servers" in err
    lab.run("lab", "up")
