"""PURE: Cilium's chart.

Facts of the chart 1.18 (`install/kubernetes/cilium/templates`, `values.yaml`). What nothing in the lab reads is left
out: Hubble's certificates, init containers, probes, host mounts.
"""

from __future__ import annotations

from typing import Any

from tallship.lab.kubeclient import Object

Values = dict[str, Any]

DEFAULTS: Values = {
    "image": {"repository": "quay.io/cilium/cilium"},
    "cluster": {"name": "default", "id": 0},
    "ipam": {"mode": "cluster-pool", "operator": {"clusterPoolIPv4PodCIDRList": ["10.0.0.0/8"]}},
    "kubeProxyReplacement": "false",
    "k8sServiceHost": "",
    "k8sServicePort": "",
    "routingMode": "",
    "tunnelProtocol": "",
    "ipv4NativeRoutingCIDR": "",
    "autoDirectNodeRoutes": False,
    "MTU": 0,
    "ipv4": {"enabled": True},
    "ipv6": {"enabled": False},
    "bpf": {"masquerade": None},
    "cgroup": {"autoMount": {"enabled": True}, "hostRoot": "/run/cilium/cgroupv2"},
    "securityContext": {
        "capabilities": {
            "ciliumAgent": [
                "CHOWN", "KILL", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "SYS_MODULE", "SYS_ADMIN", "SYS_RESOURCE",
                "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID", "SYSLOG",
            ],
            "cleanCiliumState": ["NET_ADMIN", "SYS_MODULE", "SYS_ADMIN", "SYS_RESOURCE"],
        }
    },
    "envoy": {"enabled": None, "image": {"repository": "quay.io/cilium/cilium-envoy", "tag": "v1.34"}},
    "hubble": {
        "enabled": True,
        "relay": {"enabled": False, "replicas": 1, "image": {"repository": "quay.io/cilium/hubble-relay"}},
        "ui": {"enabled": False},
    },
    "operator": {
        "enabled": True,
        "replicas": 2,
        "image": {"repository": "quay.io/cilium/operator"},
        "hostNetwork": True,
        "tolerations": [
            {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"},
            {"key": "node-role.kubernetes.io/master", "operator": "Exists"},
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists"},
            {"key": "node.cloudprovider.kubernetes.io/uninitialized", "operator": "Exists"},
            {"key": "node.cilium.io/agent-not-ready", "operator": "Exists"},
        ],
    },
}  # fmt: skip

_EVERYWHERE: list[Object] = [{"operator": "Exists"}]


def objects(app_version: str, release: str, namespace: str, values: Values) -> list[Object]:
    """Return the objects of the chart."""
    made = [
        *_accounts(namespace, values),
        _named("v1", "ConfigMap", "cilium-config", namespace) | {"data": settings(values)},
        _agent(app_version, namespace, values),
        _envoy(namespace, values),
        _operator(app_version, namespace, values),
    ]
    if values["hubble"]["relay"]["enabled"]:
        made += _relay(app_version, namespace, values)
    return made


def settings(values: Values) -> dict[str, str]:
    """Return the agent's configuration."""
    routing = values["routingMode"] or "tunnel"
    made: dict[str, Any] = {
        "cluster-name": values["cluster"]["name"],
        "cluster-id": values["cluster"]["id"],
        "enable-ipv4": values["ipv4"]["enabled"],
        "enable-ipv6": values["ipv6"]["enabled"],
        "ipam": values["ipam"]["mode"],
        "kube-proxy-replacement": values["kubeProxyReplacement"],
        "routing-mode": routing,
        "auto-direct-node-routes": values["autoDirectNodeRoutes"],
        "cgroup-root": values["cgroup"]["hostRoot"],
        "enable-bpf-masquerade": values["bpf"].get("masquerade") or False,
        "enable-hubble": values["hubble"]["enabled"],
    }
    if values["ipam"]["mode"] == "cluster-pool":
        made["cluster-pool-ipv4-cidr"] = " ".join(values["ipam"]["operator"]["clusterPoolIPv4PodCIDRList"])
    if values["ipv4NativeRoutingCIDR"]:
        made["ipv4-native-routing-cidr"] = values["ipv4NativeRoutingCIDR"]
    if routing == "tunnel":
        made["tunnel-protocol"] = values["tunnelProtocol"] or "vxlan"
    if values["MTU"]:
        made["mtu"] = values["MTU"]
    return {key: value if isinstance(value, str) else str(value).lower() for key, value in made.items()}


def _agent(app_version: str, namespace: str, values: Values) -> Object:
    container = {
        "name": "cilium-agent",
        "image": f"{values['image']['repository']}:v{app_version}",
        "command": ["cilium-agent"],
        "args": ["--config-dir=/tmp/cilium/config-map"],
        "env": _environment(values),
        "securityContext": {
            "capabilities": {"add": values["securityContext"]["capabilities"]["ciliumAgent"], "drop": ["ALL"]}
        },
    }
    pod = {
        "hostNetwork": True,
        "priorityClassName": "system-node-critical",
        "serviceAccountName": "cilium",
        "tolerations": _EVERYWHERE,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "containers": [container],
    }
    return _workload("DaemonSet", "cilium", namespace, {"k8s-app": "cilium"}, pod)


def _envoy(namespace: str, values: Values) -> Object:
    """Return Envoy's DaemonSet, which new installations have by default."""
    image = values["envoy"]["image"]
    container = {"name": "cilium-envoy", "image": f"{image['repository']}:{image['tag']}", "env": _environment(values)}
    pod = {
        "hostNetwork": True,
        "priorityClassName": "system-node-critical",
        "serviceAccountName": "cilium-envoy",
        "tolerations": _EVERYWHERE,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "containers": [container],
    }
    return _workload("DaemonSet", "cilium-envoy", namespace, {"k8s-app": "cilium-envoy"}, pod)


def _operator(app_version: str, namespace: str, values: Values) -> Object:
    operator = values["operator"]
    container = {
        "name": "cilium-operator",
        "image": f"{operator['image']['repository']}-generic:v{app_version}",
        "command": ["cilium-operator-generic"],
        "args": ["--config-dir=/tmp/cilium/config-map", "--debug=$(CILIUM_DEBUG)"],
        "env": _environment(values),
    }
    pod = {
        "hostNetwork": operator["hostNetwork"],
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": "cilium-operator",
        "tolerations": operator["tolerations"],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "containers": [container],
        "volumes": [{"name": "cilium-config-path", "configMap": {"name": "cilium-config"}}],
    }
    labels = {"io.cilium/app": "operator", "name": "cilium-operator"}
    made = _workload("Deployment", "cilium-operator", namespace, labels, pod)
    rolling = {"maxSurge": "25%", "maxUnavailable": "100%" if int(operator["replicas"]) == 1 else "50%"}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    made["spec"] |= {"replicas": int(operator["replicas"]), "strategy": strategy}
    return made


def _relay(app_version: str, namespace: str, values: Values) -> list[Object]:
    relay = values["hubble"]["relay"]
    labels = {"k8s-app": "hubble-relay"}
    container = {"name": "hubble-relay", "image": f"{relay['image']['repository']}:v{app_version}", "args": ["serve"]}
    pod = {
        "serviceAccountName": "hubble-relay",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "hubble-relay-config"}}],
    }
    made = _workload("Deployment", "hubble-relay", namespace, labels, pod)
    made["spec"] |= {"replicas": int(relay["replicas"]), "strategy": {"type": "RollingUpdate"}}
    port = {"protocol": "TCP", "port": 80, "targetPort": "grpc"}
    return [
        _named("v1", "ConfigMap", "hubble-relay-config", namespace)
        | {"data": {"config.yaml": "cluster-name: default\n"}},
        _named("v1", "Service", "hubble-relay", namespace) | {"spec": {"selector": labels, "ports": [port]}},
        made,
    ]


def _accounts(namespace: str, values: Values) -> list[Object]:
    names = ["cilium", "cilium-envoy", "cilium-operator"]
    names += ["hubble-relay"] if values["hubble"]["relay"]["enabled"] else []
    return [_named("v1", "ServiceAccount", name, namespace) for name in names]


def _environment(values: Values) -> list[Object]:
    node = {"name": "K8S_NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}
    made: list[Object] = [node, {"name": "CILIUM_K8S_NAMESPACE", "value": "kube-system"}]
    if values["k8sServiceHost"]:
        made.append({"name": "KUBERNETES_SERVICE_HOST", "value": str(values["k8sServiceHost"])})
    if values["k8sServicePort"]:
        made.append({"name": "KUBERNETES_SERVICE_PORT", "value": str(values["k8sServicePort"])})
    return made


def _workload(kind: str, name: str, namespace: str, labels: dict[str, str], pod: Object) -> Object:
    template = {"metadata": {"labels": {**labels, "app.kubernetes.io/part-of": "cilium"}}, "spec": pod}
    spec: Object = {"selector": {"matchLabels": labels}, "template": template}
    return _named("apps/v1", kind, name, namespace) | {"spec": spec}


def _named(api_version: str, kind: str, name: str, namespace: str) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}
