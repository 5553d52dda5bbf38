"""What the commands that run a cluster say before they ask anybody."""

from __future__ import annotations

import pytest
from command_line import CommandLine


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("upgrade",), "no version was given", "--kubernetes V"),
        (("upgrade", "--kubernetes", "v1.33.1", "--in-place"), "`--in-place` is for Talos alone", "two commands"),
        (("upgrade", "--kubernetes", "x"), "`x` is not a version", "v1."),
        (("upgrade", "--kubernetes", "v1.99.0"), "does not run Kubernetes v1.99.0", ""),
        (("scale",), "how many?", "tallship scale 5"),
        (("scale", "general", "2"), "names no pool `general`", "add one to `workers`"),
        (("scale", "4"), "odd", ""),
        (("logs", "nobody"), "there is no controller `nobody`", "cacppt"),
    ],
)
def test_a_mistake_is_told_with_a_hint(
    tallship: CommandLine, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str, hint: str
) -> None:
    monkeypatch.setenv("HCLOUD_TOKEN", "q" * 64)
    path = tallship.write("name: k8s\n")
    said = tallship(*words)
    assert said.code == 2
    assert said.out == ""
    assert message in said.err
    assert hint in said.err
    assert path.read_text() == "name: k8s\n"


@pytest.mark.parametrize("words", [("upgrade", "--kubernetes", "v1.32.3"), ("scale", "5")])
def test_without_a_cluster_nothing_is_changed(
    tallship: CommandLine, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("HCLOUD_TOKEN", "q" * 64)
    monkeypatch.setenv("HCLOUD_ENDPOINT", "http://127.0.0.1:9")
    path = tallship.write("name: k8s\n")
    said = tallship(*words, "--yes")
    assert said.code == 2
    assert "there is no cluster `k8s` yet" in said.err
    assert path.read_text() == "name: k8s\n"


def test_a_diagnosis_that_sees_nothing_calls_nothing_well(
    tallship: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HCLOUD_TOKEN", "q" * 64)
    monkeypatch.setenv("HCLOUD_ENDPOINT", "http://127.0.0.1:9")
    tallship.write("name: k8s\n")
    said = tallship("diagnose")
    assert "could not be seen: the cluster: there is no kubeconfig of it here" in said.out
    assert "could not be seen: Hetzner: " in said.out
    assert "nothing is wrong" not in said.out
    data = tallship("diagnose", "--output", "json").data
    assert data["findings"] == []
    assert set(data["unseen"]) == {"Cluster API", "the cluster", "Talos", "Hetzner"}
