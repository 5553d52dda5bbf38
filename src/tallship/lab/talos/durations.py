"""How long a Talos machine takes: the one table, in modelled seconds, each with where it comes from."""

from __future__ import annotations

API_UP = 30.0
"""From power on to the Talos API: kernel, network, platform metadata (the Talos machines of the recorded runs)."""

REBOOT = 8.0
"""From the Reboot call to the new boot's power on: services and Pods are stopped."""

SHUTDOWN = 5.0
"""From the Shutdown call to the loss of power."""

ETCD_START = 5.0
"""From Bootstrap, or from a boot with etcd data, until etcd runs."""

ETCD_RESTORE = 10.0
"""From Bootstrap with a snapshot until its objects are in etcd's folder: an estimate for some megabytes."""

ETCD_LEAVE_LIMIT = 300.0
"""Talos v1.12: a machine that is reset gracefully tries for so long to leave an etcd that does not let it go."""

WIPE = 10.0
"""How long a reset overwrites partitions, after services and Pods were stopped."""

ETCD_FIRST_CHECK = 5.0
"""Talos v1.12: etcd's health is checked for the first time so long after its start; unknown until then."""

ETCD_JOIN_RETRY = 3.0
"""Talos v1.12: the wait between two tries to become a member."""

ETCD_JOIN_LIMIT = 1800.0
"""Talos v1.12: after half an hour without a cluster to join, the service etcd has failed."""

ETCD_LEARNING = 10.0
"""From joining as a learner to the promotion: a small database is copied at once, promotion is tried in a while."""

API_SERVER_FIRST = 45.0
"""From etcd running to the machine's API server: images are pulled, static Pods start (as recorded)."""

API_SERVER_AGAIN = 20.0
"""The same after a reboot: the images are there."""

SHARED_PULL = 8.0
"""How much later the API server is where an image pulled by request shared the way with its images (75 MB, 10 MB/s)."""

KUBELET_REGISTERS = 10.0
"""From the machine's API server to the Node (as recorded)."""

WORKER_KUBELET = 25.0
"""From a worker's Talos API to its kubelet: the image is pulled."""

TRUST_RETRY = 5.0
"""From one try of a worker to get its certificate from a control plane to the next."""

CORDON_LIMIT = 60.0
"""Talos v1.12: a node that does not show as cordoned after a minute ends its upgrade, and boots what it had."""

DRAIN_LIMIT = 300.0
"""Talos v1.12: the time for a drain, after which the upgrade goes on with what is left."""

EVICTION = 10.0
"""How long the evicted Pods of a node take to stop; their grace period is 60 s."""

STOP_SERVICES = 5.0
"""From the end of the drain until services are stopped and volumes unmounted."""

INSTALL = 20.0
"""How long an installer writes the boot loader and the new system (10 to 30 s)."""

ETCD_CHECK = 1.0
"""How long all members' quorum reads before an upgrade take; the cluster's lock is held meanwhile."""

FAILURE_PAUSE = 10.0
"""Talos v1.12: machined counts down from a sequence's failure to the reboot."""
