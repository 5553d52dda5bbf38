"""The programs of a local management cluster come to this machine once, whole, whoever else fetches or is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from release_world import Answer, Member, Releases, left_in, packed, releases, sha256

from tallship.errors import ApiError, Interrupted, SetupError
from tallship.ops import local_programs
from tallship.ops.local_programs import Outside, ensure, missing
from tallship.versions import ImageFile, LocalFile, Release

API = LocalFile(
    "kube-apiserver", "v1.2.3", Release("https://dl.k8s.io/{arch}/kube-apiserver", "https://dl.k8s.io/{arch}/sum")
)
ETCD = LocalFile(
    "etcd", "v3.4.5", Release("https://dl.k8s.io/etcd-{arch}.tar.gz", "https://dl.k8s.io/SUMS", "etcd-{arch}/etcd")
)
CAPH = LocalFile("caph", "v1.0.7", ImageFile("ghcr.io/syself/caph:v1.0.7", "/manager"))
ALL = (ETCD, API, CAPH)
BODIES = {"etcd": b"etcd" * 2**19, "kube-apiserver": b"api" * 2**20, "caph": b"caph" * 2**19}
ARCHIVE = packed(Member("etcd-amd64/etcd", BODIES["etcd"]))
CHILD = """
import sys, threading
from pathlib import Path
from tallship.env import SystemClock
from tallship.ops.local_programs import Outside, ensure
from tallship.versions import LocalFile, Release
source = Release("https://dl.k8s.io/{arch}/kube-apiserver", "https://dl.k8s.io/{arch}/sum")
outside = Outside(SystemClock(), threading.Event(), {"dl.k8s.io": sys.argv[2]}, Path(sys.argv[3]))
ensure(Path(sys.argv[1]), [LocalFile("kube-apiserver", "v1.2.3", source)], None, lambda _: None, outside)
"""


class Machine:
    """A machine with a cache, and a world to fetch from."""

    def __init__(self, world: Releases, room: Path) -> None:
        self.world, self.cache, self.given = world, room / "cache", room / "given"
        self.told: list[str] = []
        world.main.put("/amd64/kube-apiserver", Answer(BODIES["kube-apiserver"]))
        world.main.put("/amd64/sum", Answer(sha256(BODIES["kube-apiserver"]).encode()))
        world.main.put("/etcd-amd64.tar.gz", Answer(ARCHIVE))
        world.main.put("/SUMS", Answer(f"{sha256(ARCHIVE)}  etcd-amd64.tar.gz".encode()))
        world.publish("syself/caph:v1.0.7", packed(Member("manager", BODIES["caph"])))

    def ensure(self, sources: Sequence[LocalFile] = ALL) -> Path:
        outside = Outside(self.world.clock, self.world.stop, self.world.mirrors, self.world.ca_file)
        return ensure(self.cache, sources, None, self.told.append, outside)

    def hold(self) -> tuple[threading.Event, threading.Event]:
        """Make the API server's program stop half way; returns what is set then, and what lets it go on."""
        half, go_on = threading.Event(), threading.Event()
        first = Answer(BODIES["kube-apiserver"], hold=go_on, on_half=half.set)
        self.world.main.answers["/amd64/kube-apiserver"].insert(0, first)
        return half, go_on

    def whole(self, folder: Path) -> dict[str, bytes]:
        return {name: (folder / name).read_bytes() for name in left_in(folder)}

    def leftovers(self) -> list[str]:
        return [name for each in self.cache.iterdir() for name in left_in(each) if name.startswith(".")]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with releases(tmp_path) as world:
        yield Machine(world, tmp_path)


def test_every_program_is_there_afterwards_and_only_then(machine: Machine) -> None:
    wanted = ["etcd v3.4.5", "kube-apiserver v1.2.3", "caph v1.0.7"]
    assert missing(machine.cache, ALL, None) == wanted
    assert machine.whole(machine.ensure()) == BODIES
    assert missing(machine.cache, ALL, None) == []
    assert machine.leftovers() == []


def test_looking_at_what_is_missing_writes_and_asks_nothing(machine: Machine) -> None:
    missing(machine.cache, ALL, None)
    assert not machine.cache.exists()
    assert machine.world.main.asked == []


