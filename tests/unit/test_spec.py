"""A cluster file: its defaults, and every mistake in it at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tallship.errors import SpecError
from tallship.spec import Spec, init_text, json_schema, load_spec, parse_spec
from tallship.spec.messages import every_key

EVERY_OPTION = Path(__file__).parents[1] / "golden/every-option/tallship.yaml"


def mistakes(text: str) -> list[str]:
    return [str(each) for each in parse_spec(text).mistakes]


def warnings(text: str) -> list[str]:
    reading = parse_spec(text)
    assert reading.spec is not None, reading.mistakes
    return [str(each) for each in reading.warnings]


def test_a_name_alone_is_the_guides_cluster() -> None:
    assert parse_spec(init_text("k8s")).spec == parse_spec("name: k8s").spec
    assert warnings("name: k8s") == []


def test_the_init_text_names_every_key() -> None:
    text = init_text().replace("# ", "").replace("#", "")
    missing = [".".join(path) for path in every_key() if f"{path[-1]}:" not in text]
    assert missing == []


def test_what_the_init_text_has_behind_a_sign_is_right_too() -> None:
    lines = init_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("# workers:"))
    optional = [line.removeprefix("# ") for line in lines[start:]]
    shown = [line for line in optional if not line.startswith(("management: kind", "  sha256"))]
    reading = parse_spec("name: k8s\n" + "\n".join(shown))
    assert reading.mistakes == ()


def test_every_option_has_another_value_than_its_default() -> None:
    wanted, default = load_spec(EVERY_OPTION).model_dump(), parse_spec("name: k8s").spec
    assert default is not None
    same = []
    for path in every_key():
        found: Any = wanted
        usual: Any = default.model_dump()
        for part in path:
            found, usual = found[part], (usual or {}).get(part)
            found = found[0] if part == "workers" and len(path) > 1 else found
        if found == usual:
            same.append(".".join(path))
    exclude_each_other = {"hetzner.token_file", "backup.s3.credentials_file"}
    assert set(same) == {"version", "image.name", "health_checks.enabled", *exclude_each_other}


def test_all_mistakes_come_at_once_in_the_order_of_lines() -> None:
    text = """\
hetzner: {location: nbg9}
control_plane:
  replicas: 4
  server_tipe: cx33
network:
  pods: 10.10.64.0/24
kubernetes:
  version: 1.32
talos:
  version: v1.12.2
  version: v1.12.3
