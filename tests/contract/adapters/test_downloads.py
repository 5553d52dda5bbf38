"""A file of a release: verified against its publisher's checksum, and nowhere half."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from release_world import Answer, Member, Releases, folder, left_in, packed, releases, sha256, symlink

from tallship.adapters import downloads
from tallship.adapters.downloads import Downloads
from tallship.errors import ApiError, Interrupted, SetupError, TallshipError, Unreachable

PROGRAM = b"\x7fELF" + bytes(range(256)) * 400
URL, SUM = "https://dl.k8s.io/release/v1/kube-apiserver", "https://dl.k8s.io/release/v1/kube-apiserver.sha256"
FILE, FILE_SUM = "/release/v1/kube-apiserver", "/release/v1/kube-apiserver.sha256"
ARCHIVE, LIST = "https://dl.k8s.io/etcd/v3/etcd-linux-amd64.tar.gz", "https://dl.k8s.io/etcd/v3/SHA256SUMS"
MEMBER = "etcd-linux-amd64/etcd"


class Fetching:
    """Someone who fetches one file."""

    def __init__(self, world: Releases, room: Path) -> None:
        self.world, self.to = world, room / "bin" / "program"
        self.told: list[tuple[int, int]] = []

    def fetch(self, url: str = URL, checksums: str = SUM, member: str = "", path: str = "") -> bytes:
        source = Downloads(self.world.https, {"dl.k8s.io": self.world.main.url + path})
        source.fetch(url, checksums, self.to, lambda here, whole: self.told.append((here, whole)), member)
        assert left_in(self.to.parent) == ["program"]
        assert self.to.stat().st_mode & 0o7777 == 0o755
        return self.to.read_bytes()

    def fails(self, url: str = URL, checksums: str = SUM, member: str = "") -> ApiError:
        """Return the error; nothing is left of the attempt."""
        with pytest.raises(TallshipError) as caught:
            self.fetch(url, checksums, member)
        assert left_in(self.to.parent) == []
        assert isinstance(caught.value, ApiError)
        assert caught.value.hint
        return caught.value

    def release(self, body: bytes = PROGRAM, checksum: str = "", path: str = "") -> None:
        """Publish a program with its checksum."""
        self.world.main.put(path + FILE, Answer(body))
        self.world.main.put(path + FILE_SUM, Answer((checksum or sha256(body)).encode()))

    def release_archive(self, *members: Member, line: str = "{sum}  {name}") -> None:
        """Publish an archive, and a list of checksums in which it is one of several."""
        body, name = packed(*members), ARCHIVE.rsplit("/", 1)[-1]
        lines = ["# a list", f"{'0' * 64}  other.tar.gz", line.format(sum=sha256(body), name=name)]
        self.world.main.put(f"/etcd/v3/{name}", Answer(body))
        self.world.main.put("/etcd/v3/SHA256SUMS", Answer("\n".join(lines).encode()))


@pytest.fixture
def someone(tmp_path: Path) -> Iterator[Fetching]:
    with releases(tmp_path) as world:
        yield Fetching(world, tmp_path)


@pytest.mark.parametrize("end", ["", "\n", "  kube-apiserver\n", " *kube-apiserver\r\n"])
def test_file_whose_checksum_fits_arrives(someone: Fetching, end: str) -> None:
    someone.release(checksum=sha256(PROGRAM).upper() + end)
    assert someone.fetch() == PROGRAM
    assert someone.told[-1] == (len(PROGRAM), len(PROGRAM))


def test_redirect_to_another_host_is_followed(someone: Fetching) -> None:
    someone.release()
    someone.world.storage.put("/file", Answer(PROGRAM))
    someone.world.main.put(FILE, Answer(b"", 302, {"Location": f"{someone.world.storage.url}/file"}))
    assert someone.fetch() == PROGRAM


def test_mirror_is_asked_below_its_path(someone: Fetching) -> None:
    someone.release(path="/k8s")
    assert someone.fetch(path="/k8s/") == PROGRAM


def test_host_without_mirror_is_asked_itself(someone: Fetching) -> None:
    someone.release()
    assert someone.fetch(someone.world.main.url + FILE, someone.world.main.url + FILE_SUM) == PROGRAM


@pytest.mark.parametrize("line", ["{sum}  {name}", "{sum} *{name}", "{sum}  dist/v3/{name}"])
def test_one_file_of_an_archive_arrives(someone: Fetching, line: str) -> None:
    someone.release_archive(folder("etcd-linux-amd64"), Member("etcd-linux-amd64/etcd", PROGRAM), line=line)
    assert someone.fetch(ARCHIVE, LIST, MEMBER) == PROGRAM


def test_wrong_checksum_is_refused(someone: Fetching) -> None:
    someone.release(checksum=sha256(b"something else"))
    error = someone.fails()
    assert "another checksum" in error.message
    assert sha256(PROGRAM) in error.detail
    assert not error.may_pass
    assert someone.world.main.times(FILE) == 1


def test_checksum_of_the_archive_is_not_that_of_another_file(someone: Fetching) -> None:
    someone.release_archive(Member(MEMBER, PROGRAM), line="{sum}  not-{name}")
    error = someone.fails(ARCHIVE, LIST, MEMBER)
    assert "no checksum of `etcd-linux-amd64.tar.gz`" in error.message


@pytest.mark.parametrize("text", [b"", b"<html>come back later</html>", b"0" * 63, b"0" * 65, b"\xff\xfe"])
def test_checksum_that_is_none_is_an_error(someone: Fetching, text: bytes) -> None:
    someone.release()
    someone.world.main.put(FILE_SUM, Answer(text))
    assert "no checksum" in someone.fails().message
    assert someone.world.main.times(FILE) == 0


@pytest.mark.parametrize("path", [FILE, FILE_SUM])
def test_file_that_is_not_there_is_named(someone: Fetching, path: str) -> None:
    someone.release()
    del someone.world.main.answers[path]
    error = someone.fails()
    assert (error.code, error.may_pass) == ("404", False)
    assert path in error.message
    assert someone.world.main.times(path) == 1


@pytest.mark.parametrize("path", [FILE, FILE_SUM])
def test_fault_that_passes_is_lived_through(someone: Fetching, path: str) -> None:
    someone.release()
    someone.world.main.answers[path][:0] = [Answer(b"", 500), Answer(b"", 429, {"Retry-After": "5"}), Answer(b"", 502)]
    assert someone.fetch() == PROGRAM
    assert sum(someone.world.clock.slept) == 1 + 5 + 4


def test_fault_that_stays_is_met_four_times(someone: Fetching) -> None:
    someone.release()
    someone.world.main.put(FILE, Answer(b"", 503))
    error = someone.fails()
    assert (error.code, error.may_pass) == ("503", True)
    assert someone.world.main.times(FILE) == 4


def test_date_to_wait_for_is_not_read(someone: Fetching) -> None:
    someone.release()
    someone.world.main.answers[FILE].insert(0, Answer(b"", 429, {"Retry-After": "Fri, 31 Dec 2027 23:59:59 GMT"}))
    assert someone.fetch() == PROGRAM
    assert sum(someone.world.clock.slept) == 1


def test_file_that_breaks_off_is_loaded_again_from_its_beginning(someone: Fetching) -> None:
    someone.release()
    someone.world.main.answers[FILE].insert(0, Answer(PROGRAM[:700], announced=len(PROGRAM)))
    assert someone.fetch() == PROGRAM


def test_file_that_always_breaks_off_is_unreachable(someone: Fetching) -> None:
    someone.release()
    someone.world.main.put(FILE, Answer(PROGRAM[:700], announced=len(PROGRAM)))
    error = someone.fails()
    assert isinstance(error, Unreachable)
    assert f"700 of {len(PROGRAM)} bytes" in error.message


def test_redirect_out_of_https_is_not_followed(someone: Fetching) -> None:
    someone.release()
    someone.world.main.put(FILE, Answer(b"", 301, {"Location": "http://127.0.0.1:9/file"}))
    assert "no HTTPS address" in someone.fails().message


def test_redirect_to_what_is_no_url_is_an_error(someone: Fetching) -> None:
    someone.release()
    someone.world.main.put(FILE, Answer(b"", 302, {"Location": "https://[oops/"}))
    assert "no HTTPS address" in someone.fails().message


def test_redirects_in_a_circle_end(someone: Fetching) -> None:
    someone.release()
    someone.world.main.put(FILE, Answer(b"", 302, {"Location": FILE}))
    assert "in a circle" in someone.fails().message
    assert someone.world.main.times(FILE) < 20


def test_file_that_announces_too_much_is_not_loaded(someone: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    someone.release()
    monkeypatch.setattr(downloads, "FILE_LIMIT", len(PROGRAM) - 1)
    assert "larger than" in someone.fails().message
    assert someone.told == []


def test_file_that_announces_nothing_ends_where_it_is_too_large(
    someone: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    someone.release()
    someone.world.main.put(FILE, Answer(PROGRAM, announced=-1))
    assert someone.fetch() == PROGRAM
    someone.to.unlink()
    monkeypatch.setattr(downloads, "FILE_LIMIT", 1000)
    assert "larger than" in someone.fails().message


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ((Member("etcd-linux-amd64/etcdctl", PROGRAM),), "there is no"),
        ((Member("etcd-linux-amd64/../etcd-linux-amd64/etcd", PROGRAM),), "there is no"),
        ((symlink("etcd-linux-amd64/etcd", "/etc/passwd"),), "there is no"),
        ((folder("etcd-linux-amd64/etcd"),), "no regular file"),
    ],
)
def test_archive_without_the_file_is_an_error(someone: Fetching, members: tuple[Member, ...], said: str) -> None:
    someone.release_archive(*members)
    assert said in someone.fails(ARCHIVE, LIST, MEMBER).message


def test_stop_is_heeded_in_the_middle(someone: Fetching) -> None:
    someone.release(PROGRAM * 5)
    held = threading.Event()
    someone.world.main.put(FILE, Answer(PROGRAM * 5, hold=held, on_half=someone.world.stop.set))
    threading.Timer(0.05, held.set).start()
    with pytest.raises(Interrupted):
        someone.fetch()
    assert left_in(someone.to.parent) == []


def test_stop_is_heeded_while_waiting(someone: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    someone.release()
    someone.world.main.put(FILE, Answer(b"", 429, {"Retry-After": "50"}))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        someone.world.stop.set()

    monkeypatch.setattr(someone.world.clock, "sleep", sleep)
    with pytest.raises(Interrupted):
        someone.fetch()
    assert slept == [1.0]


def test_old_file_stays_when_the_new_one_is_refused(someone: Fetching) -> None:
    someone.release()
    someone.fetch()
    someone.release(b"new", checksum=sha256(b"other"))
    with pytest.raises(ApiError):
        someone.fetch()
    assert someone.to.read_bytes() == PROGRAM


def test_place_that_cannot_be_written_is_a_mistake_of_this_machine(someone: Fetching) -> None:
    someone.release()
    someone.to.parent.write_bytes(b"a file where the folder would be")
    with pytest.raises(SetupError, match="cannot be written"):
        someone.fetch()
