"""The guide's own file tree: the documents that `up` applies, so that somebody can go on without tallship."""

from __future__ import annotations

from tallship.manifests import addons, cluster, clusterctl, health, makefile, packer, workers
from tallship.manifests.yaml_text import dump_all
from tallship.spec import Spec


def files(spec: Spec, load_balancer_ip: str = cluster.UNKNOWN_ADDRESS) -> dict[str, str]:
    """Return the text of every file by its path; the address stands as `${LOAD_BALANCER_IP}` until it is given."""
    tree = {
        "Makefile": makefile.text(spec),
        "manifests/cluster.yaml": dump_all(cluster.annotated(spec, load_balancer_ip)),
        "manifests/clusterctl.yaml": clusterctl.text(),
        "manifests/machine-health-check.yaml": dump_all(health.annotated(spec)),
        "packer/hcloud_talosimage.pkr.hcl": packer.template(spec),
    }
    if spec.workers:
        tree["manifests/workers.yaml"] = dump_all(workers.annotated(spec))
    for component in ("cilium", "hcloud-ccm", "talos-ccm"):
        tree[f"bootstrap/{component}-values.yaml"] = addons.text(component, spec)
    return tree
