"""What tallship.yaml can say. The defaults are the guide's cluster."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
)

from tallship import versions
from tallship.spec.backups import Backup
from tallship.spec.names import Names
from tallship.spec.pools import Pool
from tallship.spec.section import Section
from tallship.spec.server_types import architecture_of
from tallship.spec.values import (
    LOCATIONS,
    Architecture,
    Argument,
    ChartVersion,
    Command,
    Extension,
    LabelValue,
    Location,
    Name,
    Network4,
    Patch,
    SecureAddress,
    Source,
    Text,
    Values,
    Version,
    WebAddress,
)


class Hetzner(Section):
    """Where the cluster stands and where the API token comes from, which is never in the file."""

    location: Location = Field(
        default="nbg1", description="Hetzner's location of every server and of the load balancer"
    )
    token_file: Text | None = Field(
        default=None, description="a file that holds the API token; default is HCLOUD_TOKEN"
    )
    token_command: Command | None = Field(default=None, description="a command that prints the API token")

    @property
    def network_zone(self) -> str:
        """The zone of the location's private networks."""
        return LOCATIONS[self.location]


class ControlPlane(Section):
    """The servers."""

    replicas: Annotated[StrictInt, Field(ge=1, le=9)] = Field(default=3, description="how many servers; odd, for etcd")
    server_type: Text = Field(default="cx33", description="Hetzner's server type; cax types have arm64 processors")
    fallback_types: tuple[Text, ...] = Field(
        default=(), description="which to take, in this order, when that one is sold out and servers have to be made"
    )

    @property
    def architecture(self) -> Architecture:
        """The architecture of the server type."""
        return architecture_of(self.server_type)

    @property
    def types(self) -> tuple[str, ...]:
        """The server types that may be taken, the one that is wanted first."""
        return (self.server_type, *self.fallback_types)


class Network(Section):
    """Every address range; the pods' lies inside the network's, so that Hetzner routes it."""

    cidr: Network4 = Field(default="10.10.0.0/16", description="the whole private network")
    control_plane_subnet: Network4 = Field(default="10.10.64.0/25", description="the servers' private addresses")
    pods: Network4 = Field(default="10.10.128.0/17", description="the pods' addresses, inside `cidr`")
    services: Network4 = Field(default="10.10.96.0/20", description="the services' addresses")


class Kubernetes(Section):
    """The Kubernetes version."""

    version: Version = Field(default=versions.COMPONENTS["kubernetes"].version, description="the Kubernetes version")


class Talos(Section):
    """The Talos version, and the way out for what this file cannot say."""

    version: Version = Field(default=versions.COMPONENTS["talos"].version, description="the Talos version")
    patches: tuple[Patch, ...] = Field(
        default=(),
        max_length=100,
        description="strategic merge patches, as text or as mappings, applied after ours",
    )


class Management(Section):
    """The Kubernetes that holds the Cluster API objects until `tallship pivot`."""

    mode: Literal["kind", "local", "kubeconfig"] = Field(
        default="kind",
        description="a kind cluster on this machine, plain processes of this machine, or a Kubernetes that you have",
    )
    kubeconfig: Text | None = Field(default=None, description="with mode `kubeconfig`: the file")
    context: Text | None = Field(default=None, description="with mode `kubeconfig`: the context in it")
    egress_cidr: Source | None = Field(
        default=None, description="the addresses its controllers dial from; default is this machine's own address"
    )


class Programs(Section):
    """Where the programs of `management: local` come from."""

    path: Text | None = Field(
        default=None,
        description="a folder with etcd, kube-apiserver, kube-controller-manager, and the providers' managers",
    )
    mirrors: dict[StrictStr, SecureAddress] = Field(
        default_factory=dict, description="where else a host is asked: `ghcr.io: https://mirror.example/ghcr`"
    )


def _management(value: Any) -> Any:
    return {"mode": value} if isinstance(value, str) else value


class Image(Section):
    """The Talos snapshot the servers boot from."""

    extensions: tuple[Extension, ...] = Field(
        default=("siderolabs/qemu-guest-agent",), description="Talos system extensions"
    )
    kernel_args: tuple[Argument, ...] = Field(default=(), description="more arguments for the kernel")
    architecture: Architecture | None = Field(default=None, description="default is that of the control plane")
    name: LabelValue | None = Field(
        default=None, description="default is derived from version, architecture and schematic"
    )
    sha256: Annotated[StrictStr, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="checksum of the compressed image, where you know it"
    )


class Firewall(Section):
    """Who may reach the servers' public addresses."""

    admin_networks: tuple[Source, ...] = Field(
        default=(), max_length=90, description="from where ports 6443 and 50000 are open, beside private networks"
    )
    talos_api: StrictBool = Field(
        default=True, description="whether those networks may reach the Talos API, port 50000"
    )
    talos: StrictBool = Field(
        default=False,
        description="whether Talos' own firewall on the servers is on too; a change replaces every server",
    )
    address_url: WebAddress = Field(
        default="https://ipv4.icanhazip.com", description="answers with this machine's public address"
    )


