"""The image factory of the lab."""

from __future__ import annotations

import hashlib

import pytest

from tallship.lab.factory import canonical


@pytest.mark.parametrize(
    ("schematic", "number"),
    [
        ({}, "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"),
        (
            {"customization": {"systemExtensions": {"officialExtensions": ["siderolabs/qemu-guest-agent"]}}},
            "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515",
        ),
    ],
)
def test_schematic_has_the_id_that_the_public_factory_gives_it(schematic: dict[str, object], number: str) -> None:
    assert hashlib.sha256(canonical(schematic).encode()).hexdigest() == number