oidc: {issuer: https://a.example}
"""
    assert mistakes(text) == [
        "tallship.yaml:1: name: is required",
        "tallship.yaml:1: hetzner.location: must be one of `fsn1`, `hel1`, `nbg1`, `ash`, `hil` or `sin`, not `nbg9`",
        "tallship.yaml:3: control_plane.replicas: etcd needs an odd number of servers, not 4"
        " (hint: 4 fail as early as 3: write an odd number)",
        "tallship.yaml:4: control_plane.server_tipe: there is no such key (hint: did you mean `server_type`?)",
        "tallship.yaml:6: network.pods: 10.10.64.0/24 overlaps `network.control_plane_subnet` 10.10.64.0/25"
        " (hint: the three ranges inside the network must be apart)",
        "tallship.yaml:6: network.pods: 10.10.64.0/24 has no room for 5 nodes, each of which gets a /24"
        " (hint: a /20 is enough for 16 nodes)",
        "tallship.yaml:8: kubernetes.version: must be text, not `1.32` (hint: write it in quotes)",
        "tallship.yaml:11: talos.version: `version` is given twice (hint: the first is on line 10)",
        "tallship.yaml:12: oidc.client_id: is required",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: [a]", "name: must be text, not a list"),
        ("name: K8s", "name: `K8s` cannot be the name of a cluster"),
        ("name: ''", "name: must not be empty"),
        ("- k8s", "this is not a cluster file"),
        ("version: 2", "version: must be 1, not `2`"),
        ("control_plane: {replicas: three}", "control_plane.replicas: must be a whole number, not text"),
        ("control_plane: {replicas: '3'}", "write it without quotes"),
        ("control_plane: {replicas: true}", "control_plane.replicas: must be a whole number, not `true`"),
        ("control_plane: {replicas: 11}", "control_plane.replicas: must be at most 9, not 11"),
        ("control_plane: {replicas: 0}", "control_plane.replicas: must be at least 1, not 0"),
        ("control_plane: {server_type: cx22}", "`cx23` took its place"),
        ("control_plane: 3", "control_plane: must be a mapping, not `3`"),
        ("firewall: {talos_api: no}", "YAML 1.2 has `true` and `false` only"),
        ("firewall: {admin_networks: 10.0.0.0/8}", "firewall.admin_networks: must be a list, not text"),
        ("firewall: {admin_networks: [10.0.0.1/8]}", "firewall.admin_networks[0]: `10.0.0.1/8` is not a network"),
        ("load_balancer: {talos_api: false}", "load_balancer.talos_api: after a pivot nobody can reach the Talos API"),
        ("firewall: {address_url: ftp://x}", "firewall.address_url: `ftp://x` is not a web address"),
        ("replicas: 3", "did you mean `control_plane.replicas`?"),
        ("hcloud_token: abc", "secrets never stand in this file"),
        ("hetzner: {token: abc}", "secrets never stand in this file"),
        ("hetzner: {token_file: a, token_command: b}", "hetzner.token_command: the token comes from"),
        ('hetzner: {token_command: "a \'b"}', "hetzner.token_command: `a 'b` is not a command"),
        ("hetzner: {token_command: ''}", "hetzner.token_command: must name a program"),
        ("network: {cidr: 10.10.0.0}", "network.cidr: `10.10.0.0` is an address, not a network"),
        ("network: {cidr: 10.10.0.1/16}", "(hint: write `10.10.0.0/16`)"),
        ("network: {cidr: 'fd00::/64'}", "network.cidr: `fd00::/64` is not an IPv4 network"),
        ("network: {cidr: 11.0.0.0/8}", "network.cidr: 11.0.0.0/8 is not private"),
        ("network: {cidr: 10.10.0.0/25}", "network.cidr: 10.10.0.0/25 is smaller than Hetzner takes"),
        ("network: {pods: 10.11.0.0/16}", "network.pods: 10.11.0.0/16 is not inside `network.cidr` 10.10.0.0/16"),
        ("network: {cidr: 10.20.0.0/16}", "network.pods: 10.10.128.0/17 (the default) is not inside"),
        ("network: {control_plane_subnet: 10.9.0.0/24}", "network.control_plane_subnet: 10.9.0.0/24 is not inside"),
        ("network: {control_plane_subnet: 10.10.64.0/30}", "has no room for 4 servers and the load balancer"),
        ("network: {services: 10.10.128.0/20}", "network.services: 10.10.128.0/20 overlaps `network.pods`"),
        ("network: {services: 10.0.0.0/8}", "network.services"),
        ("network: {pods: 10.10.128.0/23}", "has no room for 4 nodes, each of which gets a /24"),
        ("kubernetes: {version: latest}", "kubernetes.version: `latest` is not a version"),
        ("kubernetes: {version: v1.36.0}", "Talos v1.12.2 does not run Kubernetes v1.36.0"),
        ("talos: {version: v1.9.1}\nkubernetes: {version: v1.33.0}", "Talos 1.9 runs Kubernetes 1.27 to 1.32"),
        ("talos: {patches: ['- op: add']}", "talos.patches[0]: JSON patches do not work"),
        ("talos: {patches: ['---']}", "talos.patches[0]: an empty patch"),
        ("talos: {patches: ['a: [']}", "talos.patches[0]: this patch cannot be read: on its line 1: this is not YAML"),
        ("talos: {patches: [text]}", "talos.patches[0]: a patch is a mapping"),
        ("talos: {patches: [3]}", "talos.patches[0]: must be a patch"),
        ("talos: {patches: [{machine: {network: {hostname: a}}}]}", "talos.patches[0]: `machine.network.hostname`"),
        ("talos: {patches: [{kind: HostnameConfig}]}", "talos.patches[0]: a HostnameConfig cannot be given here"),
        ("talos: {patches: [{machine: {a: {$patch: delete}}}]}", "talos.patches[0]: `$patch: delete`"),
        ("image: {architecture: arm64}", "image.architecture: `cx33` has amd64 processors and cannot boot arm64"),
        ("image: {name: -a}", "image.name: `-a` cannot be the name of an image"),
        ("image: {sha256: abc}", "image.sha256: `abc` does not look like it should"),
        ("image: {extensions: [agent]}", "image.extensions[0]: `agent` is not the name of an extension"),
        ("image: {kernel_args: ['a b']}", "image.kernel_args[0]: `a b` is not one argument"),
        ("management: kubeconfig", "management.kubeconfig: mode `kubeconfig` needs the path of one"),
        ("management: {kubeconfig: a}", "management.kubeconfig: mode `kind` uses a cluster of its own"),
        ("management: docker", "management.mode: must be one of `kind`, `local` or `kubeconfig`, not `docker`"),
        ("load_balancer: {type: lb41}", "load_balancer.type: must be one of `lb11`, `lb21` or `lb31`, not `lb41`"),
        ("oidc: {issuer: http://a, client_id: b}", "oidc.issuer: `http://a` is not an https address"),
        ("extra_manifests: [a.yaml]", "extra_manifests[0]: `a.yaml` is not an https address"),
        ("addons: {cilium: {version: new}}", "addons.cilium.version: `new` is not a version"),
        ("addons: {cilium: {values: [a]}}", "addons.cilium.values: must be a mapping, not a list"),
        ("addons: {cilium: {values: {bpf: {masquerade: true}}}}", "addons.cilium.values.bpf: `bpf.masquerade` cuts"),
        ("health_checks: {unhealthy_seconds: 5}", "health_checks.unhealthy_seconds: must be at least 60, not 5"),
        ("a: &a [*a]", "its aliases stand for more than is read"),
        ("a: {b: [", "this is not YAML"),
        ("a: 1\n---\nb: 2", "found another document"),
        ("? [a]\n: b", "this key is not read"),
        ("a: !!python/object:os.system x", "the tag"),
        ("control_plane: {replicas: !!int x}", "this value is not read"),
        (r'name: "\ud800"', "this value is not read"),
        (r'"\ud800": 1', "this key is not read"),
    ],
)
def test_mistake_is_told(text: str, told: str) -> None:
    found = mistakes(text if text.startswith(("name", "-")) else f"{text}\nname: k8s")
    assert any(told in each for each in found), found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("control_plane: {server_type: cx99}", "`cx99` is not a server type known to this release"),
        ("hetzner: {location: ash}", "Hetzner is not known to offer `cx33` in ash"),
        ("kubernetes: {version: v1.35.0}", "is not known to make Kubernetes v1.35.0"),
        ("talos: {version: v1.13.0}", "newer than what CABPT v0.6.11 writes configuration for"),
        ("talos: {version: v1.20.0}", "Talos v1.20.0 is not known to this release"),
        ("addons: {hcloud_ccm: {version: 1.31.0}}", "no longer supports Kubernetes v1.32.2"),
        ("addons: {cilium: {version: 1.19.0}}", "Cilium 1.19.0 with Kubernetes v1.32.2 is not known"),
        ("talos: {patches: [{kind: LinkConfig, name: eth2}]}", "a LinkConfig switches DHCP off for every link"),
        ("firewall: {admin_networks: [0.0.0.0/1]}", "`0.0.0.0/1` opens the servers to much of the internet"),
        ("management: {mode: kind, egress_cidr: 0.0.0.0/0}", "`0.0.0.0/0` opens the Talos API to much of the internet"),
        ("firewall: {talos: true}", "Talos' own firewall leaves port 50000 to Hetzner's"),
        (
            "firewall: {admin_networks: [8.8.8.0/24], talos_api: false}\nload_balancer: {talos_api: false}",
            "firewall.talos_api: after a pivot nobody can reach the Talos API",
        ),
    ],
)
def test_what_is_outside_of_what_is_known_is_a_warning(text: str, told: str) -> None:
    assert any(told in each for each in warnings(f"name: k8s\n{text}"))


def test_a_name_too_long_once_prefixed_names_the_server_and_the_limit() -> None:
    assert mistakes(f"name: {'a' * 34}") == []
    (found,) = mistakes(f"name: {'a' * 35}")
    assert f"`{'a' * 35}-control-plane-00000000-xxxxx`, which is longer than 63 characters" in found
    assert "to at most 34 characters" in found


def test_a_default_that_does_not_fit_is_told_at_the_section_that_moved_it() -> None:
    found = parse_spec("name: k8s\nnetwork:\n  cidr: 10.20.0.0/16\n").mistakes
    assert [(each.line, each.path) for each in found] == [
        (2, "network.control_plane_subnet"),
        (2, "network.pods"),
    ]


def test_versions_may_be_written_with_and_without_a_v() -> None:
    text = "name: k8s\nkubernetes: {version: 1.32.3}\naddons: {cilium: {version: v1.18.6}}"
    spec = parse_spec(text).spec
    assert spec is not None
    assert (spec.kubernetes.version, spec.addons.cilium.version) == ("v1.32.3", "1.18.6")


def test_the_architecture_follows_the_server_type_and_the_zone_the_location() -> None:
    spec = parse_spec("name: k8s\ncontrol_plane: {server_type: cax21}\nhetzner: {location: hel1}").spec
    assert spec is not None
    assert (spec.architecture, spec.hetzner.network_zone) == ("arm64", "eu-central")


def test_a_token_in_the_wrong_place_is_not_repeated() -> None:
    token = "s3cr3t" * 10
    for text in (f"hetzner: {token}", f"hetzner: {{token: {token}}}", f"control_plane: {{replicas: {token}}}"):
        assert token[:12] not in "".join(mistakes(f"name: k8s\n{text}"))


def test_a_spec_cannot_be_changed() -> None:
    spec = parse_spec("name: k8s").spec
    with pytest.raises(ValueError, match="frozen"):
        spec.name = "other"  # type: ignore[union-attr,misc]


def test_load_spec_lists_every_mistake_in_one_error(tmp_path: Path) -> None:
    path = tmp_path / "tallship.yaml"
    path.write_text("name: k8s\nfoo: 1\nbar: 2\n")
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert caught.value.message.splitlines()[0].startswith(f"{path}:2: foo: there is no such key")
    assert len(caught.value.message.splitlines()) == 2
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "there is no file"),
        (b"name: k8s\nfoo: \xff", ":2: this is not UTF-8 text"),
        (b"name: k8s\n" + b"#" * 10 * 1024 * 1024, "larger than 1 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_spec_error(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "tallship.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecError, match=told):
        load_spec(path)
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path)


def test_a_byte_order_mark_and_windows_lines_are_no_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "tallship.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: k8s\r\nversion: 1\r\n")
    assert load_spec(path).name == "k8s"


def test_bombs_are_refused_quickly() -> None:
    aliases = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    assert "its aliases stand for more" in mistakes(aliases)[0]
    assert "nested too deeply" in mistakes("[" * 5000)[0]
    assert "nested too deeply" in mistakes("".join(f"{' ' * n}a:\n" for n in range(100)))[0]
    assert "the file is too long" in mistakes("a: [" + "1," * 30_000 + "]")[0]


def test_the_schema_takes_what_the_file_takes() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for text in (EVERY_OPTION.read_text(), init_text(), "{name: k8s, management: kind}"):
        jsonschema.validate(yaml.safe_load(text), schema)
    for text in ("{}", "{name: k8s, replicas: 3}", "{name: k8s, management: docker}"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(text), schema)


def test_every_key_is_described() -> None:
    def fields(section: dict[str, Any]) -> list[str]:
        return [name for name, field in section.get("properties", {}).items() if "description" not in field]

    schema = json_schema()
    assert [name for each in (schema, *schema["$defs"].values()) for name in fields(each)] == []


KEYS = st.sampled_from([path[-1] for path in every_key()]) | st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)


def read_it(text: str) -> None:
    reading = parse_spec(text)
    assert isinstance(reading.spec, Spec) != bool(reading.mistakes)
    assert all(str(each).isprintable() for each in reading.mistakes)


@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_data_is_a_spec_or_mistakes(data: dict[str, Any]) -> None:
    read_it(json.dumps(data))
    read_it(json.dumps({"name": "k8s", **data}))


@given(st.text())
def test_any_text_is_a_spec_or_mistakes(text: str) -> None:
    read_it(text)
    read_it(f"name: k8s\ntalos:\n  patches:\n    - {text}")


@given(st.sampled_from(list(every_key())), VALUES)
def test_any_value_of_any_key_is_a_spec_or_mistakes(path: tuple[str, ...], value: Any) -> None:
    for part in reversed(path):
        value = {part: value}
    read_it(json.dumps({"name": "k8s"} | value))
