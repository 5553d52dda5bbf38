"""How the external programs are run: their environment, their end, and what later runs can tell of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tallship import versions
from tallship.adapters.programs import Programs, output_of
from tallship.adapters.programs_process import Mark, environment, run
from tallship.errors import ProgramError, SetupError

CILIUM = versions.CHARTS["cilium"]
SECRET = "a-secret-value"


class Tools:
    """A folder for PATH, with programs made of shell scripts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        self.home = folder / "home"
        self.kubeconfig = folder / "kubeconfig"
        self.programs = Programs(f"{self.folder}:{os.defpath}", self.home)

    def write(self, name: str, script: str) -> None:
        """Make a program."""
        file = self.folder / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def upgrade(self) -> None:
        """Run a helm upgrade."""
        self.programs.helm_upgrade(CILIUM, "1.18.6", {"password": SECRET}, self.kubeconfig)


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(tmp_path)


@pytest.fixture
def gate(tools: Tools) -> Iterator[Callable[[], None]]:
    """Make a helm that runs until the gate is opened; return what opens it."""
    pipe = tools.folder / "pipe"
    os.mkfifo(pipe)
    tools.write("helm", f'touch "{tools.folder}/started"; read line < "{pipe}"')
    descriptor = os.open(pipe, os.O_RDWR)  # both ends, so that nobody waits for the other one

    def open_gate() -> None:
        os.write(descriptor, b"go\n")

    yield open_gate
    open_gate()
    os.close(descriptor)


