"""What the real clusterctl installs in the lab: its local repositories, in a folder."""

from __future__ import annotations

from pathlib import Path

import yaml

from tallship.lab.kubeclient import Object
from tallship.lab.programs import components
from tallship.lab.programs.components import PROVIDERS, Hooks, Provider

CONTRACT = "v1beta1"


def write(folder: Path, hooks: Hooks | None) -> None:
    """Write `NAME/VERSION/FILE` of each provider and of cert-manager, with what clusterctl wants to know of each."""
    for provider in PROVIDERS:
        place = folder / provider.inventory / provider.version
        place.mkdir(parents=True, exist_ok=True)
        (place / provider.source.split()[1]).write_text(_text(components.provider_objects(provider, hooks)))
        (place / "metadata.yaml").write_text(yaml.safe_dump(_metadata(provider)))
    place = folder / "cert-manager" / components.CERT_MANAGER_VERSION
    place.mkdir(parents=True, exist_ok=True)
    (place / "cert-manager.yaml").write_text(_text(components.cert_manager_objects()))


def _metadata(provider: Provider) -> Object:
    major, minor, _ = provider.version.removeprefix("v").split(".")
    series = {"major": int(major), "minor": int(minor), "contract": CONTRACT}
    return {"apiVersion": "clusterctl.cluster.x-k8s.io/v1alpha3", "kind": "Metadata", "releaseSeries": [series]}


def _text(objects: list[Object]) -> str:
    return yaml.dump_all(objects, Dumper=yaml.CSafeDumper, sort_keys=False)
