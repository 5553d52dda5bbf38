"""The machine configuration of one Machine, from the cluster's keys, its Cluster and its TalosConfig.

CABPT v0.6.11: JSON patches first, then strategic ones, then the hostname; nothing is validated.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from tallship.lab.controllers.reconciler import ReconcileFailed
from tallship.lab.kubeclient import Object
from tallship.lab.talos.config import generate, patch

Documents = list[dict[str, Any]]

_CONTRACT = re.compile(r"^v(\d+)\.(\d+)($|\.)")
_HOSTNAME_DOCUMENT_SINCE = (1, 12)
_GENERATED = ("init", "controlplane", "worker")


class GenerationFailed(Exception):
    """There will be no bootstrap data before somebody changes something; the text is in the condition."""


def bootstrap_data(bundle: dict[str, Any], cluster: Object, machine: Object, config: Object) -> str:
    """Return the machine configuration as YAML.

    Raises GenerationFailed, or ReconcileFailed where the real one panics and recovers: that leaves no condition.
    """
    spec = config["spec"]
    if spec["generateType"] == "none":
        documents = [each for each in yaml.safe_load_all(spec.get("data", "")) if each is not None]
    elif spec["generateType"] in _GENERATED:
        documents = _generated(bundle, cluster, machine, spec)
    else:
        raise GenerationFailed(f"unknown generate type specified: {spec['generateType']!r}")
    json_patches = [json.dumps(spec["configPatches"])] if spec.get("configPatches") else []
    patches = [*json_patches, *spec.get("strategicPatches", []), *_hostname(machine, spec)]
    try:
        patched = patch.apply_patches(documents, patches)
    except patch.PatchPanic as panic:
        raise ReconcileFailed(f"panic: {panic} [recovered]") from panic
    except patch.PatchError as error:
        raise GenerationFailed(str(error)) from error
    return "---\n".join(yaml.dump(each, Dumper=yaml.CSafeDumper, sort_keys=False) for each in patched)


def _generated(bundle: dict[str, Any], cluster: Object, machine: Object, spec: Object) -> Documents:
    endpoint = cluster["spec"]["controlPlaneEndpoint"]
    network = cluster["spec"].get("clusterNetwork", {})
    version = spec.get("talosVersion", "")
    if version and not _CONTRACT.match(version if version.startswith("v") else f"v{version}"):
        raise GenerationFailed(f"error parsing version {version!r}")
    documents: Documents = generate.controlplane_config(
        bundle,
        cluster["metadata"]["name"],
        f"https://{endpoint['host']}:{endpoint['port']}",
        machine["spec"].get("version", "").removeprefix("v"),
        version or "v1.12",
        network.get("pods", {}).get("cidrBlocks", []),
        network.get("services", {}).get("cidrBlocks", []),
        network.get("serviceDomain", "cluster.local"),
        spec["generateType"],
    )
    return documents


def _hostname(machine: Object, spec: Object) -> list[str]:
    """Return the patch that names the machine, if the spec asks for it.

    Without a talosVersion the field of old is set beside the new document, and Talos refuses the two together.
    """
    names = {
        "MachineName": machine["metadata"]["name"],
        "InfrastructureName": machine["spec"]["infrastructureRef"]["name"],
    }
    name = names.get((spec.get("hostname") or {}).get("source", ""))
    if name is None:
        return []
    found = _CONTRACT.match(spec.get("talosVersion", ""))
    if found and (int(found[1]), int(found[2])) >= _HOSTNAME_DOCUMENT_SINCE:
        document: dict[str, Any] = {"apiVersion": "v1alpha1", "kind": "HostnameConfig", "auto": "off", "hostname": name}
    else:
        document = {"machine": {"network": {"hostname": name}}}
    return [yaml.safe_dump(document, sort_keys=False)]
