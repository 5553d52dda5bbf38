"""Label selectors and labels, as Hetzner reads them."""

from __future__ import annotations

import pytest

from tallship.lab.hetzner.errors import Refused
from tallship.lab.hetzner.selectors import check_labels, matches

LABELS = {"env": "prod", "role": "cp", "caph-cluster-k8s": "owned", "example.com/tier": "1", "empty": ""}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", True),
        ("env", True),
        ("!env", False),
        ("! env", False),
        ("missing", False),
        ("!missing", True),
        ("env=prod", True),
        ("env==prod", True),
        ("env == prod", True),
        ("env!=prod", False),
        ("env!=dev", True),
        ("missing!=dev", True),
        ("empty=", True),
        ("env=", False),
        ("env in (prod,dev)", True),
        ("env in ( prod , dev )", True),
        ("env in (dev)", False),
        ("env notin (dev, test)", True),
        ("env notin (prod)", False),
        ("missing notin (prod)", True),
        ("missing in (prod)", False),
        ("example.com/tier=1", True),
        ("caph-cluster-k8s==owned,role==cp", True),
        ("role==cp,caph-cluster-k8s==other", False),
        ("env in (prod,dev),role=cp,!missing", True),
    ],
)
def test_selector_matches(selector: str, expected: bool) -> None:
    assert matches(selector, LABELS) is expected


@pytest.mark.parametrize("selector", ["env prod", "=prod", "env=a=b c", "env in prod", "a,,b", "-env", "env>1"])
def test_unreadable_selector_is_refused(selector: str) -> None:
    with pytest.raises(Refused) as caught:
        matches(selector, LABELS)
    assert caught.value.code == "invalid_input"


@pytest.mark.parametrize(
    "labels",
    [{"k": "v"}, {"k" * 63: "v" * 63}, {"example.com/k": ""}, {"a.b-c_d": "V1.2_3-4"}],
)
def test_labels_within_the_rules(labels: dict[str, str]) -> None:
    assert check_labels(labels) == labels


@pytest.mark.parametrize(
    "labels",
    [
        {"": "v"},
        {"k" * 64: "v"},
        {"k": "v" * 64},
        {"k": "a b"},
        {"-k": "v"},
        {"k": "v-"},
        {"k": 1},
        {"hetzner.cloud/k": "v"},
        {"/k": "v"},
    ],
)
def test_labels_against_the_rules(labels: dict[str, object]) -> None:
    with pytest.raises(Refused):
        check_labels(labels)
