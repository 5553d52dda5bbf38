"""How long the programs take: the one table, in modelled seconds, each with where it comes from."""

from __future__ import annotations

STARTUP = 0.1
"""Any of the three Go programs until it answers (kind, clusterctl, helm measured: 0.05 to 0.23 s)."""

KIND_PULL = 40.0
"""Pulling `kindest/node` for the first time: about 400 MB compressed, at 10 MB/s."""
KIND_PREPARE = 8.0
"""From `docker run` until the node's systemd and containerd are up (kind: its own progress lines, a laptop)."""
KIND_CONTROL_PLANE = 30.0
"""`kubeadm init` in the node, which ends when the API server is healthy (kind: "Starting control-plane")."""
KIND_FINISH = 7.0
"""Installing the CNI and the storage class, and writing the kubeconfig; with the two above it makes 45 s."""
KIND_DELETE = 2.0
"""`docker rm -f` of one node."""
NODE_START = 1.0
"""`docker start` of a stopped node, until the command returns."""
NODE_BOOT = 14.0
"""From `docker start` until the API server answers: etcd and the static Pods come up again."""

CLUSTERCTL_FETCH = 6.0
"""Listing the releases of four providers, and fetching components and metadata of each, from GitHub."""
CLUSTERCTL_FETCH_CERT_MANAGER = 2.0
"""Fetching cert-manager's manifest (1 MB) from GitHub."""
CLUSTERCTL_APPLY_CERT_MANAGER = 4.0
"""About 60 objects, six of them large definitions, one by one."""
CLUSTERCTL_APPLY_PROVIDER = 3.0
"""A provider's definitions, webhooks, roles and Deployment, one by one (four tiny ones measured: 2.8 s in all)."""
CLUSTERCTL_POLL = 1.0
"""clusterctl: it tries again each second whether cert-manager works."""
CLUSTERCTL_RETRIES = 30
"""How often it tries again what an API server does not serve yet: an estimate."""
CLUSTERCTL_MOVE_OBJECT = 0.05
"""Creating or deleting one object on the way (23 objects there and away measured: 2.2 s)."""
CERT_MANAGER_TIMEOUT = 600.0
"""clusterctl: how long it waits for cert-manager."""

HELM_FETCH = {"https://helm.cilium.io": 3.5, "https://charts.hetzner.cloud": 1.0, "oci://ghcr.io": 1.5}
"""An index and a chart: Cilium's index holds every release (several MB); the others are small."""
HELM_APPLY_OBJECT = 0.12
"""One object, through a load balancer some 20 ms away: helm looks first, then creates or patches."""
HELM_UNINSTALL = 2.0
"""Deleting a release's objects and its records."""
