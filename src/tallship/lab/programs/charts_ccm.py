"""PURE: the charts of the two cloud controller managers.

Facts of the charts: hcloud-cloud-controller-manager 1.29 (`chart/templates/deployment.yaml`, `chart/values.yaml`) and
talos-cloud-controller-manager 0.5 (`charts/…/templates`, `values.yaml`).
"""

from __future__ import annotations

from typing import Any

from tallship.lab.kubeclient import Object

Values = dict[str, Any]

UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"

HCLOUD_DEFAULTS: Values = {
    "kind": "Deployment",
    "replicaCount": 1,
    "args": {
        "cloud-provider": "hcloud",
        "allow-untagged-cloud": "",
        "route-reconciliation-period": "30s",
        "webhook-secure-port": "0",
    },
    "env": {"HCLOUD_TOKEN": {"valueFrom": {"secretKeyRef": {"name": "hcloud", "key": "token"}}}},
    "image": {"repository": "docker.io/hetznercloud/hcloud-cloud-controller-manager"},
    "monitoring": {"enabled": True},
    "networking": {
        "enabled": False,
        "clusterCIDR": "10.244.0.0/16",
        "network": {"valueFrom": {"secretKeyRef": {"name": "hcloud", "key": "network"}}},
    },
    "robot": {"enabled": False},
    "dnsPolicy": "Default",
    "resources": {"requests": {"cpu": "100m", "memory": "50Mi"}},
    "additionalTolerations": [],
    "nodeSelector": {},
    "priorityClassName": "system-cluster-critical",
}

TALOS_DEFAULTS: Values = {
    "replicaCount": 1,
    "image": {"repository": "ghcr.io/siderolabs/talos-cloud-controller-manager"},
    "enabledControllers": ["cloud-node", "node-csr-approval"],
    "extraArgs": [],
    "transformations": [],
    "logVerbosityLevel": 2,
    "service": {"containerPort": 50258},
    "useDaemonSet": False,
    "nodeSelector": {CONTROL_PLANE: ""},
    "tolerations": [
        {"effect": "NoSchedule", "key": CONTROL_PLANE, "operator": "Exists"},
        {"effect": "NoSchedule", "key": UNINITIALIZED, "operator": "Exists"},
    ],
}


def hcloud_objects(app_version: str, release: str, namespace: str, values: Values) -> list[Object]:
    """Return the objects of the Hetzner CCM's chart."""
    name = "hcloud-cloud-controller-manager"
    labels = {"app.kubernetes.io/instance": release, "app.kubernetes.io/name": name}
    container = {
        "name": name,
        "image": f"{values['image']['repository']}:{app_version}",
        "args": _hcloud_arguments(values),
        "env": _hcloud_environment(values),
        "ports": [{"name": "metrics", "containerPort": 8233}] if values["monitoring"]["enabled"] else [],
        "resources": values["resources"],
    }
    pod: Object = {
        "serviceAccountName": name,
        "dnsPolicy": values["dnsPolicy"],
        "tolerations": _hcloud_tolerations(values),
        "containers": [container],
        "priorityClassName": values["priorityClassName"],
    }
    if values["nodeSelector"]:
        pod["nodeSelector"] = values["nodeSelector"]
    if values["networking"]["enabled"]:
        pod["hostNetwork"] = True
    return [
        *_access(name, f"system:{name}", namespace),
        _deployment(name, namespace, labels, pod, values["replicaCount"]),
    ]


