"""Hetzner's own OpenAPI description is what every reply of these tests is held against."""

from __future__ import annotations

from hetzner_lab import HetznerLab
from hetzner_openapi import all_complaints, complaints, needs_description


@needs_description
def test_replies_are_held_against_the_description(lab: HetznerLab) -> None:
    answer = lab.http("POST", "/servers", {"name": "a", "server_type": "cx33", "image": "debian-12"})
    assert "$.server: 'datacenter' is a required property" in all_complaints(answer), "the check is strict"
    assert complaints(answer) == [], "but knows what Hetzner changed later"
    for path in ("/pricing", "/server_types", "/load_balancer_types", "/locations", "/images", "/servers/1"):
        assert complaints(lab.http("GET", path)) == []
