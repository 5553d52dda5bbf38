"""The Talos snapshot the servers boot from: its schematic, its name and its labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import yaml

from tallship.spec import Spec
from tallship.spec.values import Architecture

FACTORY = "https://factory.talos.dev"

GUIDE_SCHEMATIC = "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515"
"""The schematic with nothing but the guest agent: its images have the short name."""

NAME_LABEL = "caph-image-name"
"""CAPH v1.0.7 looks an image up by this label."""

BUILDER_TYPES = {"amd64": "cx23", "arm64": "cax11"}
"""The smallest server type of each architecture; the snapshot fits every disk that is as large."""


BUILT_FOR = "caph-image-name-for"
"""The label of what comes and goes with a build: builder, key, and a snapshot that CAPH must not see yet."""
ROLE = "tallship-role"


def for_architecture(spec: Spec, architecture: Architecture | None) -> Spec:
    """Return the spec with the image of this architecture, or as it is."""
    if architecture is None:
        return spec
    return spec.model_copy(update={"image": spec.image.model_copy(update={"architecture": architecture})})


def schematic(spec: Spec) -> str:
    """Return the schematic as the Image Factory writes it itself, whose hash is its id."""
    lines = ["customization:"]
    if spec.image.kernel_args:
        lines += ["    extraKernelArgs:", *(f"        - {_scalar(argument)}" for argument in spec.image.kernel_args)]
    if spec.image.extensions:
        lines += ["    systemExtensions:", "        officialExtensions:"]
        lines += [f"            - {extension}" for extension in spec.image.extensions]
    return "\n".join(lines) + "\n" if len(lines) > 1 else "customization: {}\n"


def _scalar(text: str) -> str:
    """Return a kernel argument as Go's YAML library writes it (yaml.v3: what would be read as no text has quotes)."""
    read = yaml.safe_load(text)
    if isinstance(read, dict):
        return f"'{text}'"
    return text if read == text and text not in "yYnN" else f'"{text}"'


def schematic_id(spec: Spec) -> str:
    """Return the schematic's id, which the Image Factory computes in the same way."""
    return hashlib.sha256(schematic(spec).encode()).hexdigest()


def name(spec: Spec) -> str:
    """Return the image's name: `talos-amd64-v1.12.2`, and 8 characters more where the schematic is not the guide's."""
    return spec.image.name or f"talos-{spec.architecture}-{spec.talos.version}{suffix(spec)}"


def specs(spec: Spec) -> list[Spec]:
    """Return the spec once for each architecture in use, with that image; the control plane's is the first."""
    return [for_architecture(spec, each) for each in spec.architectures]


def names(spec: Spec) -> list[str]:
    """Return the name of each image in use; two architectures share a name that the cluster file gives."""
    return list(dict.fromkeys(name(each) for each in specs(spec)))


def suffix(spec: Spec) -> str:
    """Return what ends the name of an image of this schematic."""
    identity = schematic_id(spec)
    return "" if identity == GUIDE_SCHEMATIC else f"-{identity[:8]}"


def labels(spec: Spec) -> dict[str, str]:
    """Return the snapshot's labels at Hetzner."""
    return {
        NAME_LABEL: name(spec),
        "os": "talos",
        "talos-version": spec.talos.version,
        "architecture": spec.architecture,
        "schematic": schematic_id(spec)[:32],
        "managed-by": "tallship",
    }


def candidate_labels(spec: Spec) -> dict[str, str]:
    """Return the labels of a snapshot that is being made: CAPH takes any that has its label, also half of one."""
    own = {key: value for key, value in labels(spec).items() if key != NAME_LABEL}
    return {**own, BUILT_FOR: name(spec), ROLE: "image-candidate"}


def replaced_labels(now: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a snapshot, now labelled so, in whose place another has come."""
    kept = {key: value for key, value in now.items() if key != NAME_LABEL}
    return {**kept, BUILT_FOR: now.get(NAME_LABEL, ""), ROLE: "image-replaced"}


def differences(spec: Spec, found: Mapping[str, str]) -> list[str]:
    """Return what a snapshot's labels say that the spec does not; labels that are missing say nothing."""
    wanted = labels(spec)
    return [
        f"{key} {found[key]}, not {wanted[key]}"
        for key in ("talos-version", "architecture", "schematic")
        if found.get(key, wanted[key]) != wanted[key]
    ]


def selector(spec: Spec) -> str:
    """Return the label selector that finds the snapshot, and only it."""
    return f"{NAME_LABEL}={name(spec)}"


def hetzner_architecture(spec: Spec) -> str:
    """Return Hetzner's word for the architecture."""
    return {"amd64": "x86", "arm64": "arm"}[spec.architecture]


def url(spec: Spec, factory: str = FACTORY) -> str:
    """Return where the Image Factory has the compressed disk image."""
    return f"{factory}/image/{schematic_id(spec)}/{spec.talos.version}/hcloud-{spec.architecture}.raw.xz"


def installer(spec: Spec) -> str:
    """Return the installer image that upgrades a running machine without losing its extensions."""
    return f"factory.talos.dev/hcloud-installer/{schematic_id(spec)}:{spec.talos.version}"