def test_second_run_asks_nobody(machine: Machine) -> None:
    first = machine.ensure()
    machine.world.main.asked.clear()
    machine.world.storage.asked.clear()
    assert machine.ensure() == first
    assert machine.world.main.asked == machine.world.storage.asked == []


def test_progress_is_told_in_megabytes_of_each_program(machine: Machine) -> None:
    machine.ensure([API])
    assert machine.told[0] == "kube-apiserver 0 of 3 MB"
    assert machine.told[-1] == "kube-apiserver 3 of 3 MB"
    assert len(machine.told) == 4


def test_another_version_is_another_folder_and_loads_only_what_changed(machine: Machine) -> None:
    first = machine.ensure()
    machine.world.main.asked.clear()
    newer = LocalFile("etcd", "v3.4.6", ETCD.source)
    second = machine.ensure((newer, API, CAPH))
    assert first != second
    assert machine.whole(first) == machine.whole(second) == BODIES
    assert {each.path for each in machine.world.main.asked} == {"/etcd-amd64.tar.gz", "/SUMS"}


@pytest.mark.parametrize("name", ["aarch64", "x86_64"])
def test_programs_are_those_of_this_machines_architecture(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    architecture = {"aarch64": "arm64", "x86_64": "amd64"}[name]
    body, repository = name.encode(), "syself/caph"
    monkeypatch.setattr("platform.machine", lambda: name)
    machine.world.main.put(f"/{architecture}/kube-apiserver", Answer(body))
    machine.world.main.put(f"/{architecture}/sum", Answer(sha256(body).encode()))
    machine.world.publish(f"{repository}:v1.0.7", packed(Member("manager", body)), architecture=architecture)
    assert machine.whole(machine.ensure([API, CAPH])) == {"kube-apiserver": body, "caph": body}


@pytest.mark.parametrize(("system", "kind"), [("Darwin", "x86_64"), ("Linux", "riscv64")])
def test_machine_that_cannot_run_them_is_told_so(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, system: str, kind: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: kind)
    for act in (machine.ensure, lambda: missing(machine.cache, ALL, None)):
        with pytest.raises(SetupError, match=f"{system} on {kind}") as caught:
            act()
        assert "kind" in caught.value.hint


def test_document_without_checksum_arrives_and_is_no_program(machine: Machine) -> None:
    source = Release("https://dl.k8s.io/core-components.yaml", "")
    machine.world.main.put("/core-components.yaml", Answer(b"kind: List\n"))
    wanted = LocalFile("core-components.yaml", "v1.10.10", source, is_program=False)
    file = machine.ensure([wanted]) / wanted.name
    assert file.read_bytes() == b"kind: List\n"
    assert file.stat().st_mode & 0o777 == 0o644
    assert missing(machine.cache, [wanted], None) == []


# --- what goes wrong


def test_first_error_ends_the_others_and_what_arrived_is_kept(machine: Machine) -> None:
    machine.ensure([ETCD])
    machine.world.main.put("/amd64/sum", Answer(sha256(b"other").encode()))
    with pytest.raises(ApiError, match="another checksum"):
        machine.ensure([ETCD, API])
    assert machine.leftovers() == []
    assert missing(machine.cache, [ETCD, API], None) == ["kube-apiserver v1.2.3"]


def test_error_of_one_stops_another_in_its_middle(machine: Machine) -> None:
    _, go_on = machine.hold()
    refused = Answer(b"", 404)
    machine.world.main.put("/SUMS", refused)
    threading.Timer(0.3, go_on.set).start()
    with pytest.raises(ApiError, match="SUMS: 404"):
        machine.ensure([API, ETCD])
    assert missing(machine.cache, [API], None) == ["kube-apiserver v1.2.3"]


def test_stop_ends_it_and_leaves_nothing_half(machine: Machine) -> None:
    half, go_on = machine.hold()

    def stop() -> None:
        assert half.wait(10)
        machine.world.stop.set()
        go_on.set()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Interrupted):
        machine.ensure([API])
    thread.join(10)
    assert machine.leftovers() == []
    machine.world.stop.clear()
    assert machine.whole(machine.ensure([API])) == {"kube-apiserver": BODIES["kube-apiserver"]}


