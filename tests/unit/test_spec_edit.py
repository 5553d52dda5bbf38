"""One value changes, and every other byte stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallship.errors import SpecError
from tallship.spec import edit_spec, init_text, load_spec
from tallship.spec.document import read
from tallship.spec.edit import edited
from tallship.spec.load import load_spec_with

REPLICAS = ("control_plane", "replicas")
VERSION = ("talos", "version")


@pytest.mark.parametrize(
    ("before", "keys", "value", "after"),
    [
        (
            "name: k8s\ncontrol_plane:\n  # why\n  replicas: 3 # three\n",
            REPLICAS,
            5,
            "name: k8s\ncontrol_plane:\n  # why\n  replicas: 5 # three\n",
        ),
        ("name: k8s\n", REPLICAS, 5, "name: k8s\ncontrol_plane:\n  replicas: 5\n"),
        ("name: k8s", REPLICAS, 5, "name: k8s\ncontrol_plane:\n  replicas: 5\n"),
        ("", REPLICAS, 5, "control_plane:\n  replicas: 5\n"),
        ("# only\n", REPLICAS, 5, "# only\ncontrol_plane:\n  replicas: 5\n"),
        (
            "control_plane:\n    server_type: cx33\n\n# next\nname: k8s\n",
            REPLICAS,
            5,
            "control_plane:\n    server_type: cx33\n    replicas: 5\n\n# next\nname: k8s\n",
        ),
        ("control_plane: {}\nname: x", REPLICAS, 5, "control_plane: {replicas: 5}\nname: x"),
        (
            "control_plane: {server_type: a } # c\n",
            REPLICAS,
            5,
            "control_plane: {server_type: a, replicas: 5 } # c\n",
        ),
        ("control_plane:\nname: x", REPLICAS, 5, "control_plane: {replicas: 5}\nname: x"),
        ("control_plane: # c\nname: x", REPLICAS, 5, "control_plane: {replicas: 5} # c\nname: x"),
        ("control_plane: ~\n", REPLICAS, 5, "control_plane: {replicas: 5}\n"),
        ("{name: x}", REPLICAS, 5, "{name: x, control_plane: {replicas: 5}}"),
        (
            "talos:\n  patches:\n    - |\n      a: 1\nname: x\n",
            VERSION,
            "v1.12.3",
            "talos:\n  patches:\n    - |\n      a: 1\n  version: v1.12.3\nname: x\n",
        ),
        (
            "talos:\n  patches:\n    - a:\n        b: 1 # c\n# end\n",
            VERSION,
            "v1.12.3",
            "talos:\n  patches:\n    - a:\n        b: 1 # c\n  version: v1.12.3\n# end\n",
        ),
        (
            "talos:\r\n  version: 'v1.12.2'  # c\r\nname: x\r\n",
            VERSION,
            "v1.12.3",
            "talos:\r\n  version: v1.12.3  # c\r\nname: x\r\n",
        ),
        ("name: k8s\r\n", REPLICAS, 5, "name: k8s\r\ncontrol_plane:\r\n  replicas: 5\r\n"),
        ("name: k8s\n...\n", REPLICAS, 5, "name: k8s\ncontrol_plane:\n  replicas: 5\n...\n"),
        (
            "name: k8s\nworkers:\n  - name: a # one\n    replicas: 2 # two\n  - name: b\n",
            ("workers", 0, "replicas"),
            4,
            "name: k8s\nworkers:\n  - name: a # one\n    replicas: 4 # two\n  - name: b\n",
        ),
        (
            "workers:\n- name: a # one\n- name: b # two\n# end\nname: k8s\n",
            ("workers", 0, "replicas"),
            4,
            "workers:\n- name: a # one\n  replicas: 4\n- name: b # two\n# end\nname: k8s\n",
        ),
        (
            "workers: [{name: a}, {name: b, replicas: 1}]\n",
            ("workers", 0, "replicas"),
            4,
            "workers: [{name: a, replicas: 4}, {name: b, replicas: 1}]\n",
        ),
        ("workers: [1, 2]\n", ("workers", 1), 3, "workers: [1, 3]\n"),
        ("a: 1\n", ("b",), "1.10", "a: 1\nb: '1.10'\n"),
        ("a: 1\n", ("b",), True, "a: 1\nb: true\n"),
    ],
)
def test_value_is_set(before: str, keys: tuple[str | int, ...], value: str | int, after: str) -> None:
    assert edited(before, keys, value) == after


@pytest.mark.parametrize(
    "text",
    [
        "control_plane: &a {replicas: 3}\nother: *a\n",
        "control_plane: [a]\n",
        "control_plane: text\n",
        "a: 1\n---\nb: 2\n",
        "a: [",
    ],
)
def test_what_would_change_more_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        edited(text, REPLICAS, 5)


def test_a_file_keeps_its_mode_and_its_comments(tmp_path: Path) -> None:
    path = tmp_path / "tallship.yaml"
    path.write_text(init_text("k8s"))
    path.chmod(0o640)
    edit_spec(path, {REPLICAS: 5})
    assert load_spec(path).control_plane.replicas == 5
    assert path.read_text() == init_text("k8s").replace("replicas: 3", "replicas: 5")
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_wrong_value_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "tallship.yaml"
    path.write_text("name: k8s\n")
    with pytest.raises(SpecError, match="etcd needs an odd number"):
        edit_spec(path, {REPLICAS: 4})
    assert path.read_text() == "name: k8s\n"


def test_a_link_goes_on_leading_to_the_file(tmp_path: Path) -> None:
    path, link = tmp_path / "real.yaml", tmp_path / "tallship.yaml"
    path.write_text("name: k8s\n")
    link.symlink_to(path)
    edit_spec(link, {REPLICAS: 5})
    assert link.is_symlink()
    assert load_spec(path).control_plane.replicas == 5


LINES = st.lists(
    st.sampled_from(
        [
            "# c",
            "",
            "name: k8s",
            "control_plane:",
            "  replicas: 3",
            "  server_type: x  # c",
            "talos: {}",
            "  - a",
            "x: |",
        ]
    ),
    max_size=8,
)


@given(LINES, st.sampled_from([REPLICAS, VERSION, ("name",)]), st.sampled_from([5, "v1.12.3", "a: b", "#", ""]))
def test_an_edit_changes_one_value_or_is_refused(lines: list[str], keys: tuple[str, ...], value: str | int) -> None:
    before = "\n".join(lines)
    try:
        after = edited(before, keys, value)
    except SpecError:
        return
    data = read(after).data
    for key in keys:
        data = data[key]
    assert data == value
    assert [line for line in before.splitlines() if line.startswith("#")] == [
        line for line in after.splitlines() if line.startswith("#")
    ]


def test_a_pool_is_named_by_its_place_in_a_dotted_path(tmp_path: Path) -> None:
    path = tmp_path / "tallship.yaml"
    path.write_text("name: k8s\nworkers:\n  - name: a\n  - name: b\n")
    spec = load_spec_with(path, {"workers.1.replicas": "4"})
    assert [each.replicas for each in spec.workers] == [1, 4]


@pytest.mark.parametrize("text", ["workers: [{name: a}]\n", "workers:\n", "name: k8s\n", "workers: {name: a}\n"])
def test_an_item_that_is_not_there_is_not_added(text: str) -> None:
    with pytest.raises(SpecError, match=r"there is no `workers\[1\]`"):
        edited(text, ("workers", 1, "replicas"), 4)


def test_two_values_that_fit_only_together_are_set_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tallship.yaml"
    path.write_text("name: k8s  # mine\ntalos: {version: v1.9.5}\nkubernetes: {version: v1.28.4}\n")
    edit_spec(path, {("talos", "version"): "v1.12.2", ("kubernetes", "version"): "v1.32.2"})
    assert path.read_text() == "name: k8s  # mine\ntalos: {version: v1.12.2}\nkubernetes: {version: v1.32.2}\n"
