"""The commands against a real lab: a process of its own, real sockets, real signals."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from real_lab import SECONDS, SPEED, RealLab, ended

from tallship.adapters.kube import Kube
from tallship.lab import daemon
from tallship.ops.lease import DOING, LEASE

WHOLE = {"servers": 3, "load_balancers": 1, "networks": 1, "firewalls": 1, "images": 1, "keys": 0, "builders": 0}
PROGRAMS = ("kind create", "clusterctl init", "helm upgrade")
IMAGE_ACTS = (
    "POST /ssh_keys", "POST /servers", "POST /servers/{id}/actions/enable_rescue", "POST /servers/{id}/actions/poweron",
    "POST /servers/{id}/actions/poweroff", "POST /servers/{id}/actions/create_image", "PUT /images/{id}",
)  # fmt: skip
ACTS = (
    "POST /firewalls", "kind create", "clusterctl init", "PATCH secrets", "PATCH clusters", "PATCH hetznerclusters",
    "PATCH hcloudmachinetemplates", "PATCH taloscontrolplanes", "helm upgrade", "PATCH hcloudremediationtemplates",
    "PATCH machinehealthchecks",
)  # fmt: skip
"""What a run does, in its order: a request, or a program that works on when tallship is killed."""
NO_WRITES = {"hetzner": 0, "kubernetes": 0, "talos": 0}
NODE = {"name", "role", "ready", "kubernetes", "talos", "addresses", "etcd"}
CHANCE = random.Random(7)  # noqa: S311
MOMENTS = [
    pytest.param(round(second + CHANCE.random(), 2), marks=() if second == 2 else pytest.mark.long)
    for second in range(5)
]
"""Real seconds after which a run is killed; it takes about six."""


def make(folder: Path) -> Iterator[RealLab]:
    lab = RealLab(folder)
    try:
        lab.run("lab", "up", "--speed", SPEED)
        yield lab
    finally:
        daemon.stop(lab.state / "lab")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLab]:
    """A lab that the tests of this file share; its cluster is whole."""
    for made in make(tmp_path_factory.mktemp("lab")):
        made.run("up", "--lab", "--quiet")
        yield made


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLab]:
    """A lab whose runs are stopped and killed; each test begins with nothing."""
    yield from make(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def fresh(empty: RealLab) -> RealLab:
    """The same lab with nothing in it."""
    empty.run("lab", "up", "--speed", SPEED, "--fresh")
    return empty


def test_up_makes_the_whole_cluster(lab: RealLab) -> None:
    assert dict(lab.inventory()) == WHOLE


def test_the_run_held_the_lease_as_long_as_it_took_and_gave_it_back(lab: RealLab) -> None:
    with closing(Kube(lab.state / "management.kubeconfig")) as kube:
        lease = kube.find(*LEASE, "tallship-k8s", "default") or {}
    assert lease["metadata"]["annotations"][DOING] == "tallship up"
    assert lease["spec"]["renewTime"] > lease["spec"]["acquireTime"]
    assert "holderIdentity" not in lease["spec"]


def test_second_up_has_nothing_to_do_and_writes_nothing(lab: RealLab) -> None:
    lab.run("lab", "status", "--reset-counters")
    out, err = lab.run("up", "--lab")
    assert "nothing had to be done" in out
    assert "next: tallship status --lab" in err
    assert lab.data("lab", "status")["writes"] == NO_WRITES


def test_up_tells_its_steps_as_data(lab: RealLab) -> None:
    data = lab.data("up", "--lab", "--quiet")
    assert data["changed"] is False
    assert all(set(step) == {"name", "state", "detail", "acted", "seconds"} for step in data["steps"])
    assert {step["state"] for step in data["steps"]} == {"ready"}
    assert Path(data["kubeconfig"]).exists()


def test_plan_of_a_whole_cluster_does_nothing_and_writes_nothing(lab: RealLab) -> None:
    lab.run("lab", "status", "--reset-counters")
    out, _ = lab.run("plan", "--lab")
    assert "nothing would be done" in out
    data = lab.data("plan", "--lab")
    assert all("would_act" in step and step["state"] == "ready" for step in data["steps"])
    assert {"currency", "monthly_net", "items"} <= set(data["cost"])
    assert lab.data("lab", "status")["writes"] == NO_WRITES


def test_status_tells_nodes_etcd_firewall_and_cost(lab: RealLab) -> None:
    out, _ = lab.run("status", "--lab")
    assert out.count(" Ready ") == 3
    assert "3 members, healthy" in out
    data = lab.data("status", "--lab")
    assert len(data["nodes"]) == 3
    assert all(set(node) >= NODE and node["ready"] for node in data["nodes"])
    assert sorted(node["etcd"] for node in data["nodes"]) == ["leader", "member", "member"]
    assert (data["etcd"]["members"], data["etcd"]["healthy"]) == (3, True)
    assert data["problems"] == []
    assert data["firewall"]


def test_watch_looks_again_until_ctrl_c(lab: RealLab) -> None:
    process = lab.start("status", "--lab", "--watch", "--output", "json")
    assert process.stdout is not None
    screens = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [len(each["data"]["nodes"]) for each in screens] == [3, 3]
    process.send_signal(signal.SIGINT)
    out, err = ended(process, 0)
    assert all(json.loads(line)["data"]["problems"] == [] for line in out.splitlines())
    assert "Traceback" not in err


def test_verbose_shows_each_call(lab: RealLab) -> None:
    out, err = lab.run("status", "--lab", "--verbose", "--quiet")
    calls = {line for line in err.splitlines() if line.startswith("call: ")}
    assert {"call: Hetzner: GET /servers", "call: Talos: EtcdMemberList", "call: Kubernetes: list Node"} <= calls
    assert "call: " not in out


def test_lab_status_tells_endpoints_and_faults(lab: RealLab) -> None:
    lab.run("lab", "fault", "slow", "--match", "route=GET /isos", "--value", "seconds=1", "--times", "0")
    data = lab.data("lab", "status")
    assert [(each["name"], each["values"]) for each in data["faults"]] == [("slow", {"seconds": 1.0})]
    assert data["endpoints"]["hetzner"].startswith("https://127.")
    out, _ = lab.run("lab", "status")
    assert "fault slow" in out
    out, _ = lab.run("lab", "fault", "--clear")
    assert "1 faults cleared" in out


@pytest.mark.parametrize("words", [("fault", "no-such"), ("fault", "slow", "--match", "route")])
def test_fault_without_what_it_needs_is_refused(lab: RealLab, words: tuple[str, ...]) -> None:
    out, err = lab.run("lab", *words, code=2)
    assert out == ""
    assert "hint: " in err


def test_lab_env_is_what_a_shell_takes(lab: RealLab) -> None:
    out, _ = lab.run("lab", "env")
    script = f"{out}\ntest -s $SSL_CERT_FILE && test -s $HCLOUD_TOKEN_FILE && test -s $KUBECONFIG && command -v helm"
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.strip() == str(lab.handle.bin_folder / "helm")


def test_lab_env_leads_a_foreign_program_to_the_lab_and_nowhere_else(lab: RealLab) -> None:
    script = """eval "$(tallship lab env)"
    test -s "$MANAGEMENT_KUBECONFIG" && test -s "$TALOSCONFIG"
    curl --fail -sS -H "Authorization: Bearer $(cat "$HCLOUD_TOKEN_FILE")" https://api.hetzner.cloud/v1/locations
    curl --fail -sS "${HCLOUD_ENDPOINT%/v1}/" && exit 1
    curl -sS https://example.invalid && exit 1
    echo; echo "$NO_PROXY $no_proxy $https_proxy" """
    asked = ["sh", "-ec", script]
    environment = {**lab.environment, "https_proxy": "http://127.0.0.1:9", "no_proxy": "*"}
    done = subprocess.run(
        asked, cwd=lab.folder, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    locations, last = done.stdout.splitlines()
    assert "fsn1" in locations
    direct = "localhost,127.0.0.0/8,10.10.0.0/16"
    assert last == f"{direct} {direct} http://{lab.handle.network}.1:8446"
    assert [line for line in done.stderr.splitlines() if "403" in line] != []


def test_backup_is_named_and_a_clear_one_is_told_loudly(lab: RealLab) -> None:
    out, _ = lab.run("backup", "save", "--capi", "--lab")
    assert "every secret of the cluster is in it, in clear" in out
    found = lab.data("backup", "save", "--capi", "--lab", "--quiet")["backup"]
    assert not found["encrypted"]
    assert Path(found["path"]).stat().st_mode & 0o077 == 0


def test_a_backup_of_everything_is_told_listed_and_kept(lab: RealLab) -> None:
    out, _ = lab.run("backup", "save", "--lab")
    assert "3 nodes" in out
    name = next(line for line in out.splitlines() if line.startswith("saved as ")).rsplit("/", 1)[1]
    (found,) = [each for each in lab.data("backup", "list", "--lab")["backups"] if each["name"] == name]
    assert found["contents"] == "everything"
    assert f"revision {found['revision']}," in out
    assert lab.data("backup", "prune", "--lab", "--yes")["deleted"] == []


@pytest.mark.parametrize("noun", ["kubeconfig", "talosconfig"])
def test_credentials_are_printed_named_and_never_in_the_envelope(lab: RealLab, noun: str) -> None:
    text, _ = lab.run(noun, "--lab")
    path = Path(lab.run(noun, "--lab", "--path")[0].strip())
    assert path.read_text().strip() == text.strip()
    assert path.stat().st_mode & 0o077 == 0
    assert yaml.safe_load(text)
    out, err = lab.run(noun, "--lab", "--output", "json")
    assert str(path) in out
    assert "key" not in out + err


def test_merge_keeps_what_was_there_and_can_be_repeated(lab: RealLab) -> None:
    usual = lab.folder / "usual"
    other = {"name": "other", "context": {"cluster": "other", "user": "other"}}
    before = {"apiVersion": "v1", "kind": "Config", "current-context": "other", "contexts": [other]}
    usual.write_text(yaml.safe_dump({**before, "clusters": [], "users": []}))
    for _ in range(2):
        out, _ = lab.run("kubeconfig", "--lab", "--merge")
        assert out == f"context `k8s-lab` is in {usual}\n"
        merged = yaml.safe_load(usual.read_text())
        assert [each["name"] for each in merged["contexts"]] == ["other", "k8s-lab"]
    assert usual.stat().st_mode & 0o077 == 0


def test_merge_writes_the_usual_talosconfig(lab: RealLab) -> None:
    lab.run("talosconfig", "--lab", "--merge")
    assert "k8s-lab" in yaml.safe_load((lab.home / ".talos" / "config").read_text())["contexts"]


def test_tools_of_the_lab_are_all_there(lab: RealLab) -> None:
    assert all(not each["problem"] for each in lab.data("tools", "--lab")["tools"])


def test_second_lab_up_finds_the_first(lab: RealLab) -> None:
    pid = lab.handle.pid
    assert lab.data("lab", "up")["pid"] == pid


def test_token_is_in_no_log_and_no_file_but_its_own(lab: RealLab) -> None:
    token = lab.handle.token.encode()
    mine = [path for path in lab.state.rglob("*") if path.is_file() and (lab.state / "lab") not in path.parents]
    assert [path for path in mine if token in path.read_bytes()] == []
    assert any(path.suffix == ".jsonl" for path in mine)
    assert all(path.stat().st_mode & 0o077 == 0 for path in mine if path.suffix in (".jsonl", ".lock"))


def test_ctrl_c_stops_at_the_next_wait_and_the_next_run_finishes(fresh: RealLab) -> None:
    process = fresh.start("up", "--lab")
    wait_for_acts(process)
    process.send_signal(signal.SIGINT)
    _, err = ended(process, 130)
    assert "stopping at the next wait" in err
    assert "hint: " in err
    assert "Traceback" not in err
    fresh.run("up", "--lab", "--quiet")
    assert dict(fresh.inventory()) == WHOLE


def test_stopped_run_prints_an_envelope_too(fresh: RealLab) -> None:
    process = fresh.start("up", "--lab", "--output", "json")
    wait_for_acts(process)
    process.send_signal(signal.SIGINT)
    out, _ = ended(process, 130)
    envelope = json.loads(out)
    assert envelope["exit_code"] == 130
    assert {error["kind"] for error in envelope["errors"]} == {"Interrupted"}
    assert envelope["data"]["steps"]


@pytest.mark.long
def test_second_ctrl_c_ends_at_once_and_the_next_run_finishes(fresh: RealLab) -> None:
    fresh.run("lab", "fault", "program-hangs", "--match", "program=clusterctl", "--match", "command=init")
    process = fresh.start("up", "--lab")
    wait_for_line(process, "capi-init    -> ")
    process.send_signal(signal.SIGINT)
    wait_for_line(process, "stopping at the next wait")
    process.send_signal(signal.SIGINT)
    out, err = ended(process, 130)
    assert out == ""
    assert "stopped at once" in err
    assert "run the same command again" in err
    assert "Traceback" not in err
    fresh.run("lab", "fault", "--clear")
    fresh.run("up", "--lab", "--quiet")
    assert dict(fresh.inventory()) == WHOLE


def test_run_out_of_time_says_to_run_it_again(fresh: RealLab) -> None:
    out, err = fresh.run("up", "--lab", "--timeout", "60", code=3)
    assert out == ""
    assert "error: " in err
    assert "run the same command again" in err


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_run_is_finished_by_the_next_one(fresh: RealLab, moment: float) -> None:
    process = fresh.start("up", "--lab", "--quiet")
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(moment)
    process.kill()
    process.communicate()
    fresh.run("up", "--lab", "--quiet")
    assert dict(fresh.inventory()) == WHOLE
    assert fresh.data("status", "--lab")["problems"] == []


def met(fault: str, lab: RealLab, process: subprocess.Popen[str]) -> bool:
    """Wait until the run has met the fault; False when it ended before."""
    deadline = time.monotonic() + SECONDS
    while any(each["name"] == fault for each in lab.handle.status()["faults"]):
        assert time.monotonic() < deadline, f"{fault} was not met"
        if process.poll() is not None:
            return False
    return True


@pytest.mark.long
def test_killed_inside_every_act_after_the_server_acted_nothing_is_doubled(fresh: RealLab) -> None:
    for act in IMAGE_ACTS + ACTS:
        if act in PROGRAMS:
            fault, values = "program-slow", {"seconds": 60}
            match = dict(zip(("program", "command"), act.split(), strict=True))
        else:
            fault, values = "lost-answer", {"seconds": 100_000}
            match = {"route": act, "agent": "tallship"}
        fresh.handle.add_fault(fault, match, values)
        process = fresh.start("up", "--lab", "--quiet", *(("--only", "image") if act in IMAGE_ACTS else ()))
        assert met(fault, fresh, process), f"{act}: {process.communicate()}"
        process.kill()
        process.communicate()
    fresh.run("up", "--lab", "--quiet")
    assert dict(fresh.inventory()) == WHOLE
    assert fresh.data("status", "--lab")["problems"] == []
    assert fresh.data("up", "--lab", "--quiet")["changed"] is False


def test_second_run_at_the_same_time_says_who_works(fresh: RealLab) -> None:
    fresh.run("lab", "fault", "machine-never-boots", "--times", "0")  # so that the first does not end meanwhile
    first = fresh.start("up", "--lab")
    wait_for_acts(first)
    out, err = fresh.run("up", "--lab", code=2)
    assert out == ""
    assert f"process {first.pid} (`tallship up`) is working on this cluster" in err
    assert "hint: " in err
    first.send_signal(signal.SIGINT)
    ended(first, 130)


def test_down_stops_the_lab_and_keeps_what_it_knows(fresh: RealLab) -> None:
    fresh.run("up", "--lab", "--only", "firewall")
    assert "has stopped" in fresh.run("lab", "down")[0]
    assert "no lab runs" in fresh.run("lab", "down")[0]
    assert "tallship lab up" in fresh.run("lab", "status", code=2)[1]
    fresh.run("lab", "up", "--speed", SPEED)
    assert fresh.inventory()["firewalls"] == 1


def test_set_changes_a_value_for_one_run_only(fresh: RealLab) -> None:
    fresh.run("up", "--lab", "--until", "firewall", "--set", "control_plane.server_type=cx22", code=2)
    _, err = fresh.run("up", "--lab", "--until", "firewall", "--set", "no.such=1", code=2)
    assert "there is no such key" in err
    assert "--set" in err
    assert (fresh.folder / "tallship.yaml").read_text() == "name: k8s\n"
    assert dict(fresh.inventory()) == dict.fromkeys(WHOLE, 0)


@pytest.mark.long
def test_lab_without_a_stand_in_waits_for_the_real_one(tmp_path: Path) -> None:
    own = RealLab(tmp_path)
    try:
        assert "no-such" in own.run("lab", "up", "--without", "no-such", code=2)[1]
        own.run("lab", "up", "--speed", SPEED, "--without", "caph")
        own.run("up", "--lab", "--until", "secret", "--quiet")
        _, err = own.run("up", "--lab", "--until", "apply", "--quiet", "--timeout", "300", code=3)
        assert "waiting for the load balancer's address" in err
        assert own.inventory()["networks"] == 0
    finally:
        own.run("lab", "down")


def wait_for_acts(process: subprocess.Popen[str]) -> None:
    """Return when the run has begun a change."""
    wait_for_line(process, "-> ")


def wait_for_line(process: subprocess.Popen[str], words: str) -> None:
    """Return when the run has said so on stderr."""
    assert process.stderr is not None
    deadline = time.monotonic() + SECONDS
    while words not in process.stderr.readline():
        assert time.monotonic() < deadline
        assert process.poll() is None