def test_run_after_a_killed_one_clears_up_and_goes_on(machine: Machine) -> None:
    half, go_on = machine.hold()
    arguments = [str(machine.cache), machine.world.main.url, str(machine.world.ca_file)]
    with subprocess.Popen([sys.executable, "-c", CHILD, *arguments]) as child:
        assert half.wait(10)
        child.send_signal(signal.SIGKILL)
    go_on.set()
    assert len(machine.leftovers()) == 1
    assert missing(machine.cache, [API], None) == ["kube-apiserver v1.2.3"]
    assert machine.whole(machine.ensure([API])) == {"kube-apiserver": BODIES["kube-apiserver"]}
    assert machine.leftovers() == []


def test_two_runs_at_once_load_each_program_once(machine: Machine) -> None:
    half, go_on = machine.hold()
    found: list[Path] = []
    runs = [threading.Thread(target=lambda: found.append(machine.ensure()), daemon=True) for _ in range(2)]
    for each in runs:
        each.start()
    assert half.wait(10)
    go_on.set()
    for each in runs:
        each.join(20)
    assert found[0] == found[1]
    assert machine.whole(found[0]) == BODIES
    assert machine.world.main.times("/amd64/kube-apiserver") == 1
    assert machine.world.main.times("/etcd-amd64.tar.gz") == 1


def test_run_that_waits_for_another_heeds_a_stop(machine: Machine) -> None:
    half, go_on = machine.hold()
    first = threading.Thread(target=lambda: machine.ensure([API]), daemon=True)
    first.start()
    assert half.wait(10)
    stop = threading.Event()
    outside = Outside(machine.world.clock, stop, machine.world.mirrors, machine.world.ca_file)
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Interrupted):
        ensure(machine.cache, [API], None, machine.told.append, outside)
    go_on.set()
    first.join(10)
    assert missing(machine.cache, [API], None) == []


def test_run_that_waits_too_long_for_another_says_so(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_programs, "LOCK_SECONDS", 0.05)
    half, go_on = machine.hold()
    first = threading.Thread(target=lambda: machine.ensure([API]), daemon=True)
    first.start()
    assert half.wait(10)
    with pytest.raises(SetupError, match="another run"):
        machine.ensure([API])
    go_on.set()
    first.join(10)


def test_cache_that_cannot_be_written_is_a_mistake_of_this_machine(machine: Machine) -> None:
    machine.cache.write_bytes(b"a file where the folder would be")
    with pytest.raises(SetupError, match="cannot be written"):
        machine.ensure()


def test_program_that_lost_its_mode_is_fetched_anew(machine: Machine) -> None:
    folder = machine.ensure([API])
    (folder / "kube-apiserver").resolve().chmod(0o600)
    assert missing(machine.cache, [API], None) == ["kube-apiserver v1.2.3"]
    machine.ensure([API])
    assert missing(machine.cache, [API], None) == []


# --- a folder of the user's own


def put(folder: Path, name: str, mode: int = 0o755) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"program")
    (folder / name).chmod(mode)


def given(machine: Machine) -> Path:
    outside = Outside(machine.world.clock, machine.world.stop, {})
    return ensure(machine.cache, ALL, machine.given, machine.told.append, outside)


def test_folder_of_the_users_own_is_used_as_it_is(machine: Machine) -> None:
    for each in ALL:
        put(machine.given, each.name)
    assert missing(machine.cache, ALL, machine.given) == []
    assert given(machine) == machine.given
    assert machine.world.main.asked == []
    assert not machine.cache.exists()


def test_every_program_that_a_folder_lacks_is_named_at_once(machine: Machine) -> None:
    put(machine.given, "kube-apiserver", 0o644)
    (machine.given / "caph").mkdir()
    for act in (lambda: given(machine), lambda: missing(machine.cache, ALL, machine.given)):
        with pytest.raises(SetupError) as caught:
            act()
        assert "missing: etcd, caph; not executable: kube-apiserver" in caught.value.message
        assert "etcd v3.4.5" in caught.value.hint


def test_program_that_cannot_be_executed_is_named(machine: Machine) -> None:
    for each in ALL:
        put(machine.given, each.name, 0o644 if each is CAPH else 0o755)
    with pytest.raises(SetupError, match=r"every file; not executable: caph$"):
        given(machine)


def test_folder_that_is_not_there_is_named(machine: Machine) -> None:
    with pytest.raises(SetupError, match=r"no folder `.*given`"):
        given(machine)