class LoadBalancer(Section):
    """The load balancer before the API servers."""

    type: Literal["lb11", "lb21", "lb31"] = Field(default="lb11", description="Hetzner's load balancer type")
    talos_api: StrictBool = Field(default=True, description="whether port 50000 leads to the Talos API")


class Addon(Section):
    """A Helm chart and the values that win over ours."""

    version: ChartVersion
    values: Values = Field(default_factory=dict, description="Helm values, merged over ours")


class Cilium(Addon):
    """The network."""

    version: ChartVersion = Field(default=versions.COMPONENTS["cilium"].version, description="the chart's version")


class HcloudCcm(Addon):
    """Hetzner's cloud controller manager: provider IDs, routes, load balancers for services."""

    version: ChartVersion = Field(default=versions.COMPONENTS["hcloud-ccm"].version, description="the chart's version")


class TalosCcm(Addon):
    """Talos' cloud controller manager: it approves the kubelets' serving certificates."""

    version: ChartVersion = Field(default=versions.COMPONENTS["talos-ccm"].version, description="the chart's version")


class Addons(Section):
    """What is installed into the cluster."""

    cilium: Cilium = Field(default_factory=Cilium, description="the network")
    hcloud_ccm: HcloudCcm = Field(default_factory=HcloudCcm, description="Hetzner's cloud controller manager")
    talos_ccm: TalosCcm = Field(default_factory=TalosCcm, description="Talos' cloud controller manager")


class Oidc(Section):
    """People log in to Kubernetes through an OpenID Connect issuer."""

    issuer: SecureAddress = Field(description="the issuer's https address")
    client_id: Text = Field(description="the client the tokens are made for")
    username_claim: Text | None = Field(default=None, description="default of Kubernetes: sub")
    username_prefix: Text | None = Field(default=None, description="default of Kubernetes: the issuer and `#`")
    groups_claim: Text | None = Field(default=None, description="the claim that holds the groups")
    groups_prefix: Text | None = Field(default=None, description="put before each group")


class HealthChecks(Section):
    """When a server that does not answer is rebooted. One step of `up` applies it last."""

    enabled: StrictBool = Field(default=True, description="whether servers are rebooted")
    unhealthy_seconds: Annotated[StrictInt, Field(ge=60)] = Field(
        default=300, description="how long a node may be not ready; longer than a boot"
    )
    startup_seconds: Annotated[StrictInt, Field(ge=600)] = Field(
        default=1500, description="how long a new server may take to become a node"
    )
    reboots: Annotated[StrictInt, Field(ge=1, le=10)] = Field(default=1, description="how often one server is rebooted")
    reboot_seconds: Annotated[StrictInt, Field(ge=60)] = Field(default=180, description="how long a reboot may take")


class Spec(Section):
    """The cluster that should be: one tallship.yaml."""

    name: Name = Field(description="the cluster's name")
    version: Literal[1] = Field(default=1, description="the version of this file's format")
    delete_protection: StrictBool = Field(default=False, description="whether `tallship destroy` refuses")
    hetzner: Hetzner = Field(default_factory=Hetzner, description="where it stands")
    control_plane: ControlPlane = Field(default_factory=ControlPlane, description="the servers")
    workers: tuple[Pool, ...] = Field(default=(), description="pools of servers beside the control plane; none")
    network: Network = Field(default_factory=Network, description="the address ranges")
    kubernetes: Kubernetes = Field(default_factory=Kubernetes, description="the Kubernetes version")
    talos: Talos = Field(default_factory=Talos, description="the Talos version and patches")
    image: Image = Field(default_factory=Image, description="the Talos snapshot")
    load_balancer: LoadBalancer = Field(default_factory=LoadBalancer, description="the API servers' address")
    firewall: Firewall = Field(default_factory=Firewall, description="who may reach the servers")
    management: Annotated[
        Management,
        BeforeValidator(_management),
    ] = Field(default_factory=Management, description="where Cluster API runs")
    programs: Programs = Field(default_factory=Programs, description="the programs of `management: local`")
    addons: Addons = Field(default_factory=Addons, description="what is installed into the cluster")
    oidc: Oidc | None = Field(default=None, description="log in through an OpenID Connect issuer; off unless given")
    extra_manifests: tuple[SecureAddress, ...] = Field(
        default=(), description="https addresses of manifests that Talos applies when the cluster is made"
    )
    backup: Backup = Field(default_factory=Backup, description="who can read backups")
    health_checks: HealthChecks = Field(default_factory=HealthChecks, description="reboot servers that fail")

    @property
    def names(self) -> Names:
        """Every name that is derived from the cluster's."""
        return Names(self.name)

    @property
    def architecture(self) -> Architecture:
        """The architecture of the control plane and of its image."""
        return self.image.architecture or self.control_plane.architecture

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """Every architecture in use, each of which needs an image; the control plane's is the first."""
        return tuple(dict.fromkeys([self.architecture, *(pool.architecture for pool in self.workers)]))
