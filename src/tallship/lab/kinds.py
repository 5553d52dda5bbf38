"""The Kubernetes kinds the lab knows by heart: group, version, plural and scope. Facts of the APIs, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of object as a path knows it."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`v1` for the core group, else `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of the collection, or of one object."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}{tail}"


BUILT_IN = (
    Kind("", "v1", "Namespace", "namespaces", False),
    Kind("", "v1", "Node", "nodes", False),
    Kind("", "v1", "Secret", "secrets"),
    Kind("", "v1", "ConfigMap", "configmaps"),
    Kind("", "v1", "Event", "events"),
    Kind("", "v1", "Pod", "pods"),
    Kind("", "v1", "Service", "services"),
    Kind("", "v1", "ServiceAccount", "serviceaccounts"),
    Kind("", "v1", "PersistentVolume", "persistentvolumes", False),
    Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    Kind("apps", "v1", "Deployment", "deployments"),
    Kind("apps", "v1", "DaemonSet", "daemonsets"),
    Kind("batch", "v1", "Job", "jobs"),
    Kind("coordination.k8s.io", "v1", "Lease", "leases"),
    Kind("certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests", False),
    Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", False),
    Kind("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", False),
    Kind("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False),
    Kind("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False),
    Kind(
        "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False
    ),
)
"""Served by every API server of the lab from its start."""

CLUSTER_API = (
    Kind("cluster.x-k8s.io", "v1beta1", "Cluster", "clusters"),
    Kind("cluster.x-k8s.io", "v1beta1", "Machine", "machines"),
    Kind("cluster.x-k8s.io", "v1beta1", "MachineSet", "machinesets"),
    Kind("cluster.x-k8s.io", "v1beta1", "MachineDeployment", "machinedeployments"),
    Kind("cluster.x-k8s.io", "v1beta1", "MachineHealthCheck", "machinehealthchecks"),
    Kind("infrastructure.cluster.x-k8s.io", "v1beta1", "HetznerCluster", "hetznerclusters"),
    Kind("infrastructure.cluster.x-k8s.io", "v1beta1", "HCloudMachine", "hcloudmachines"),
    Kind("infrastructure.cluster.x-k8s.io", "v1beta1", "HCloudMachineTemplate", "hcloudmachinetemplates"),
    Kind("infrastructure.cluster.x-k8s.io", "v1beta1", "HCloudRemediation", "hcloudremediations"),
    Kind("infrastructure.cluster.x-k8s.io", "v1beta1", "HCloudRemediationTemplate", "hcloudremediationtemplates"),
    Kind("bootstrap.cluster.x-k8s.io", "v1alpha3", "TalosConfig", "talosconfigs"),
    Kind("bootstrap.cluster.x-k8s.io", "v1alpha3", "TalosConfigTemplate", "talosconfigtemplates"),
    Kind("controlplane.cluster.x-k8s.io", "v1alpha3", "TalosControlPlane", "taloscontrolplanes"),
    Kind("clusterctl.cluster.x-k8s.io", "v1alpha3", "Provider", "providers"),
)
"""Served once their CustomResourceDefinitions are installed."""

TALOS_API = (Kind("talos.dev", "v1alpha1", "ServiceAccount", "serviceaccounts"),)
"""Served where a control plane gives access to the Talos API; named with their group, since Kubernetes has the word."""

BY_NAME = {kind.kind: kind for kind in (*BUILT_IN, *CLUSTER_API)}
BY_NAME |= {f"{kind.kind}.{kind.group}": kind for kind in TALOS_API}
