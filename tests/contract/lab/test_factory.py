"""The image factory of the lab, asked by our client and by curl as a builder asks it."""

from __future__ import annotations

import asyncio
import hashlib
import lzma
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import loops
import pytest
from aiohttp import web

from tallship.adapters.web import Web
from tallship.errors import ApiError, Unreachable
from tallship.lab.clock import ScaledClock
from tallship.lab.factory import Factory, canonical, packed_image, raw_image
from tallship.lab.faults import Fault, Faults
from tallship.lab.store import Store
from tallship.lab.world import Authority

VERSION, FILE = "v1.12.2", "hcloud-amd64.raw.xz"
GUIDE = {"customization": {"systemExtensions": {"officialExtensions": ["siderolabs/qemu-guest-agent"]}}}


@pytest.mark.parametrize(
    ("schematic", "number"),
    [
        ({}, "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"),
        (GUIDE, "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515"),
    ],
)
def test_schematic_has_the_id_that_the_public_factory_gives_it(schematic: dict[str, object], number: str) -> None:
    assert hashlib.sha256(canonical(schematic).encode()).hexdigest() == number


@pytest.mark.parametrize(
    ("argument", "written"), [("a=b", "a=b"), ("5", '"5"'), ("true", '"true"'), ("y", '"y"'), ("a:", "'a:'")]
)
def test_text_is_quoted_where_yaml_would_read_something_else(argument: str, written: str) -> None:
    assert canonical({"customization": {"extraKernelArgs": [argument]}}).endswith(f"        - {written}\n")


class Served:
    """A factory in a thread, and our client for it."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        store = Store()
        self.faults = Faults(store)
        authority = Authority(store, "lab")
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_text(authority.certificate_pem)
        factory = Factory(store, ScaledClock(1000), self.faults)
        self.url = asyncio.run_coroutine_threadsafe(self._serve(factory, authority), self._loop).result(20)
        self.web = Web(self.ca_file)
        self.schematic = self.web.register_schematic(self.url, canonical(GUIDE))
        self.image = f"{self.url}/image/{self.schematic}/{VERSION}/{FILE}"

    async def _serve(self, factory: Factory, authority: Authority) -> str:
        self._runner = web.AppRunner(factory.app(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=authority.server_tls("127.0.0.1")).start()
        return f"https://127.0.0.1:{self._runner.addresses[0][1]}"

    def fault(self, name: str, match: dict[str, str] | None = None, **values: Any) -> None:
        """Make something go wrong, once."""
        self._loop.call_soon_threadsafe(lambda: self.faults.add(Fault(name, match or {}, values)))

    def curl(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Load the image as a builder does."""
        command = ["curl", "-sS", "--cacert", str(self.ca_file), "--noproxy", "*", *words, self.image]
        return subprocess.run(command, capture_output=True, timeout=20, check=False)

    def close(self) -> None:
        """End it."""

        async def end() -> None:
            await self._runner.cleanup()
            for _ in range(20):
                await asyncio.sleep(0)  # closing TLS takes a few rounds of the loop

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(20)
        loops.end(self._loop, self._thread)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.close()


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")


def test_the_length_is_told_through_the_redirect(served: Served) -> None:
    assert served.web.image_size(served.image) == len(packed_image(served.schematic, VERSION, FILE))


@needs_curl
def test_an_image_is_behind_a_redirect(served: Served) -> None:
    assert b"302" in served.curl("-o", "/dev/null", "-w", "%{http_code}").stdout
    sent = served.curl("-fL")
    assert sent.returncode == 0
    assert lzma.decompress(sent.stdout) == raw_image(served.schematic, VERSION, FILE)


def test_images_differ_in_every_block() -> None:
    first, second = raw_image("a", VERSION, FILE), raw_image("b", VERSION, FILE)
    assert len(first) == len(second) > 2**18
    assert len({first[i : i + 32] for i in range(0, len(first), 32)}) == len(range(0, len(first), 32))
    assert first[-32:] != second[-32:]


def test_checksums_cost_money(served: Served) -> None:
    assert served.web.image_sha256(served.image) == ""
    assert served.web._ask("GET", f"{served.image}.sha256").status == 402
    assert served.web._ask("GET", f"{served.image}.sha512").status == 402


@pytest.mark.parametrize(
    ("path", "status"),
    [(f"{'0' * 64}/{VERSION}/{FILE}", "404"), ("{}/latest/" + FILE, "404"), ("{}/v1.12.2/metal.iso", "400")],
)
def test_what_it_does_not_have_is_refused(served: Served, path: str, status: str) -> None:
    with pytest.raises(ApiError) as caught:
        served.web.image_size(f"{served.url}/image/{path.replace('{}', served.schematic)}")
    assert caught.value.code == status
    assert "talos.version" in caught.value.hint
    assert not caught.value.may_pass


def test_a_schematic_that_is_no_yaml_is_refused(served: Served) -> None:
    with pytest.raises(ApiError, match="400"):
        served.web.register_schematic(served.url, "a: [")


@needs_curl
@pytest.mark.parametrize(("fault", "code"), [("cut-image", 18), ("short-image", 0), ("no-image", 22)])
def test_half_an_image_is_cut_or_promised(served: Served, fault: str, code: int) -> None:
    served.fault(fault)
    sent = served.curl("-fL")
    assert sent.returncode == code
    whole = packed_image(served.schematic, VERSION, FILE)
    assert sent.stdout == (b"" if fault == "no-image" else whole[: len(whole) // 2])


def test_a_cut_connection_and_an_error_of_its_own_may_pass(served: Served) -> None:
    served.fault("reset")
    with pytest.raises(Unreachable):
        served.web.image_size(served.image)
    served.fault("server-error", {"route": "HEAD /image"})
    with pytest.raises(ApiError) as caught:
        served.web.image_size(served.image)
    assert (caught.value.code, caught.value.may_pass) == ("500", True)


def test_slow_is_waited_for_in_lab_time(served: Served) -> None:
    served.fault("slow", seconds=30)
    assert served.web.image_size(served.image) > 0
    assert served.faults.list() == []


def test_what_is_no_factory_is_told(served: Served) -> None:
    with pytest.raises(ApiError, match="refused"):
        served.web.register_schematic(f"{served.url}/elsewhere", "customization: {}\n")
