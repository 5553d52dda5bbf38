"""What is read of Kubernetes' objects, as their kinds promise it: an API server stores none of another shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tallship.adapters.shapes import Shape, moment


def name(value: Any) -> bool:
    """True for a name that can be part of a path (Kubernetes: no object has another one)."""
    return (
        isinstance(value, str) and value not in ("", ".", "..") and value.isprintable() and not set(value) & set("/%")
    )


def host(value: Any) -> bool:
    """True for what can be an address, or the name of a host."""
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9.:%_-]{1,253}", value) is not None


_NAMED: Shape = {"name!": name}
_TEXTS: Shape = {str: str}
_CONDITIONS: Shape = [
    {"type!": str, "status": str, "reason": str, "message": str, "lastHeartbeatTime": moment},
]
_ADDRESSES: Shape = [{"type!": str, "address!": host}]
_METADATA: Shape = {
    "name!": name,
    "namespace": name,
    "uid": str,
    "resourceVersion": str,
    "generation": int,
    "creationTimestamp": moment,
    "deletionTimestamp": moment,
    "labels": _TEXTS,
    "annotations": _TEXTS,
    "finalizers": [str],
    "managedFields": [{"manager": str, "subresource": str, "fieldsV1": dict}],
    "ownerReferences": [{"kind!": str, "name!": str, "controller": bool}],
}
_NAMESPACED: Shape = {**_METADATA, "namespace!": name}
_DATED: Shape = {**_METADATA, "creationTimestamp!": moment}
_STATUS: Shape = {
    "conditions": _CONDITIONS,
    "failureReason": str,
    "failureMessage": str,
    "phase": str,
    "ready": bool,
    "replicas": int,
    "readyReplicas": int,
    "updatedReplicas": int,
    "observedGeneration": int,
}
"""Parts of a status that mean the same in each kind that has them."""
_TALOS: Shape = {
    "talosVersion": str,
    "strategicPatches": [str],
    "configPatches": list,
    "hostname": {"source": str},
}
_MACHINE: Shape = {
    "bootstrap!": {"configRef": _NAMED},
    "infrastructureRef!": _NAMED,
    "version": str,
    "failureDomain": str,
    "clusterName": str,
}
_MACHINES: Shape = {"replicas!": int, "strategy": {"type": str}, "template!": {"spec!": _MACHINE}}
_ENDPOINT: Shape = {"host": str, "port": int}

_ANY: Shape = {"metadata!": _METADATA}
_KINDS: Mapping[str, Shape] = {
    "Node": {
        "metadata!": _DATED,
        "spec": {"providerID": str, "unschedulable": bool, "taints": [{"key!": str}]},
        "status": {**_STATUS, "addresses": _ADDRESSES, "nodeInfo": {"kubeletVersion": str, "osImage": str}},
    },
    "Pod": {
        "metadata!": _NAMESPACED,
        "spec!": {"nodeName": str, "volumes": [{"persistentVolumeClaim": {"claimName": str}}]},
        "status": {
            **_STATUS,
            "containerStatuses": [
                {
                    "name": str,
                    "restartCount": int,
                    "state": {"waiting": {"reason": str}},
                    "lastState": {"terminated": {"exitCode": int, "reason": str}},
                }
            ],
        },
    },
    "Deployment": {"spec!": {"replicas": int}, "status": _STATUS},
    "DaemonSet": {"spec!": dict, "status": {**_STATUS, "desiredNumberScheduled": int, "numberReady": int}},
    "Event": {"involvedObject!": {"name": str}, "reason": str, "message": str, "type": str},
    "Secret": {"data": _TEXTS, "type": str},
    "ConfigMap": {"data": _TEXTS},
    "Lease": {"spec": {"holderIdentity": str, "renewTime": str}},
    "Service": {"metadata!": _NAMESPACED, "spec!": {"type": str}},
    "PersistentVolumeClaim": {"metadata!": _NAMESPACED},
    "PersistentVolume": {
        "spec!": {
            "csi": {"driver": str, "volumeHandle": str},
            "claimRef": {"name!": name, "namespace!": name},
            "persistentVolumeReclaimPolicy": str,
        }
    },
    "CertificateSigningRequest": {
        "metadata!": _DATED,
        "spec!": {"signerName": str, "username": str},
        "status": _STATUS,
    },
    "Provider": {"version": str},
    "Cluster": {
        "spec!": {"paused": bool, "controlPlaneEndpoint": _ENDPOINT},
        "status": {**_STATUS, "infrastructureReady": bool, "controlPlaneReady": bool},
    },
    "Machine": {
        "spec!": _MACHINE,
        "status": {**_STATUS, "nodeRef": _NAMED, "addresses": _ADDRESSES},
    },
    "MachineDeployment": {"spec!": _MACHINES, "status": _STATUS},
    "MachineHealthCheck": {"status": _STATUS},
    "MachineSet": {"spec!": _MACHINES, "status": _STATUS},
    "TalosControlPlane": {
        "spec!": {
            "replicas!": int,
            "version!": str,
            "infrastructureTemplate!": _NAMED,
            "controlPlaneConfig!": {"controlplane!": _TALOS},
            "rolloutStrategy": {"type": str},
        },
        "status": {**_STATUS, "initialized": bool, "bootstrapped": bool},
    },
    "TalosConfig": {"spec!": _TALOS, "status": _STATUS},
    "TalosConfigTemplate": {"spec!": {"template!": {"spec!": _TALOS}}},
    "HetznerCluster": {
        "spec!": {
            "controlPlaneEndpoint": _ENDPOINT,
            "controlPlaneLoadBalancer": {"enabled": bool},
            "hcloudPlacementGroups": [_NAMED],
            "hetznerSecretRef": {"name": str, "key": {"hcloudToken": str}},
        },
        "status": {
            **_STATUS,
            "controlPlaneLoadBalancer": {"ipv4": str},
            "networkStatus": {"id": int},
            "hcloudPlacementGroups": [_NAMED],
        },
    },
    "HCloudMachine": {
        "spec!": {"type!": str, "imageName": str, "providerID": str, "placementGroupName": str},
        "status": {**_STATUS, "instanceState": str},
    },
    "HCloudMachineTemplate": {
        "spec!": {"template!": {"spec!": {"type!": str, "imageName": str}}},
        "status": _STATUS,
    },
}
OBJECTS: Final[Mapping[str, Shape]] = {kind: {**_ANY, **shape} for kind, shape in _KINDS.items()}


def of(kind: str) -> Shape:
    """Return the shape of a kind; of one that is not read more closely, what every object has."""
    return OBJECTS.get(kind, _ANY)
