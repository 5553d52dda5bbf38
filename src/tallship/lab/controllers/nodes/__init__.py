"""What runs inside the clusters of the lab: kubelets, Pods, Cilium, both cloud controller managers.

Every part is an ordinary client of one Kubernetes API and acts on what it reads there: the Deployments, DaemonSets,
Secrets and ConfigMaps that the charts made, never on a release or its values.
"""
