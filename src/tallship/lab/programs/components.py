"""PURE: the objects that clusterctl applies: cert-manager's, and each provider's.

What nothing in the lab reads is left out: roles, Services, and the webhooks where the API server has them in itself.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass

from tallship.lab.kube.admission import WEBHOOKS
from tallship.lab.kube.schemas import crds
from tallship.lab.kubeclient import Object

CLUSTERCTL_LABEL = "clusterctl.cluster.x-k8s.io"
PROVIDER_LABEL = "cluster.x-k8s.io/provider"
CERT_MANAGER_NAMESPACE = "cert-manager"
CERT_MANAGER_TEST = "cert-manager-test"
CERT_MANAGER_VERSION = "v1.19.1"
CERT_MANAGER_PARTS = ("cert-manager", "cert-manager-cainjector", "cert-manager-webhook")
CERT_MANAGER_KINDS = {
    "cert-manager.io": ("Certificate", "CertificateRequest", "ClusterIssuer", "Issuer"),
    "acme.cert-manager.io": ("Challenge", "Order"),
}
_CLUSTER_WIDE = ("ClusterIssuer",)


@dataclass(frozen=True)
class Provider:
    """One provider at the version that the lab has."""

    flag: str
    name: str
    kind: str
    version: str
    inventory: str
    """The name of its Provider object."""
    namespace: str
    deployment: str
    image: str
    group: str
    """The API group whose kinds it brings."""
    source: str
    """The repository on GitHub, and the file with its components."""


PROVIDERS = (
    Provider(
        "--core", "cluster-api", "CoreProvider", "v1.10.10", "cluster-api", "capi-system", "capi-controller-manager",
        "registry.k8s.io/cluster-api/cluster-api-controller", "cluster.x-k8s.io",
        "kubernetes-sigs/cluster-api core-components.yaml",
    ),
    Provider(
        "--bootstrap", "talos", "BootstrapProvider", "v0.6.11", "bootstrap-talos", "cabpt-system",
        "cabpt-controller-manager", "ghcr.io/siderolabs/cluster-api-talos-controller", "bootstrap.cluster.x-k8s.io",
        "siderolabs/cluster-api-bootstrap-provider-talos bootstrap-components.yaml",
    ),
    Provider(
        "--control-plane", "talos", "ControlPlaneProvider", "v0.5.12", "control-plane-talos", "cacppt-system",
        "cacppt-controller-manager", "ghcr.io/siderolabs/cluster-api-control-plane-talos-controller",
        "controlplane.cluster.x-k8s.io",
        "siderolabs/cluster-api-control-plane-provider-talos control-plane-components.yaml",
    ),
    Provider(
        "--infrastructure", "hetzner", "InfrastructureProvider", "v1.0.7", "infrastructure-hetzner", "caph-system",
        "caph-controller-manager", "ghcr.io/syself/caph", "infrastructure.cluster.x-k8s.io",
        "syself/cluster-api-provider-hetzner infrastructure-components.yaml",
    ),
)  # fmt: skip
"""In the order in which clusterctl installs them."""


@dataclass(frozen=True)
class Hooks:
    """Where an API server finds the webhooks of the stand-ins."""

    url: str
    authority: str
    """The certificate (PEM) of who signs for it."""
    without: frozenset[str] = frozenset()
    """Stand-ins that are left out: the real programs bring webhooks of their own."""


def inventory_definition() -> list[Object]:
    """Return the definition of clusterctl's own inventory."""
    return crds(CLUSTERCTL_LABEL)


def inventory_entry(provider: Provider) -> Object:
    """Return the Provider object that says what is installed."""
    labels = {CLUSTERCTL_LABEL: "", PROVIDER_LABEL: provider.inventory, "clusterctl.cluster.x-k8s.io/core": "inventory"}
    return {
        "apiVersion": "clusterctl.cluster.x-k8s.io/v1alpha3",
        "kind": "Provider",
        "metadata": {"name": provider.inventory, "namespace": provider.namespace, "labels": labels},
        "providerName": provider.name,
        "type": provider.kind,
        "version": provider.version,
    }


