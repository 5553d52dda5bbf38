"""The configuration that Talos' generator makes for a machine, before any patch."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from tallship.lab.talos.config.secrets import Bundle

Document = dict[str, Any]

POD_SECURITY = {
    "name": "PodSecurity",
    "configuration": {
        "apiVersion": "pod-security.admission.config.k8s.io/v1alpha1",
        "kind": "PodSecurityConfiguration",
        "defaults": {
            "audit": "restricted",
            "audit-version": "latest",
            "enforce": "baseline",
            "enforce-version": "latest",
            "warn": "restricted",
            "warn-version": "latest",
        },
        "exemptions": {"namespaces": ["kube-system"], "runtimeClasses": [], "usernames": []},
    },
}
AUDIT_POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"


def controlplane_config(
    bundle: Bundle,
    cluster_name: str,
    endpoint: str,
    kubernetes_version: str,
    talos_version: str,
    pod_subnets: list[str],
    service_subnets: list[str],
    dns_domain: str,
    kind: str = "controlplane",
) -> list[Document]:
    """Return the documents of a machine (`init`, `controlplane` or `worker`) in the contract of a Talos version."""
    contract = _contract(talos_version)
    cluster = _cluster(bundle, cluster_name, endpoint, pod_subnets, service_subnets, dns_domain)
    machine = _machine(bundle, kubernetes_version, kind, contract)
    if kind != "worker":
        cluster.update(_control_plane(bundle, kubernetes_version, contract))
        if contract < (1, 12):
            cluster["apiServer"]["certSANs"] = [urlsplit(endpoint).hostname]
        machine["ca"]["key"] = bundle["certs"]["os"]["key"]
        machine["nodeLabels"] = {EXCLUDE_LABEL: ""}
    else:
        cluster["ca"] = {"crt": bundle["certs"]["k8s"]["crt"], "key": ""}
    documents: list[Document] = [
        {"version": "v1alpha1", "debug": False, "persist": True, "machine": machine, "cluster": cluster}
    ]
    if contract >= (1, 12):
        documents.append({"apiVersion": "v1alpha1", "kind": "HostnameConfig", "auto": "stable"})
    return documents


def _machine(bundle: Bundle, kubernetes_version: str, kind: str, contract: tuple[int, int]) -> Document:
    install: Document = {"wipe": False}
    features: Document = {
        "diskQuotaSupport": True,
        "kubePrism": {"enabled": True, "port": 7445},
        "hostDNS": {"enabled": True, "forwardKubeDNSToHost": True},
    }
    if contract >= (1, 12):
        install["grubUseUKICmdline"] = True
    else:
        features.update(rbac=True, stableHostname=True, apidCheckExtKeyUsage=True)
    return {
        "type": kind,
        "token": bundle["trustdinfo"]["token"],
        "ca": {"crt": bundle["certs"]["os"]["crt"], "key": ""},
        "certSANs": [],
        "kubelet": {
            "image": f"ghcr.io/siderolabs/kubelet:v{kubernetes_version}",
            "defaultRuntimeSeccompProfileEnabled": True,
            "disableManifestsDirectory": True,
        },
        "network": {},
        "install": install,
        "features": features,
    }


def _cluster(
    bundle: Bundle, name: str, endpoint: str, pod_subnets: list[str], service_subnets: list[str], dns_domain: str
) -> Document:
    return {
        "id": bundle["cluster"]["id"],
        "secret": bundle["cluster"]["secret"],
        "controlPlane": {"endpoint": endpoint},
        "clusterName": name,
        "network": {"dnsDomain": dns_domain, "podSubnets": list(pod_subnets), "serviceSubnets": list(service_subnets)},
        "token": bundle["secrets"]["bootstraptoken"],
        "discovery": {"enabled": True, "registries": {"kubernetes": {"disabled": True}, "service": {}}},
    }


def _control_plane(bundle: Bundle, kubernetes_version: str, contract: tuple[int, int]) -> Document:
    certs, images = bundle["certs"], "registry.k8s.io/kube-"
    api_server: Document = {
        "image": f"{images}apiserver:v{kubernetes_version}",
        "admissionControl": [POD_SECURITY],
        "auditPolicy": AUDIT_POLICY,
    }
    if contract < (1, 12):
        api_server["disablePodSecurityPolicy"] = True
    return {
        "secretboxEncryptionSecret": bundle["secrets"]["secretboxencryptionsecret"],
        "ca": dict(certs["k8s"]),
        "aggregatorCA": dict(certs["k8saggregator"]),
        "serviceAccount": dict(certs["k8sserviceaccount"]),
        "apiServer": api_server,
        "controllerManager": {"image": f"{images}controller-manager:v{kubernetes_version}"},
        "proxy": {"image": f"{images}proxy:v{kubernetes_version}"},
        "scheduler": {"image": f"{images}scheduler:v{kubernetes_version}"},
        "etcd": {"ca": dict(certs["etcd"])},
    }


def _contract(version: str) -> tuple[int, int]:
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (1, 12)
