"""Cilium's agent: it starts, and so makes its node's network ready, only with values that fit the cluster."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from tallship.lab.controllers.nodes import node_documents as documents
from tallship.lab.controllers.nodes.mirror import Mirror
from tallship.lab.controllers.nodes.pods import environment
from tallship.lab.kubeclient import Object

CONTAINER = "cilium-agent"


class Cilium:
    """The program in the container `cilium-agent`."""

    def __init__(
        self,
        mirror: Mirror,
        config_of: Callable[[str], documents.Config | None],
        api_servers: Callable[[], list[str]],
    ) -> None:
        self._mirror = mirror
        self._config_of = config_of
        self._api_servers = api_servers

    async def problem(self, pod: Object) -> str:
        """Return the agent's last log line; empty when it starts."""
        config = self._config_of(pod["spec"]["nodeName"])
        if config is None:
            return ""
        settings = (self._mirror.get("ConfigMap", "cilium-config", "kube-system") or {}).get("data") or {}
        proxy_runs = documents.kube_proxy_runs(config)
        return (
            _forbidden_capability(pod)
            or _wrong_api_server(pod, config, self._api_servers())
            or ("" if proxy_runs or _true(settings.get("kube-proxy-replacement")) else _NO_SERVICES)
            or _wrong_addressing(settings, config)
        )


_NO_SERVICES = (
    'level=fatal msg="no kube-proxy runs in this cluster and kube-proxy-replacement is off: '
    'services have no way to their Pods" subsys=daemon'
)


def _forbidden_capability(pod: Object) -> str:
    """Talos: no container may load kernel modules; containerd cannot apply the capability."""
    agent = next(each for each in pod["spec"]["containers"] if each["name"] == CONTAINER)
    added = agent.get("securityContext", {}).get("capabilities", {}).get("add", [])
    if "SYS_MODULE" in added:
        return (
            "failed to create containerd task: OCI runtime create failed: unable to apply caps: operation not permitted"
        )
    return ""


def _wrong_api_server(pod: Object, config: documents.Config, api_servers: list[str]) -> str:
    """The address must lead to an API server without the service network, unless kube-proxy makes that one."""
    variables = environment(pod, CONTAINER, lambda *_: None)
    host, port = variables.get("KUBERNETES_SERVICE_HOST", ""), variables.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        if documents.kube_proxy_runs(config):
            return ""
        host = "kubernetes.default.svc"
    prism = documents.kube_prism(config)
    endpoint = urlsplit(str(documents.section(config, "cluster", "controlPlane").get("endpoint", ""))).netloc
    reachable = {prism, prism.replace("localhost", "127.0.0.1"), endpoint, *api_servers} - {""}
    if f"{host}:{port}" in reachable:
        return ""
    return (
        f'level=error msg="Unable to contact k8s api-server" ipAddr=https://{host}:{port} '
        f'error="Get \\"https://{host}:{port}/api/v1/namespaces/kube-system\\": dial tcp: connect: connection refused" '
        "subsys=k8s-client"
    )


def _wrong_addressing(settings: Object, config: documents.Config) -> str:
    if settings.get("ipam") != "kubernetes":
        return (
            f'level=fatal msg="ipam mode {settings.get("ipam", "cluster-pool")!r} gives out other Pod addresses '
            "than the nodes' podCIDR\" subsys=ipam"
        )
    if settings.get("routing-mode") != "native":
        return ""
    routed = settings.get("ipv4-native-routing-cidr", "")
    pods = documents.section(config, "cluster", "network").get("podSubnets", [])
    if routed not in pods:
        return (
            f'level=fatal msg="ipv4-native-routing-cidr {routed!r} is not the Pod network {", ".join(pods)}" '
            "subsys=daemon"
        )
    return ""


def _true(text: object) -> bool:
    return str(text).lower() in ("true", "strict")
