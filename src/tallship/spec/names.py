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


POOL_LABEL = "tallship.dev/pool"
"""On what makes up a pool of workers, and on its Machines: the pool's name."""

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
    def workers_health_check(self) -> str:
        """The MachineHealthCheck of all workers."""
        return f"{self.cluster}-workers"

    def placement_group_of(self, pool: str, part: int = 1) -> str:
        """The placement group of a part of a pool, as documents name it: at Hetzner it is called as its `pool`."""
        return pool if part == 1 else f"{pool}-{part}"

    def pool(self, pool: str, part: int = 1) -> str:
        """The MachineDeployment of a part of a pool; its first part is called as the pool is."""
        return f"{self.cluster}-{self.placement_group_of(pool, part)}"

    def longest_worker(self, pool: str, part: int = 1) -> str:
        """A worker's name as Cluster API v1.10 makes it: MachineSet and Machine add five characters each."""
        return f"{self.pool(pool, part)}-xxxxx-xxxxx"

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