def test_programs_get_a_private_home_and_no_secrets(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HCLOUD_TOKEN", "KUBECONFIG", "HELM_NAMESPACE", "KIND_CLUSTER_NAME"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    tools.write("kind", "env")
    told = dict(line.split("=", 1) for line in tools.programs.kind_clusters())
    assert SECRET not in told.values()
    assert told["HOME"] == str(tools.home)
    assert told["HELM_CACHE_HOME"].startswith(str(tools.home))
    assert told["CLUSTERCTL_DISABLE_VERSIONCHECK"] == "true"
    assert told["HTTPS_PROXY"] == "http://proxy.example.com:3128"
    assert tools.home.stat().st_mode & 0o777 == 0o700


def test_values_go_through_stdin_alone(tools: Tools) -> None:
    tools.write("helm", f'echo "$@" > "{tools.folder}/arguments"; cat > "{tools.folder}/stdin"')
    tools.upgrade()
    assert SECRET not in (tools.folder / "arguments").read_text()
    assert SECRET in (tools.folder / "stdin").read_text()
    assert "--wait" not in (tools.folder / "arguments").read_text()


def test_clusterctls_configuration_is_private(tools: Tools) -> None:
    tools.write("clusterctl", 'cat "$5"')
    tools.programs.clusterctl_init(tools.kubeconfig, None, {"providers": []}, ["--core", "cluster-api:v1"], timeout=10)
    assert (tools.home / "clusterctl.yaml").stat().st_mode & 0o777 == 0o600


def test_failure_shows_the_end_of_stderr(tools: Tools) -> None:
    tools.write("kind", 'for i in 1 2 3 4 5 6 7 8 9; do echo "line $i" >&2; done; exit 3')
    with pytest.raises(ProgramError, match=r"`kind get` failed \(3\)") as caught:
        tools.programs.kind_clusters()
    assert caught.value.detail.splitlines() == [f"line {number}" for number in range(2, 10)]


def test_program_that_is_missing_or_broken_is_a_setup_error(tools: Tools) -> None:
    assert tools.programs.search("kind") is None
    with pytest.raises(SetupError, match="`kind` is not installed"):
        tools.programs.kind_clusters()
    (tools.folder / "kind").write_text("#!/nowhere/at/all\n")
    (tools.folder / "kind").chmod(0o755)
    with pytest.raises(SetupError, match="cannot be run"):
        tools.programs.kind_clusters()


def test_version_is_found_in_what_the_program_says(tools: Tools) -> None:
    tools.write("helm", "printf v4.3.1")
    tools.write("kind", "exit 1")
    assert tools.programs.find("helm").version == "4.3.1"
    assert tools.programs.find("kind").version == ""


@pytest.mark.parametrize(("wanted", "engine"), [("", "docker"), ("podman", "podman")])
def test_node_is_started_by_the_engine_that_kind_uses(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, wanted: str, engine: str
) -> None:
    monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", wanted)
    for name in ("docker", "podman"):
        tools.write(name, f'echo {name} "$@" > "{tools.folder}/called"')
    tools.programs.kind_start("k8s-mgmt")
    assert (tools.folder / "called").read_text() == f"{engine} start k8s-mgmt-control-plane\n"


def test_program_that_takes_too_long_is_ended_gently(tools: Tools) -> None:
    pipe = tools.folder / "pipe"
    os.mkfifo(pipe)
    tools.write("helm", f"trap 'echo cancelled >&2; exit 1' TERM; read line < \"{pipe}\"")
    argv = [str(tools.folder / "helm"), "upgrade"]
    descriptor = os.open(pipe, os.O_RDWR)
    with pytest.raises(ProgramError, match="did not end within 0 s") as caught:
        run(argv, environment(os.defpath, tools.home), "", 0.3)
    os.close(descriptor)
    assert caught.value.detail == "cancelled"


def test_killed_program_leaves_a_mark_until_one_ends_by_itself(tools: Tools) -> None:
    tools.write("helm", "kill -9 $$")
    assert not tools.programs.helm_was_killed("cilium")
    with pytest.raises(ProgramError):
        tools.upgrade()
    assert tools.programs.helm_was_killed("cilium")
    assert not tools.programs.helm_is_running("cilium")
    assert not tools.programs.helm_was_killed("hccm")
    tools.write("helm", "exit 1")
    with pytest.raises(ProgramError):
        tools.upgrade()
    assert not tools.programs.helm_was_killed("cilium")


def test_running_program_is_seen_and_no_second_one_starts(tools: Tools, gate: Callable[[], None]) -> None:
    work = threading.Thread(target=tools.upgrade)
    work.start()
    while not tools.programs.helm_is_running("cilium"):
        pass
    with pytest.raises(ProgramError, match="still running"):
        tools.upgrade()
    gate()
    work.join(10)
    assert not tools.programs.helm_is_running("cilium")
    assert not tools.programs.helm_was_killed("cilium")


def test_who_only_looks_keeps_no_program_from_starting(tmp_path: Path) -> None:
    mark, done = Mark(tmp_path / "helm cilium"), threading.Event()

    def looks() -> None:
        while not done.is_set():
            _ = mark.is_running

    watchers = [threading.Thread(target=looks) for _ in range(2)]
    for each in watchers:
        each.start()
    try:
        for _ in range(300):
            with mark.held():
                assert mark.is_running
    finally:
        done.set()
        for each in watchers:
            each.join()


def test_program_that_outlives_a_killed_run_is_seen_until_it_ends(tools: Tools, gate: Callable[[], None]) -> None:
    code = (
        "import sys; from pathlib import Path; from tallship import versions\n"
        "from tallship.adapters.programs import Programs\n"
        "programs = Programs(sys.argv[1], Path(sys.argv[2]))\n"
        "programs.helm_upgrade(versions.CHARTS['cilium'], '1', {}, Path('k'))\n"
    )
    words = [sys.executable, "-c", code, f"{tools.folder}:{os.defpath}", str(tools.home)]
    with subprocess.Popen(words) as other:
        while not (tools.folder / "started").exists() and other.poll() is None:
            pass
        other.send_signal(signal.SIGKILL)
    assert tools.programs.helm_is_running("cilium")
    assert not tools.programs.helm_was_killed("cilium")
    gate()
    while tools.programs.helm_is_running("cilium"):
        pass
    assert tools.programs.helm_was_killed("cilium"), "nobody saw how it ended"


@pytest.mark.parametrize(
    ("history", "called"),
    [
        ('[{"revision":1,"status":"pending-install"}]', "uninstall cilium"),
        ('[{"revision":1,"status":"deployed"},{"revision":2,"status":"pending-upgrade"}]', "rollback cilium 1"),
        (
            '[{"revision":1,"status":"superseded"},{"revision":2,"status":"failed"},'
            '{"revision":3,"status":"pending-rollback"}]',
            "rollback cilium 1",
        ),
        ('[{"revision":1,"status":"deployed"}]', "history cilium"),
    ],
)
def test_pending_release_is_freed(tools: Tools, history: str, called: str) -> None:
    tools.write("helm", f"""echo "$@" >> "{tools.folder}/called"; test "$1" != history || echo '{history}'""")
    tools.programs.helm_recover("cilium", "kube-system", tools.kubeconfig)
    assert (tools.folder / "called").read_text().splitlines()[-1].startswith(called)


def test_calls_are_counted(tools: Tools) -> None:
    tools.write("kind", "true")
    tools.programs.kind_clusters()
    tools.programs.kind_clusters()
    assert tools.programs.calls == {"kind get": 2}


def test_persons_own_command_gives_its_output() -> None:
    assert output_of(["printf", "token"]) == "token"
    with pytest.raises(SetupError, match="failed"):
        output_of(["false"])
    with pytest.raises(SetupError, match="could not be run"):
        output_of(["no-such-program-at-all"])


@pytest.mark.parametrize("said", ['[{"revision": 1, "sta', '{"revision": 1}', "[1]", "no json", '[{"revision": "x"}]'])
def test_answer_that_is_not_helms_is_told_and_nothing_is_removed(tools: Tools, said: str) -> None:
    tools.write("helm", f'[ "$1" = history ] || touch "{tools.folder}/removed"; echo \'{said}\'')
    with pytest.raises(ProgramError, match="did not answer as helm does") as caught:
        tools.programs.helm_recover("cilium", "kube-system", tools.kubeconfig)
    assert said in caught.value.detail
    assert not (tools.folder / "removed").exists()
