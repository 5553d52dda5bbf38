"""Files that nobody means well: whatever is in one, it is read soon, or the error says what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from hostile import BOUNDED, NO_JSON, odd
from hypothesis import given
from hypothesis import strategies as st
from identities import kubeconfig, talosconfig

from tallship import bounded
from tallship.adapters.kube import Kube
from tallship.adapters.talos import Talos
from tallship.adapters.talos_channel import host_and_port
from tallship.errors import SetupError, SpecError
from tallship.manifests import access
from tallship.spec import Spec, load_spec, parse_spec
from tallship.spec.edit import edit_spec, edited
from tallship.spec.load import MOST_MISTAKES

EVERY_OPTION = Path(__file__).parents[1] / "golden/every-option/tallship.yaml"
SIGNS = "&*!|>%@`[]{}:,-?#'\"\n\t ~<=ab1.é\u2028\x85\ufeff"
ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))
BOMBS = {
    "aliases": ALIASES,
    "merged keys": MERGES,
    "an alias of itself": "a: &a {b: *a}\n",
    "deep lists": "a: " + "[" * 3000,
    "deep items": "- " * 3000,
    "deep keys": "".join(f"{' ' * n}a:\n" for n in range(500)),
    "a number without end": "a: " + "9" * 5000,
    "a number of many parts": "a: 1" + ":59" * 2000,
    "a number in base 16": "a: 0x" + "f" * 5000,
    "many documents": "---\na\n" * 500,
    "an anchor given twice": "a: &x 1\nb: &x 2\n",
    "no such anchor": "a: *nobody\n",
    "no such day": "a: 2026-13-45\n",
    "a tag of Python's": "a: !!python/object/apply:os.system [id]\n",
    "a key that is a list": "{[a]: b}\n",
    "zero": "a: \0\n",
    "half of a character": "a: \ud800\n",
}


FEW = ("aliases", "merged keys", "deep lists", "no such day", "zero")


def told(text: str) -> str:
    """Return what is said of a cluster file, when it is no good; all of it can be shown."""
    reading = parse_spec(text)
    assert isinstance(reading.spec, Spec) != bool(reading.mistakes)
    assert len(reading.mistakes) <= MOST_MISTAKES + 1
    assert all(each.line >= 1 and len(str(each)) < 3000 and str(each).isprintable() for each in reading.mistakes)
    return "\n".join(map(str, reading.mistakes))


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_in_a_cluster_file_is_a_mistake(bomb: str) -> None:
    assert told(f"name: k8s\n{BOMBS[bomb]}")
    assert told(f"name: k8s\ntalos:\n  patches:\n  - {json.dumps(BOMBS[bomb])}\n")


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_no_yaml_that_is_read(bomb: str) -> None:
    if bomb in ("a number in base 16", "a number without end", "a number of many parts"):
        with pytest.raises(bounded.Unreadable, match="too long"):
            bounded.load(BOMBS[bomb])
        return
    with pytest.raises(bounded.Unreadable) as caught:
        bounded.load(BOMBS[bomb])
    assert caught.value.line >= 1
    assert len(str(caught.value)) < 400


def test_more_values_than_anybody_writes_are_not_read() -> None:
    with pytest.raises(bounded.Unreadable, match="too long"):
        bounded.load("[" + "1," * 1001 + "]", bounded.Limits(values=1000, depth=9))


def test_merged_keys_and_aliases_of_a_sane_size_are_read() -> None:
    assert bounded.load("a: &a {b: 1}\nc: {<<: *a, d: [*a, *a]}\n")["c"] == {"b": 1, "d": [{"b": 1}, {"b": 1}]}
    assert bounded.load_all("a\n---\n[1, 0x1f, 1.5, 2026-01-01]\n---\n")[0] == "a"
    assert bounded.load("") is None


def test_what_holds_a_secret_is_not_repeated_by_the_error_about_it() -> None:
    for text in ("token: s3cret: x", "token: !!int s3cret", "token: 's3cret", "a: [s3cret\nb: c", "a: !!float s3cret"):
        with pytest.raises(bounded.Unreadable) as caught:
            bounded.load(text)
        assert "s3cret" not in f"{caught.value} {caught.value.message}"


@BOUNDED
@given(st.binary(max_size=200) | st.sampled_from(NO_JSON))
def test_any_bytes_are_a_spec_or_an_error_with_a_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tallship.yaml"
    path.write_bytes(content)
    for deed in (load_spec, lambda file: edit_spec(file, {("control_plane", "replicas"): 5})):
        try:
            deed(path)
        except SpecError as error:
            assert error.exit_code == 2
            assert error.message
            assert path.read_bytes() == content


@BOUNDED
@given(st.text(SIGNS, max_size=60))
def test_any_signs_of_yaml_are_a_spec_or_mistakes(text: str) -> None:
    told(text)
    told(f"name: k8s\ntalos:\n  patches:\n  - |\n    {text}\n")


@BOUNDED
@given(odd(yaml.safe_load(EVERY_OPTION.read_text())))
def test_an_odd_value_of_any_key_is_a_mistake_or_none(document: Any) -> None:
    told(json.dumps(document, default=str))


@BOUNDED
@given(
    st.lists(st.text(SIGNS, max_size=12), max_size=6).map("\n".join),
    st.sampled_from([("name",), ("control_plane", "replicas"), ("talos", "patches", 0)]),
    st.sampled_from([5, "v1.12.3", "a: b #", "é\n", "\x00", ""]),
)
def test_any_text_is_edited_in_one_place_or_not_at_all(
    text: str, keys: tuple[str | int, ...], value: str | int
) -> None:
    try:
        after = edited(text, keys, value)
    except SpecError as error:
        assert error.message
        return
    assert after != text or str(value) in text


def test_ten_megabytes_are_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "tallship.yaml"
    path.write_bytes(b"name: k8s\n" + b"# filler\n" * 1_200_000)
    with pytest.raises(SpecError, match="larger than 1 MiB") as caught:
        load_spec(path)
    assert (caught.value.exit_code, bool(caught.value.hint)) == (2, True)
    for use in (Kube, Talos):
        with pytest.raises(SetupError) as refused:
            use(path)
        assert "larger than 1 MiB" in f"{refused.value.message} {refused.value.detail}"


def test_many_mistakes_are_counted_and_long_ones_are_cut() -> None:
    found = told("name: k8s\n" + "".join(f"key{n}: {n}\n" for n in range(3000)))
    assert found.endswith("and 2900 mistakes more")
    assert len(told(f"name: {'k' * 900_000}\n{'k' * 1000}: 1")) < 3000


def used_as_kubeconfig(path: Path) -> None:
    try:
        with closing(Kube(path)) as kube:
            assert kube.server.startswith("https://")
    except SetupError as error:
        assert error.message
        assert error.hint
        assert len(error.message) < 1000


def used_as_talosconfig(path: Path) -> None:
    try:
        Talos(path)
    except SetupError as error:
        assert error.message
        assert error.hint


USES: dict[str, tuple[Callable[[Path], None], Callable[[], dict[str, Any]]]] = {
    "kubeconfig": (used_as_kubeconfig, kubeconfig),
    "talosconfig": (used_as_talosconfig, talosconfig),
}


@pytest.mark.parametrize("noun", USES)
def test_any_bytes_are_an_identity_or_a_setup_error(noun: str, tmp_path: Path) -> None:
    use, make = USES[noun]
    path = tmp_path / noun
    use(path)
    use(tmp_path)
    for content in (*NO_JSON, *(BOMBS[each].encode() for each in FEW)):
        path.write_bytes(content)
        use(path)

    @BOUNDED
    @given(odd(make()) | st.text(SIGNS, max_size=60))
    def any_document(document: Any) -> None:
        text = document if isinstance(document, str) else json.dumps(document)
        path.write_bytes(text.encode(errors="surrogatepass"))
        use(path)

    any_document()


@pytest.mark.parametrize("noun", USES)
def test_anything_is_merged_into_or_refused(noun: str) -> None:
    make = USES[noun][1]
    merge = access.merged if noun == "kubeconfig" else access.merged_talosconfig
    own = yaml.safe_dump(make())

    def merged(have: str, add: str) -> None:
        try:
            whole = bounded.load(merge(have, add, "k8s"))
        except ValueError as error:
            assert str(error) == f"not a {noun}"
            return
        assert whole["current-context" if noun == "kubeconfig" else "context"] == "k8s"

    for content in (BOMBS[each] for each in FEW):
        merged(content, own)
        merged(own, content)

    @BOUNDED
    @given(odd(make()), st.booleans())
    def any_document(document: Any, is_ours: bool) -> None:
        text = json.dumps(document)
        merged(*((own, text) if is_ours else (text, own)))
        for read in (access.read, lambda noun, text: access.talosconfig(text, ["a"], ["b"])):
            try:
                read(noun, text)
            except ValueError as error:
                assert str(error) in (f"not a {noun}", "not a talosconfig")

    any_document()


@given(st.text(":[]/@%#?.a1\x00 é", max_size=12))
def test_any_endpoint_is_an_address_or_none(text: str) -> None:
    try:
        host, port = host_and_port(text)
    except ValueError:
        return
    assert host
    assert 0 < port < 65536
