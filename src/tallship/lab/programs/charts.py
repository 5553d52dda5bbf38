"""PURE: the charts that the lab knows, and what each makes of its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tallship.lab.kubeclient import Object
from tallship.lab.programs import charts_ccm, charts_cilium
from tallship.lab.programs.conversation import Failed

Values = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """One chart at one version."""

    name: str
    version: str
    app_version: str
    defaults: Values
    template: Callable[[str, str, str, Values], list[Object]]
    """Makes objects of application version, release name, namespace and values."""

    def metadata(self) -> dict[str, str]:
        """Return what a stored release says of the chart."""
        return {"name": self.name, "version": self.version, "appVersion": self.app_version, "apiVersion": "v2"}

    def render(self, release: str, namespace: str, values: Values) -> list[Object]:
        """Return the release's objects, marked as helm marks them."""
        made = self.template(self.app_version, release, namespace, coalesced(self.defaults, values))
        for each in made:
            metadata = each["metadata"]
            metadata.setdefault("labels", {})["app.kubernetes.io/managed-by"] = "Helm"
            metadata.setdefault("annotations", {}).update(
                {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace}
            )
        return made


def _chart(name: str, versions: Mapping[str, str], defaults: Values, template: Any) -> dict[str, Chart]:
    return {version: Chart(name, version, app, defaults, template) for version, app in versions.items()}


REPOSITORIES: dict[tuple[str, str], dict[str, Chart]] = {
    ("https://helm.cilium.io", "cilium"): _chart(
        "cilium", {"1.18.5": "1.18.5", "1.18.6": "1.18.6"}, charts_cilium.DEFAULTS, charts_cilium.objects
    ),
    ("https://charts.hetzner.cloud", "hcloud-cloud-controller-manager"): _chart(
        "hcloud-cloud-controller-manager",
        {"1.29.2": "v1.29.2", "1.30.1": "v1.30.1"},
        charts_ccm.HCLOUD_DEFAULTS,
        charts_ccm.hcloud_objects,
    ),
    ("", "oci://ghcr.io/siderolabs/charts/talos-cloud-controller-manager"): _chart(
        "talos-cloud-controller-manager", {"0.5.4": "v1.12.0"}, charts_ccm.TALOS_DEFAULTS, charts_ccm.talos_objects
    ),
}
"""Charts by repository and reference, then by version."""


def find(repository: str, reference: str, version: str) -> Chart:
    """Return a chart. Raises Failed in helm's words when there is none."""
    repository = repository.rstrip("/")
    versions = REPOSITORIES.get((repository, reference))
    if versions is None and reference.startswith("oci://"):
        raise Failed(f'Error: failed to perform "FetchReference" on source: {reference[6:]}:{version}: not found')
    if versions is None and repository not in [known for known, _ in REPOSITORIES]:
        raise Failed(
            f'Error: looks like "{repository}" is not a valid chart repository or cannot be reached: '
            f'Get "{repository}/index.yaml": dial tcp: lookup failed: no such host'
        )
    if versions is None or version not in versions:
        raise Failed(
            f'Error: chart "{reference}" matching {version} not found in {repository or "the registry"} index. '
            "(try 'helm repo update'): no chart name found"
        )
    return versions[version]


def coalesced(defaults: Values, values: Values) -> Values:
    """Return both as one: mappings by key, everything else as a whole; a null takes a default away."""
    merged = {key: value for key, value in defaults.items() if values.get(key, value) is not None}
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(defaults.get(key), dict):
            merged[key] = coalesced(defaults[key], value)
        elif value is not None:
            merged[key] = value
    return merged


def manifest(objects: list[Object]) -> str:
    """Return the objects as a stored release has them."""
    return "".join(f"---\n{yaml.dump(each, Dumper=yaml.CSafeDumper, sort_keys=False)}" for each in objects)


def parsed(text: str) -> list[Object]:
    """Return the objects of a stored release."""
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]
