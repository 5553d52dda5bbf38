"""The kinds of Cluster API and its providers that are looked at: API version and kind."""

from __future__ import annotations

CLUSTER = ("cluster.x-k8s.io/v1beta1", "Cluster")
MACHINE = ("cluster.x-k8s.io/v1beta1", "Machine")
MACHINE_DEPLOYMENT = ("cluster.x-k8s.io/v1beta1", "MachineDeployment")
MACHINE_SET = ("cluster.x-k8s.io/v1beta1", "MachineSet")
MACHINE_HEALTH_CHECK = ("cluster.x-k8s.io/v1beta1", "MachineHealthCheck")
HETZNER_CLUSTER = ("infrastructure.cluster.x-k8s.io/v1beta1", "HetznerCluster")
HCLOUD_MACHINE = ("infrastructure.cluster.x-k8s.io/v1beta1", "HCloudMachine")
HCLOUD_MACHINE_TEMPLATE = ("infrastructure.cluster.x-k8s.io/v1beta1", "HCloudMachineTemplate")
TALOS_CONFIG = ("bootstrap.cluster.x-k8s.io/v1alpha3", "TalosConfig")
TALOS_CONFIG_TEMPLATE = ("bootstrap.cluster.x-k8s.io/v1alpha3", "TalosConfigTemplate")
CONTROL_PLANE = ("controlplane.cluster.x-k8s.io/v1alpha3", "TalosControlPlane")
