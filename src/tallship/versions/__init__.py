"""The one table of versions: what is known to work together, what is known to be wrong, and where it comes from."""

from tallship.versions.check import Choice, Problem, check, check_management, check_upgrade
from tallship.versions.local import LOCAL_COMPONENTS, LOCAL_PROGRAMS, ImageFile, LocalFile, Release
from tallship.versions.numbers import Number, dotted, number
from tallship.versions.sources import (
    CERT_MANAGER,
    CHARTS,
    NODE_IMAGES,
    PROGRAMS,
    PROVIDERS,
    Chart,
    ProgramRange,
    Provider,
    node_image,
)
from tallship.versions.table import (
    CILIUM_KUBERNETES,
    COMPONENTS,
    MANAGEMENT_KUBERNETES,
    TALOS_KUBERNETES,
    TALOS_UPGRADES,
    WORKLOAD_KUBERNETES,
    Component,
    Defect,
)

__all__ = [
    "CERT_MANAGER",
    "CHARTS",
    "CILIUM_KUBERNETES",
    "COMPONENTS",
    "LOCAL_COMPONENTS",
    "LOCAL_PROGRAMS",
    "MANAGEMENT_KUBERNETES",
    "NODE_IMAGES",
    "PROGRAMS",
    "PROVIDERS",
    "TALOS_KUBERNETES",
    "TALOS_UPGRADES",
    "WORKLOAD_KUBERNETES",
    "Chart",
    "Choice",
    "Component",
    "Defect",
    "ImageFile",
    "LocalFile",
    "Number",
    "Problem",
    "ProgramRange",
    "Provider",
    "Release",
    "check",
    "check_management",
    "check_upgrade",
    "dotted",
    "node_image",
    "number",
]
