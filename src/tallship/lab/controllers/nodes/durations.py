"""How long things take inside a cluster: the one table, in modelled seconds, each with where it comes from."""

from __future__ import annotations

STARTS = {
    "cilium-agent": 10.0,  # loading the BPF programs and writing the CNI configuration; its own first log lines
    "cert-manager-webhook": 8.0,  # makes its own serving certificate before it is ready
    "manager": 2.0,  # Cluster API v1.10, CAPH, CABPT, CACPPT: 0.1-0.2 s to run, then the probe's first success
}
"""From a container's start to its first successful readiness probe, by the container's name."""

ANY_START = 2.0
"""From start to ready for a container that the table does not know: the first probe of a small Go program."""

SANDBOX = 1.0
"""From being scheduled to a sandbox with a network (containerd on Talos)."""

LEASE_RENEWAL = 10.0
"""kubelet: a quarter of the node lease's 40 s."""

NODE_MONITOR_GRACE = 50.0
"""kube-controller-manager 1.32: `--node-monitor-grace-period`, after which a silent node is Unknown."""

EVICTION = 300.0
"""DefaultTolerationSeconds admission: a Pod stays on an unreachable node for five minutes."""

CRASH_BACK_OFF = 10.0
"""kubelet: the first wait after a crash; it doubles up to CRASH_BACK_OFF_LIMIT."""

CRASH_BACK_OFF_LIMIT = 300.0
"""kubelet: the longest wait between two starts of a container that crashes."""

CLOUD_NODE_RETRY = 5.0
"""cloud-provider: the first wait of the node work queue's back-off, held where it is most of the time."""

ROUTE_PERIOD = 30.0
"""hcloud-cloud-controller-manager: `--route-reconciliation-period=30s`."""

LIFECYCLE_PERIOD = 5.0
"""cloud-provider: `--node-monitor-period`, at which nodes without a server are looked for."""

CSR_RETRY = 60.0
"""kubelet: the wait before it asks again after its request for a serving certificate was denied."""


def start_seconds(container: str) -> float:
    """Return how long a container takes from its start until it is ready."""
    return STARTS.get(container, ANY_START)


def back_off_seconds(crashes: int) -> float:
    """Return how long kubelet waits after that many crashes in a row."""
    return min(CRASH_BACK_OFF * 2.0 ** min(max(crashes - 1, 0), 10), CRASH_BACK_OFF_LIMIT)
