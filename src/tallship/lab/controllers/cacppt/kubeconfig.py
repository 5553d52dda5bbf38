"""The kubeconfig Secret: an administrator's certificate of the cluster's own Kubernetes CA."""

from __future__ import annotations

from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import new_secret, secret_value
from tallship.lab.controllers.reconciler import Again, Outcome
from tallship.lab.kubeclient import Object
from tallship.lab.talos.config import secrets

WAIT_FOR_AUTHORITY = 20.0


async def put_kubeconfig(api: CachedApi, cluster: Object, plane: Object) -> Outcome:
    """Make NAME-kubeconfig, if there is none; wait while NAME-ca is missing."""
    meta = cluster["metadata"]
    name = f"{meta['name']}-kubeconfig"
    if api.get("Secret", name, meta["namespace"]) is not None:
        return None
    authority = api.get("Secret", f"{meta['name']}-ca", meta["namespace"])
    if authority is None:
        return Again(WAIT_FOR_AUTHORITY)
    endpoint = cluster["spec"]["controlPlaneEndpoint"]
    text = secrets.kubeconfig(
        secret_value(authority, "tls.crt"),
        secret_value(authority, "tls.key"),
        meta["name"],
        f"https://{endpoint['host']}:{endpoint['port']}",
    )
    kind = "cluster.x-k8s.io/secret"
    await api.create(new_secret(name, meta["namespace"], meta["name"], {"value": text}, plane, kind))
    return None
