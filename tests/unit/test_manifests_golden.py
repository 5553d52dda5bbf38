"""Expected documents. `GOLDEN=rewrite pytest tests/unit/test_manifests_golden.py` writes what is rendered now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from tallship.manifests import cluster, firewall, health, image, render, secret, workers
from tallship.manifests.yaml_text import dump
from tallship.spec import Spec, init_text, load_spec, parse_spec

ROOT = Path(__file__).parents[2]
ADDRESS = "203.0.113.10"


def guide() -> Spec:
    spec = parse_spec(init_text("k8s")).spec
    assert spec is not None
    return spec


def every_option() -> Spec:
    return load_spec(ROOT / "tests/golden/every-option/tallship.yaml")


def beside(spec: Spec) -> str:
    """What `up` puts into APIs and what no rendered file shows."""
    return dump(
        {
            "secrets": [secret.hetzner("TOKEN"), secret.ccm("TOKEN", "4711")],
            "firewall": {
                "selector": firewall.selector(spec),
                "labels": firewall.labels(spec),
                "rules": firewall.rules(spec, ["203.0.113.7/32"]),
            },
            "image": {
                "labels": image.labels(spec),
                "schematic": image.schematic(spec),
                "id": image.schematic_id(spec),
                "url": image.url(spec),
                "installer": image.installer(spec),
            },
        }
    )


def same_as_file(path: Path, text: str) -> None:
    if os.environ.get("GOLDEN") == "rewrite":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{path}: `make golden` shows the difference"


def test_examples_are_the_rendered_tree_of_the_guides_cluster() -> None:
    example = ROOT / "examples/k8s"
    wanted = {**render.files(guide()), "tallship.yaml": init_text("k8s")}
    for path, text in wanted.items():
        same_as_file(example / path, text)
    found = {str(path.relative_to(example)) for path in example.rglob("*") if path.is_file()}
    assert found == set(wanted)


@pytest.mark.parametrize("path", sorted(render.files(every_option())))
def test_every_option_shows_in_the_rendered_tree(path: str) -> None:
    same_as_file(ROOT / "tests/golden/every-option" / path, render.files(every_option())[path])


@pytest.mark.parametrize(("name", "spec"), [("k8s", guide()), ("every-option", every_option())])
def test_what_no_rendered_file_shows(name: str, spec: Spec) -> None:
    same_as_file(ROOT / f"tests/golden/{name}/beside.yaml", beside(spec))


@pytest.mark.parametrize("spec", [guide(), every_option()], ids=["guide", "every-option"])
def test_rendered_files_with_the_address_filled_in_are_what_up_applies(spec: Spec) -> None:
    unknown = render.files(spec)["manifests/cluster.yaml"]
    known = render.files(spec, ADDRESS)["manifests/cluster.yaml"]
    assert unknown.replace(cluster.UNKNOWN_ADDRESS, ADDRESS) == known
    documents = list(yaml.safe_load_all(known))
    assert documents == [*cluster.infrastructure(spec, ADDRESS), cluster.control_plane(spec, ADDRESS)]
    checks = list(yaml.safe_load_all(render.files(spec)["manifests/machine-health-check.yaml"]))
    assert checks == health.documents(spec)
    pools = list(yaml.safe_load_all(render.files(spec).get("manifests/workers.yaml", "")))
    assert pools == workers.documents(spec)


def test_what_stands_before_the_control_plane_ends_at_the_mark() -> None:
    text = render.files(guide(), "")["manifests/cluster.yaml"]
    before = text[: text.index(f"# {cluster.CONTROL_PLANE_MARK}")]
    assert [each for each in yaml.safe_load_all(before) if each] == cluster.infrastructure(guide())
