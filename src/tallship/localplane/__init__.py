"""A Kubernetes API server of plain processes: etcd, kube-apiserver, kube-controller-manager and any further managers.

They are children of a small supervisor that outlives the command which started it (`python -m tallship.localplane`).
Everything is in one folder of mode 0700, and only loopback is listened on. Linux only.
"""
