"""The programs of a Kubernetes control plane, as v1.32 and etcd 3.5 want to be started."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tallship.localplane import certificates
from tallship.localplane.certificates import Pair
from tallship.localplane.files import Layout, write_private
from tallship.localplane.program import Probe, Program

ETCD, API_SERVER, CONTROLLERS = "etcd", "kube-apiserver", "kube-controller-manager"
NAMES = (ETCD, API_SERVER, CONTROLLERS)
PEERS = "etcd-peers"
"""The name of the port that etcd insists on for other members, of which there are none."""

LOOPBACK = "127.0.0.1"
"""Where everything but the API server listens."""

_STARTED_CONTROLLERS = (
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
)
"""What a cluster without nodes needs: deleted things go, namespaces come with their account, roles are put together."""

_ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True)
class Api:
    """Where the API server listens and what it is called there."""

    address: str
    port: int
    hosts: tuple[str, ...]
    """Further names and addresses that its certificate is good for."""
    services: str
    """The network of Service addresses, CIDR."""

    @property
    def url(self) -> str:
        """Its URL."""
        return f"https://{self.address}:{self.port}"


def write_certificates(layout: Layout, api: Api, given: Pair | None) -> None:
    """Make what is not there yet: authorities and the token key once; what they sign anew at each start."""
    folder = layout.certificates
    clients = _authority(folder, "ca", "tallship local plane", given)
    etcd = _authority(folder, "etcd-ca", "tallship local plane, etcd", None)
    if not (folder / "service-accounts.key").exists():
        write_private(folder / "service-accounts.key", certificates.signing_key())
    hosts = (api.address, LOOPBACK, "localhost", *api.hosts)
    signed = {
        API_SERVER: certificates.pair(clients, API_SERVER, hosts=tuple(dict.fromkeys(hosts))),
        CONTROLLERS: certificates.pair(clients, CONTROLLERS, hosts=(LOOPBACK, "localhost")),
        ETCD: certificates.pair(etcd, ETCD, hosts=(LOOPBACK, "localhost")),
        "etcd-client": certificates.pair(etcd, API_SERVER),
    }
    for name, pair in signed.items():
        pair.write(folder / f"{name}.crt", folder / f"{name}.key")
    admin = certificates.pair(clients, "admin", groups=("system:masters",))
    write_private(layout.kubeconfig, kubeconfig(api.url, clients.certificate, admin))
    controllers = certificates.pair(clients, "system:kube-controller-manager")
    write_private(folder / f"{CONTROLLERS}.kubeconfig", kubeconfig(api.url, clients.certificate, controllers))


def kubeconfig(server: str, authority: str, user: Pair) -> str:
    """Return a kubeconfig with one context, `local`."""
    cluster = {"server": server, "certificate-authority-data": _encoded(authority)}
    credentials = {"client-certificate-data": _encoded(user.certificate), "client-key-data": _encoded(user.key)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": "local", "user": credentials}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local"}}],
        "current-context": "local",
    }
    return yaml.safe_dump(document, sort_keys=False)


def programs(layout: Layout, folder: Path, api: Api, ports: Mapping[str, int]) -> list[Program]:
    """Return the three programs, which are files of a folder."""
    return [_etcd(layout, folder, ports), _api_server(layout, folder, api, ports), _controllers(layout, folder, ports)]


def _etcd(layout: Layout, folder: Path, ports: Mapping[str, int]) -> Program:
    files = layout.certificates
    clients, peers = f"https://{LOOPBACK}:{ports[ETCD]}", f"https://{LOOPBACK}:{ports[PEERS]}"
    authority, certificate, key = files / "etcd-ca.crt", files / "etcd.crt", files / "etcd.key"
    arguments = {
        "name": "local",
        "data-dir": layout.data,
        "listen-client-urls": clients,
        "advertise-client-urls": clients,
        "listen-peer-urls": peers,
        "initial-advertise-peer-urls": peers,
        "initial-cluster": f"local={peers}",
        "heartbeat-interval": 50,  # ms; nobody else votes, so what is waited for at each start can be short
        "election-timeout": 250,
        "client-cert-auth": "true",
        "trusted-ca-file": authority,
        "cert-file": certificate,
        "key-file": key,
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": authority,
        "peer-cert-file": certificate,
        "peer-key-file": key,
    }
    client = Probe(f"{clients}/health", str(authority), str(files / "etcd-client.crt"), str(files / "etcd-client.key"))
    return Program(ETCD, _argv(folder / ETCD, arguments), probe=client)


def _api_server(layout: Layout, folder: Path, api: Api, ports: Mapping[str, int]) -> Program:
    files = layout.certificates
    token_key = files / "service-accounts.key"
    arguments = {
        "etcd-servers": f"https://{LOOPBACK}:{ports[ETCD]}",
        "etcd-cafile": files / "etcd-ca.crt",
        "etcd-certfile": files / "etcd-client.crt",
        "etcd-keyfile": files / "etcd-client.key",
        "bind-address": api.address,
        "advertise-address": api.address,  # else it looks for a default route, which not every machine has
        "secure-port": api.port,
        "tls-cert-file": files / f"{API_SERVER}.crt",
        "tls-private-key-file": files / f"{API_SERVER}.key",
        "client-ca-file": files / "ca.crt",
        "cert-dir": layout.home,
        "authorization-mode": "Node,RBAC",
        "service-account-issuer": _ISSUER,
        "service-account-key-file": token_key,
        "service-account-signing-key-file": token_key,
        "service-cluster-ip-range": api.services,
        "endpoint-reconciler-type": "none",  # its own Service leads nowhere: nothing runs in a pod
        "disable-admission-plugins": "ServiceAccount",
        "allow-privileged": "true",
        "profiling": "false",
    }
    if layout.encryption.exists():
        arguments["encryption-provider-config"] = layout.encryption
    probe = Probe(f"{api.url}/readyz", str(files / "ca.crt"))
    return Program(API_SERVER, _argv(folder / API_SERVER, arguments), probe=probe, after=(ETCD,))


def _controllers(layout: Layout, folder: Path, ports: Mapping[str, int]) -> Program:
    files = layout.certificates
    arguments = {
        "kubeconfig": files / f"{CONTROLLERS}.kubeconfig",
        "controllers": ",".join(_STARTED_CONTROLLERS),
        "use-service-account-credentials": "true",
        "service-account-private-key-file": files / "service-accounts.key",
        "root-ca-file": files / "ca.crt",
        "leader-elect": "false",
        "bind-address": LOOPBACK,
        "secure-port": ports[CONTROLLERS],
        "tls-cert-file": files / f"{CONTROLLERS}.crt",
        "tls-private-key-file": files / f"{CONTROLLERS}.key",
        "profiling": "false",
    }
    probe = Probe(f"https://{LOOPBACK}:{ports[CONTROLLERS]}/healthz", str(files / "ca.crt"))
    return Program(CONTROLLERS, _argv(folder / CONTROLLERS, arguments), probe=probe, after=(API_SERVER,))


def _argv(program: Path, arguments: Mapping[str, object]) -> tuple[str, ...]:
    return (str(program), *(f"--{name}={value}" for name, value in arguments.items()))


def _authority(folder: Path, file: str, name: str, given: Pair | None) -> Pair:
    certificate, key = folder / f"{file}.crt", folder / f"{file}.key"
    if given is None and key.exists() and certificate.exists():
        return Pair.read(certificate, key)
    made = given or certificates.authority(name)
    made.write(certificate, key)
    return made


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()