def talos_objects(app_version: str, release: str, namespace: str, values: Values) -> list[Object]:
    """Return the objects of the Talos CCM's chart."""
    name = "talos-cloud-controller-manager"
    labels = {"app.kubernetes.io/instance": release, "app.kubernetes.io/name": name}
    secrets = f"{name}-talos-secrets"
    container = {
        "name": name,
        "image": f"{values['image']['repository']}:{app_version}",
        "command": [f"/{name}"],
        "args": _talos_arguments(values),
        "volumeMounts": [
            {"name": "cloud-config", "mountPath": "/etc/talos", "readOnly": True},
            {"name": "talos-secrets", "mountPath": "/var/run/secrets/talos.dev", "readOnly": True},
        ],
    }
    pod: Object = {
        "serviceAccountName": name,
        "priorityClassName": "system-cluster-critical",
        "containers": [container],
        "nodeSelector": values["nodeSelector"],
        "tolerations": values["tolerations"],
        "volumes": [
            {"name": "cloud-config", "configMap": {"name": name, "defaultMode": 0o640}},
            {"name": "talos-secrets", "secret": {"secretName": secrets, "defaultMode": 0o640}},
        ],
    }
    settings = "global: {}\n"
    account = {"apiVersion": "talos.dev/v1alpha1", "kind": "ServiceAccount"}
    return [
        *_access(name, f"system:{name}", namespace),
        {**account, "metadata": {"name": secrets, "namespace": namespace}, "spec": {"roles": ["os:reader"]}},
        _named("v1", "ConfigMap", name, namespace) | {"data": {"ccm-config.yaml": settings}},
        _deployment(name, namespace, labels, pod, values["replicaCount"]),
    ]


def _hcloud_arguments(values: Values) -> list[str]:
    made = [f"--{key}={value}" if value else f"--{key}" for key, value in sorted(values["args"].items())]
    if values["networking"]["enabled"]:
        made += ["--allocate-node-cidrs=true", f"--cluster-cidr={values['networking']['clusterCIDR']}"]
    return made + (["--leader-elect=false"] if int(values["replicaCount"]) == 1 else [])


def _hcloud_environment(values: Values) -> list[Object]:
    made = [{"name": name, **value} for name, value in sorted(values["env"].items())]
    if values["networking"]["enabled"]:
        made.append({"name": "HCLOUD_NETWORK", **values["networking"]["network"]})
    if not values["monitoring"]["enabled"]:
        made.append({"name": "HCLOUD_METRICS_ENABLED", "value": "false"})
    return made + ([{"name": "ROBOT_ENABLED", "value": "true"}] if values["robot"]["enabled"] else [])


def _hcloud_tolerations(values: Values) -> list[Object]:
    return [
        {"key": UNINITIALIZED, "value": "true", "effect": "NoSchedule"},
        {"key": "CriticalAddonsOnly", "operator": "Exists"},
        {"key": "node-role.kubernetes.io/master", "effect": "NoSchedule", "operator": "Exists"},
        {"key": CONTROL_PLANE, "effect": "NoSchedule", "operator": "Exists"},
        {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},
        *values["additionalTolerations"],
    ]


def _talos_arguments(values: Values) -> list[str]:
    return [
        f"--v={values['logVerbosityLevel']}",
        "--cloud-provider=talos",
        "--cloud-config=/etc/talos/ccm-config.yaml",
        f"--controllers={','.join(values['enabledControllers'])}",
        "--leader-elect-resource-name=cloud-controller-manager-talos",
        "--use-service-account-credentials",
        f"--secure-port={values['service']['containerPort']}",
        "--authorization-always-allow-paths=/healthz,/livez,/readyz,/metrics",
        *values["extraArgs"],
    ]


def _access(name: str, role: str, namespace: str) -> list[Object]:
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    binding = _named("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", role)
    return [
        _named("v1", "ServiceAccount", name, namespace),
        _named("rbac.authorization.k8s.io/v1", "ClusterRole", role) | {"rules": []},
        binding | {"roleRef": reference, "subjects": [subject]},
    ]


def _deployment(name: str, namespace: str, labels: dict[str, str], pod: Object, replicas: int) -> Object:
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": int(replicas), "selector": {"matchLabels": labels}, "template": template}
    return _named("apps/v1", "Deployment", name, namespace) | {"spec": spec}


def _named(api_version: str, kind: str, name: str, namespace: str = "") -> Object:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **place}}
