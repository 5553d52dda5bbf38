"""Says what is known not to work, and what is outside of what is known."""

from __future__ import annotations

from dataclasses import dataclass, field

from tallship.versions.numbers import dotted, number
from tallship.versions.table import (
    CILIUM_KUBERNETES,
    COMPONENTS,
    HCLOUD_CCM_DROPS_1_32,
    MACHINERY,
    MANAGEMENT_KUBERNETES,
    TALOS_KUBERNETES,
    TALOS_UPGRADES,
    WORKLOAD_KUBERNETES,
)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a choice. `path` names the setting in the cluster file."""

    path: tuple[str | int, ...]
    message: str
    hint: str = ""
    fatal: bool = True
    """False for what is merely outside of what is known."""


@dataclass(frozen=True)
class Choice:
    """The versions that a cluster file asks for."""

    talos: str = field(default=COMPONENTS["talos"].version)
    kubernetes: str = field(default=COMPONENTS["kubernetes"].version)
    cilium: str = field(default=COMPONENTS["cilium"].version)
    hcloud_ccm: str = field(default=COMPONENTS["hcloud-ccm"].version)
    talos_ccm: str = field(default=COMPONENTS["talos-ccm"].version)


def check(choice: Choice) -> list[Problem]:
    """Return what is known not to work in a choice (fatal), and what is outside of what is known (not fatal)."""
    problems = [
        Problem(path, f"`{version}` is not a version", f"write it like `{example}`")
        for path, version, example in _stated(choice)
        if not number(version)
    ]
    if problems:
        return problems
    return [*_check_talos(choice), *_check_kubernetes(choice), *_check_charts(choice)]


def _stated(choice: Choice) -> list[tuple[tuple[str, ...], str, str]]:
    return [
        (("talos", "version"), choice.talos, COMPONENTS["talos"].version),
        (("kubernetes", "version"), choice.kubernetes, COMPONENTS["kubernetes"].version),
        (("addons", "cilium", "version"), choice.cilium, COMPONENTS["cilium"].version),
        (("addons", "hcloud_ccm", "version"), choice.hcloud_ccm, COMPONENTS["hcloud-ccm"].version),
        (("addons", "talos_ccm", "version"), choice.talos_ccm, COMPONENTS["talos-ccm"].version),
    ]


def _check_talos(choice: Choice) -> list[Problem]:
    path = ("talos", "version")
    talos = number(choice.talos)[:2]
    if talos not in TALOS_KUBERNETES:
        known = f"{dotted(min(TALOS_KUBERNETES))} to {dotted(max(TALOS_KUBERNETES))}"
        return [Problem(path, f"Talos {choice.talos} is not known to this release", f"known are {known}", fatal=False)]
    if talos > MACHINERY:
        message = (
            f"Talos {choice.talos} is newer than what CABPT {COMPONENTS['cabpt'].version} writes configuration for"
        )
        return [Problem(path, message, f"it was made for Talos {dotted(MACHINERY)}", fatal=False)]
    return []


def _check_kubernetes(choice: Choice) -> list[Problem]:
    path = ("kubernetes", "version")
    kubernetes, talos = number(choice.kubernetes)[:2], number(choice.talos)[:2]
    low, high = TALOS_KUBERNETES.get(talos, (kubernetes, kubernetes))
    if not low <= kubernetes <= high:
        message = f"Talos {choice.talos} does not run Kubernetes {choice.kubernetes}"
        return [Problem(path, message, f"Talos {dotted(talos)} runs Kubernetes {dotted(low)} to {dotted(high)}")]
    low, high = WORKLOAD_KUBERNETES
    if low <= kubernetes <= high:
        return []
    message = f"Cluster API {COMPONENTS['cluster-api'].version} is not known to make Kubernetes {choice.kubernetes}"
    return [Problem(path, message, f"it is tested with {dotted(low)} to {dotted(high)}", fatal=False)]


def _check_charts(choice: Choice) -> list[Problem]:
    kubernetes = number(choice.kubernetes)[:2]
    problems = []
    if number(choice.hcloud_ccm)[:2] >= HCLOUD_CCM_DROPS_1_32 and kubernetes <= (1, 32):
        message = f"Hetzner CCM {choice.hcloud_ccm} no longer supports Kubernetes {choice.kubernetes}"
        hint = "1.30.1 is the newest that does"
        problems.append(Problem(("addons", "hcloud_ccm", "version"), message, hint, fatal=False))
    known = CILIUM_KUBERNETES.get(number(choice.cilium)[:2])
    if known is None or not known[0] <= kubernetes <= known[1]:
        message = f"Cilium {choice.cilium} with Kubernetes {choice.kubernetes} is not known to this release"
        hint = f"known is {COMPONENTS['cilium'].version}"
        problems.append(Problem(("addons", "cilium", "version"), message, hint, fatal=False))
    if choice.talos_ccm != COMPONENTS["talos-ccm"].version:
        message = f"Talos CCM chart {choice.talos_ccm} is not known to this release"
        hint = f"known is {COMPONENTS['talos-ccm'].version}"
        problems.append(Problem(("addons", "talos_ccm", "version"), message, hint, fatal=False))
    return problems


def check_management(version: str) -> Problem | None:
    """Return what is wrong with keeping the Cluster API objects on a Kubernetes of this version."""
    low, high = MANAGEMENT_KUBERNETES
    if low <= number(version)[:2] <= high:
        return None
    message = f"Cluster API {COMPONENTS['cluster-api'].version} does not run on Kubernetes {version}"
    return Problem(("management",), message, f"it runs on {dotted(low)} to {dotted(high)}")


def check_upgrade(current: str, target: str) -> Problem | None:
    """Return what is wrong with upgrading a machine from one Talos version to another in place."""
    low, below = TALOS_UPGRADES.get(number(target)[:2], ((), (99,)))
    if low <= number(current) < below:
        return None
    message = f"Talos {target} cannot be installed over {current}"
    return Problem(("talos", "version"), message, f"it needs {dotted(low)} or later, and below {dotted(below)}")


def check_kubernetes_step(current: str, target: str) -> Problem | None:
    """Return what is wrong with taking a cluster from one Kubernetes version to another.

    Kubernetes' version skew policy: no minor is skipped, and the API server is never older than what it was.
    """
    path = ("kubernetes", "version")
    before, after = number(current), number(target)
    if after < before:
        return Problem(path, f"Kubernetes {current} cannot go back to {target}", "a backup is the way back")
    if after[0] != before[0] or after[1] > before[1] + 1:
        hint = f"upgrade to {before[0]}.{before[1] + 1} first"
        return Problem(path, f"Kubernetes {target} skips a minor version after {current}", hint)
    return None


def check_talos_step(current: str, target: str) -> Problem | None:
    """Return what is wrong with taking a cluster's machines from one Talos version to another, however it is done."""
    if number(target) < number(current):
        hint = "a backup is the way back; one node goes back with Talos' own `rollback`"
        return Problem(("talos", "version"), f"Talos {current} cannot go back to {target}", hint)
    return check_upgrade(current, target)
