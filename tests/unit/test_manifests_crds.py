"""Every document is what the providers' own schemas allow; an unknown field is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tallship.manifests import cluster, health, workers
from tallship.spec import Spec, load_spec, parse_spec

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
CRDS = Path(__file__).parents[2].parent / "shared/contracts/crds"
EVERY_OPTION = Path(__file__).parents[1] / "golden/every-option/tallship.yaml"

pytestmark = pytest.mark.skipif(not CRDS.exists(), reason="the providers' CRDs are not here")


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Turn a structural schema into JSON Schema that knows no other fields than it names."""
    result = {key: value for key, value in schema.items() if not key.startswith("x-")}
    if schema.get("x-kubernetes-int-or-string"):
        result = {"type": ["integer", "string"]}
    if "properties" in schema:
        result["properties"] = {key: strict(value) for key, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            result[key] = strict(schema[key])
    return result


def schema_of(api_version: str, kind: str) -> dict[str, Any]:
    group, version = api_version.split("/")
    for path in CRDS.glob(f"*/{group}_*.yaml"):
        crd = yaml.load(path.read_text(), LOADER)  # noqa: S506 a safe loader
        if crd["spec"]["names"]["kind"] == kind:
            schemas = {each["name"]: each for each in crd["spec"]["versions"] if each["served"]}
            schema = strict(schemas[version]["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            return schema
    raise LookupError(kind)


def every_document() -> list[Any]:
    guide = parse_spec("name: k8s").spec
    assert guide is not None
    return [
        pytest.param(document, id=f"{name}-{document['kind']}")
        for name, spec in (("guide", guide), ("every-option", load_spec(EVERY_OPTION)))
        for document in documents(spec)
    ]


def documents(spec: Spec) -> list[dict[str, Any]]:
    return [
        *cluster.infrastructure(spec),
        cluster.hetzner_cluster(spec, "203.0.113.10"),
        cluster.control_plane(spec, "203.0.113.10"),
        *health.documents(spec),
        *workers.documents(spec),
    ]


@pytest.mark.parametrize("document", every_document())
def test_documents_fit_the_providers_schemas(document: dict[str, Any]) -> None:
    jsonschema.validate(document, schema_of(document["apiVersion"], document["kind"]))


def test_a_field_that_is_not_in_the_schema_is_an_error() -> None:
    schema = schema_of("infrastructure.cluster.x-k8s.io/v1beta1", "HetznerCluster")
    guide = parse_spec("name: k8s").spec
    assert guide is not None
    document = cluster.hetzner_cluster(guide)
    document["spec"]["hcloudNetwork"]["subnetCIDRBlock"] = "10.10.64.0/25"
    with pytest.raises(jsonschema.ValidationError, match="subnetCIDRBlock"):
        jsonschema.validate(document, schema)