def provider_objects(provider: Provider, hooks: Hooks | None = None) -> list[Object]:
    """Return a provider's objects in the order in which they are applied."""
    short = provider.deployment.removesuffix("-controller-manager")
    account = provider.deployment.replace("controller-manager", "manager")
    made = [
        _namespace(provider.namespace, {"control-plane": "controller-manager"}),
        *crds(provider.group),
        _account(account, provider.namespace),
        _deployment(
            provider.deployment, provider.namespace, account, "manager", f"{provider.image}:{provider.version}"
        ),
        *([] if hooks is None or short in hooks.without else _webhooks(short, provider.group, hooks)),
    ]
    for each in made:
        each["metadata"].setdefault("labels", {}).update({CLUSTERCTL_LABEL: "", PROVIDER_LABEL: provider.inventory})
    return made


def _webhooks(short: str, group: str, hooks: Hooks) -> list[Object]:
    """Return what makes an API server ask for defaults and verdicts about the kinds of a group."""
    kinds = {
        each["spec"]["names"]["kind"]: each["spec"]["names"]["plural"]
        for each in crds(group)
        if each["spec"]["names"]["kind"] in WEBHOOKS
    }
    made = []
    for which, path in (("Mutating", "defaults"), ("Validating", "verdict")):
        client = {"url": f"{hooks.url}/{short}/{path}", "caBundle": b64encode(hooks.authority.encode()).decode()}
        listed = [
            {
                "name": WEBHOOKS[kind] if which == "Validating" else f"default.{plural}.{group}",
                "clientConfig": client,
                "rules": [
                    {
                        "apiGroups": [group],
                        "apiVersions": ["*"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": [plural],
                        "scope": "*",
                    }
                ],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "failurePolicy": "Fail",
            }
            for kind, plural in kinds.items()
        ]
        name = f"{short}-{which.lower()}-webhook-configuration"
        kind = f"{which}WebhookConfiguration"
        version = "admissionregistration.k8s.io/v1"
        made.append({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "webhooks": listed})
    return made


def cert_manager_definitions() -> list[Object]:
    """Return the definitions that tell clusterctl that cert-manager is there."""
    return [_open_definition(group, kind) for group, kinds in CERT_MANAGER_KINDS.items() for kind in kinds]


def cert_manager_objects() -> list[Object]:
    """Return cert-manager's objects in the order in which they are applied."""
    made = [_namespace(CERT_MANAGER_NAMESPACE, {}), *cert_manager_definitions()]
    for name in CERT_MANAGER_PARTS:
        image = f"quay.io/jetstack/{'cert-manager-controller' if name == 'cert-manager' else name}"
        container = f"{name}-controller" if name == "cert-manager" else name
        made.append(_account(name, CERT_MANAGER_NAMESPACE))
        made.append(_deployment(name, CERT_MANAGER_NAMESPACE, name, container, f"{image}:{CERT_MANAGER_VERSION}"))
    for each in made:
        each["metadata"].setdefault("labels", {})["clusterctl.cluster.x-k8s.io/core"] = "cert-manager"
        each["metadata"].setdefault("annotations", {})["cert-manager.clusterctl.cluster.x-k8s.io/version"] = (
            CERT_MANAGER_VERSION
        )
    return made


def test_namespace() -> Object:
    """Return the namespace in which clusterctl tries whether cert-manager works."""
    return _namespace(CERT_MANAGER_TEST, {})


def _namespace(name: str, labels: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _account(name: str, namespace: str) -> Object:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


def _deployment(name: str, namespace: str, account: str, container: str, image: str) -> Object:
    labels = {"app.kubernetes.io/name": name, "control-plane": "controller-manager"}
    tolerations = [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]
    pod = {
        "serviceAccountName": account,
        "containers": [{"name": container, "image": image, "args": ["--leader-elect"]}],
        "tolerations": tolerations,
        "terminationGracePeriodSeconds": 10,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _open_definition(group: str, kind: str) -> Object:
    """Return a definition whose objects may hold anything."""
    plural = kind.lower() + "s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "scope": "Cluster" if kind in _CLUSTER_WIDE else "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
