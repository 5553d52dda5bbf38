"""How objects are put together: the metadata of all kinds, and the built-in kinds' fields and keyed lists.

Written as structural schemas, so that pruning, strict validation, server-side apply and strategic merge patches treat
built-in kinds and custom resources alike. Below the named fields everything is allowed.

Source: Kubernetes API v1.32 (`listType`, `listMapKey`, `mapType` and `patchMergeKey` of the types).
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

ANY: Schema = {"x-kubernetes-preserve-unknown-fields": True}
STRING: Schema = {"type": "string"}
STRINGS: Schema = {"type": "object", "additionalProperties": STRING}
ATOMIC: Schema = {"x-kubernetes-map-type": "atomic", **ANY}


def _open(**properties: Schema) -> Schema:
    return {"type": "object", **ANY, "properties": properties}


def _keyed(*keys: str, **properties: Schema) -> Schema:
    """Return a list that is merged by the keys of its entries."""
    items = _open(**properties)
    return {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys), "items": items}


def _set_of_strings() -> Schema:
    return {"type": "array", "x-kubernetes-list-type": "set", "items": STRING}


OWNER: Schema = {
    "type": "object",
    "x-kubernetes-map-type": "atomic",
    "required": ["apiVersion", "kind", "name", "uid"],
    "properties": {
        **dict.fromkeys(("apiVersion", "kind", "name", "uid"), STRING),
        **{name: {"type": "boolean"} for name in ("controller", "blockOwnerDeletion")},
    },
}
_METADATA_TEXTS = (
    "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp",
)  # fmt: skip
METADATA: Schema = {
    "type": "object",
    "properties": {
        **dict.fromkeys(_METADATA_TEXTS, STRING),
        **{name: {"type": "integer"} for name in ("generation", "deletionGracePeriodSeconds")},
        "labels": STRINGS,
        "annotations": STRINGS,
        "finalizers": _set_of_strings(),
        "ownerReferences": {**_keyed("uid"), "items": OWNER},
        "managedFields": {"type": "array", "items": ANY},
    },
}

_CONDITIONS = _keyed("type")
_STATUS = _open(conditions=_CONDITIONS)
_PROTOCOL: Schema = {"type": "string", "default": "TCP"}
_CONTAINERS = _keyed(
    "name",
    env=_keyed("name"),
    ports=_keyed("containerPort", "protocol", protocol=_PROTOCOL),
    volumeMounts=_keyed("mountPath"),
    volumeDevices=_keyed("devicePath"),
)
_POD_SPEC = _open(
    containers=_CONTAINERS,
    initContainers=_CONTAINERS,
    ephemeralContainers=_CONTAINERS,
    volumes=_keyed("name"),
    imagePullSecrets=_keyed("name"),
    hostAliases=_keyed("ip"),
    schedulingGates=_keyed("name"),
    topologySpreadConstraints=_keyed("topologyKey", "whenUnsatisfiable"),
    nodeSelector=ATOMIC,
)
_WORKLOAD_SPEC = _open(selector=ATOMIC, template=_open(spec=_POD_SPEC))
_REPLICATED_SPEC = _open(selector=ATOMIC, template=_open(spec=_POD_SPEC), replicas={"type": "integer", "default": 1})
_EVENT_FIELDS = (
    "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "type", "eventTime",
    "series", "action", "related", "reportingComponent", "reportingInstance",
)  # fmt: skip
_ROLE = {"rules": ANY}
_BINDING = {"roleRef": ATOMIC, "subjects": ANY}
_WEBHOOKS = {"webhooks": _keyed("name")}

_FIELDS: dict[str, dict[str, Schema]] = {
    "Namespace": {"spec": ANY, "status": _STATUS},
    "Node": {
        "spec": _open(podCIDRs=_set_of_strings()),
        "status": _open(conditions=_CONDITIONS, addresses=_keyed("type")),
    },
    "Secret": {
        "data": STRINGS,
        "stringData": STRINGS,
        "type": {"type": "string", "default": "Opaque"},
        "immutable": {"type": "boolean"},
    },
    "ConfigMap": {"data": STRINGS, "binaryData": STRINGS, "immutable": {"type": "boolean"}},
    "Event": dict.fromkeys(_EVENT_FIELDS, ANY),
    "Pod": {"spec": _POD_SPEC, "status": _open(conditions=_CONDITIONS, podIPs=_keyed("ip"), hostIPs=ANY)},
    "Service": {
        "spec": _open(ports=_keyed("port", "protocol", protocol=_PROTOCOL), selector=ATOMIC),
        "status": _STATUS,
    },
    "ServiceAccount": {
        "secrets": _keyed("name"),
        "imagePullSecrets": _keyed("name"),
        "automountServiceAccountToken": {"type": "boolean"},
    },
    "PersistentVolume": {"spec": _open(claimRef=ATOMIC, accessModes=ATOMIC), "status": _STATUS},
    "PersistentVolumeClaim": {"spec": _open(accessModes=ATOMIC, dataSource=ATOMIC), "status": _STATUS},
    "Deployment": {"spec": _REPLICATED_SPEC, "status": _STATUS},
    "DaemonSet": {"spec": _WORKLOAD_SPEC, "status": _STATUS},
    "Job": {"spec": _WORKLOAD_SPEC, "status": _STATUS},
    "Lease": {"spec": ANY},
    "CertificateSigningRequest": {"spec": ANY, "status": _STATUS},
    "ClusterRole": {**_ROLE, "aggregationRule": ANY},
    "Role": _ROLE,
    "ClusterRoleBinding": _BINDING,
    "RoleBinding": _BINDING,
    "CustomResourceDefinition": {"spec": ANY, "status": _STATUS},
    "MutatingWebhookConfiguration": _WEBHOOKS,
    "ValidatingWebhookConfiguration": _WEBHOOKS,
}  # fmt: skip


def built_in_structure(kind: str) -> Schema:
    """Return the structure of a built-in kind."""
    return _whole(_FIELDS[kind])


def custom_structure(schema: Schema) -> Schema:
    """Return a custom resource's schema with the metadata that every object has."""
    return {**schema, "properties": _whole(schema.get("properties", {}))["properties"]}


def _whole(fields: dict[str, Schema]) -> Schema:
    return {"type": "object", "properties": {"apiVersion": STRING, "kind": STRING, **fields, "metadata": METADATA}}
