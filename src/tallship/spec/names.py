"""Every name that is derived from the cluster's, and the limit they put on it."""

from __future__ import annotations

from dataclasses import dataclass

NAMESPACE = "default"
"""The namespace of the Cluster API objects on the management cluster."""

HETZNER_SECRET = "hetzner"  # noqa: S105 the name of a Secret
"""The Secret with the API token on the management cluster."""

HETZNER_SECRET_KEY = "hcloud"  # noqa: S105 the name of a key
"""Its key."""

CCM_SECRET = "hcloud"  # noqa: S105 the name of a Secret
"""The Secret in kube-system of the cluster: keys `token` and `network`."""

CONTROL_PLANE_LABEL = "cluster.x-k8s.io/control-plane"
CLUSTER_LABEL = "cluster.x-k8s.io/cluster-name"


SERVER_NAME_LIMIT = 63
"""RFC 1123: a host name. Talos, Kubernetes and Hetzner all use the server's name as one."""


@dataclass(frozen=True)
class Names:
    """Names of one cluster. Templates are named by their content: see `manifests.cluster.template_name`."""

    cluster: str

    @property
    def control_plane(self) -> str:
        """The TalosControlPlane; its Machines are named `NAME-control-plane-XXXXX`."""
        return f"{self.cluster}-control-plane"

    @property
    def longest_server(self) -> str:
        """A server's name as Cluster API makes it: the template's name, whose end is a hash, and five characters."""
        return f"{self.control_plane}-{'0' * 8}-xxxxx"

    @property
    def owner_label(self) -> str:
        """The key of the label that CAPH puts on everything it makes at Hetzner; its value is `owned`."""
        return f"caph-cluster-{self.cluster}"

    @property
    def owned_by_caph(self) -> str:
        """The label selector of everything CAPH made for this cluster."""
        return f"{self.owner_label}=owned"

    @property
    def network(self) -> str:
        """The private network at Hetzner."""
        return self.cluster

    @property
    def placement_group(self) -> str:
        """The placement group at Hetzner."""
        return f"{self.cluster}-control-plane"

    @property
    def load_balancer_prefix(self) -> str:
        """What the load balancer's name begins with; CAPH adds five random characters."""
        return f"{self.cluster}-kube-apiserver-"

    @property
    def firewall(self) -> str:
        """The firewall at Hetzner."""
        return self.cluster

    @property
    def health_check(self) -> str:
        """The MachineHealthCheck and its HCloudRemediationTemplate."""
        return f"{self.cluster}-control-plane"

    @property
    def kubeconfig_secret(self) -> str:
        """The Secret with the administrator's kubeconfig, key `value`."""
        return f"{self.cluster}-kubeconfig"

    @property
    def talosconfig_secret(self) -> str:
        """The Secret with the talosconfig, key `talosconfig`."""
        return f"{self.cluster}-talosconfig"

    @property
    def ca_secret(self) -> str:
        """The Secret with the Kubernetes CA, keys `tls.crt` and `tls.key`."""
        return f"{self.cluster}-ca"

    @property
    def talos_secret(self) -> str:
        """The Secret with everything a machine of this cluster must know, key `bundle`."""
        return f"{self.cluster}-talos"

    @property
    def kind_cluster(self) -> str:
        """The kind cluster that holds Cluster API before the pivot."""
        return f"{self.cluster}-mgmt"
