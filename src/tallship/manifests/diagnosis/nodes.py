"""Rules about the nodes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from tallship.manifests import conditions
from tallship.manifests.diagnosis.finding import Finding, Rule
from tallship.manifests.picture import Document, Picture

CNI_WORDS = ("cni plugin not initialized", "NetworkPluginNotReady", "network is not ready")
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
CSR_SECONDS = 600.0
"""A signing request that nobody has decided for so long has nobody who decides."""


def network(picture: Picture) -> Iterator[Finding]:
    """A node without a network is not ready."""
    without = [each for each in picture.nodes if not conditions.node_ready(each) and _says(each, CNI_WORDS)]
    if not without:
        return
    is_installed = any(each["metadata"]["name"] == "cilium" for each in picture.workload.get("DaemonSet", ()))
    cause = "Cilium's pods do not run" if is_installed else "no network is installed: nodes are NotReady without one"
    yield Finding(
        "no-cni",
        "error",
        f"{len(without)} nodes are not ready",
        cause,
        "`tallship logs cilium` says more" if is_installed else "`tallship up --only cilium` installs it",
        tuple(line for each in without for line in conditions.why_node_waits(each)),
    )


def uninitialized(picture: Picture) -> Iterator[Finding]:
    """A node that the cloud controller has not matched keeps a taint and has no provider ID."""
    tainted = [each for each in picture.nodes if conditions.node_uninitialized(each)]
    if tainted:
        deployments = picture.workload.get("Deployment", ())
        ccm = next((each for each in deployments if "hcloud-cloud-controller" in each["metadata"]["name"]), None)
        cause = "the Hetzner CCM is not installed"
        if ccm is not None:
            available = conditions.deployment_available(ccm)
            cause = "the Hetzner CCM does not find their servers" if available else "the Hetzner CCM does not run"
        advice = "`tallship up --only hcloud-ccm`" if ccm is None else "`tallship logs hcloud-ccm` says why"
        names = tuple(conditions.name(each) for each in tainted)
        what = f"{len(tainted)} nodes keep the taint {conditions.UNINITIALIZED_TAINT}"
        yield Finding("uninitialized", "error", what, cause, advice, names)
    without = [
        each
        for each in picture.nodes
        if not conditions.node_uninitialized(each) and not each.get("spec", {}).get("providerID")
    ]
    if without:
        yield Finding(
            "no-provider-id",
            "error",
            f"{len(without)} nodes have no provider ID",
            "something other than the Hetzner CCM took the taint away: Cluster API never matches these nodes",
            "Talos CCM must run with `node-csr-approval` alone; delete the Node, kubelet registers it anew",
            tuple(conditions.name(each) for each in without),
        )


def not_ready(picture: Picture) -> Iterator[Finding]:
    """A node that is not ready for another reason."""
    for each in picture.nodes:
        if conditions.node_ready(each) or _says(each, CNI_WORDS):
            continue
        address = conditions.internal_ip(each)
        services = picture.services.get(address)
        sick: tuple[str, ...] = ()
        if isinstance(services, Exception):
            sick = (f"Talos: {services}",)
        elif services is not None:
            sick = tuple(f"Talos' service {one.id} is {one.state}" for one in services if one.state not in _WELL)
        stage = (f"Talos: {picture.stages[address]}",) if address in picture.stages else ()
        yield Finding(
            "node-not-ready",
            "error",
            f"node {conditions.name(each)} is not ready",
            "its kubelet does not answer, or says that something is missing",
            "the evidence says what; `talosctl dmesg` and the server's console say more",
            (*conditions.why_node_waits(each), *stage, *sick),
        )


def cordoned(picture: Picture) -> Iterator[Finding]:
    """A node on which nothing new is scheduled."""
    for each in picture.nodes:
        if each.get("spec", {}).get("unschedulable"):
            marked = "talos.dev/cordoned" in (each["metadata"].get("annotations") or {})
            yield Finding(
                "cordoned",
                "warning",
                f"nothing is scheduled on node {conditions.name(each)}",
                "Talos has cordoned it while it is upgraded or reset" if marked else "somebody cordoned it",
                "Talos uncordons it at its next boot" if marked else f"`kubectl uncordon {conditions.name(each)}`",
            )


def requests(picture: Picture) -> Iterator[Finding]:
    """Without a serving certificate a kubelet gives no logs and no metrics."""
    for each in picture.workload.get("CertificateSigningRequest", ()):
        spec, status = each["spec"], each.get("status") or {}
        if spec.get("signerName") != KUBELET_SERVING:
            continue
        who = str(spec.get("username", "")).removeprefix("system:node:")
        decided = {one["type"]: one for one in status.get("conditions") or ()}
        if "Denied" in decided:
            by_caph = "cluster-api-provider-hetzner" in str(decided["Denied"].get("message", ""))
            yield Finding(
                "csr-denied",
                "error",
                f"the kubelet of {who} has no serving certificate",
                "CAPH's approver denied it: names or addresses are not those of the server" if by_caph else "denied",
                "the node's name must be its server's, and its addresses those that Hetzner knows; "
                "a reboot of the node makes kubelet ask again",
                (f"{conditions.name(each)}: {decided['Denied'].get('message', '')}",),
            )
        elif not decided and _age(each, picture.today) > CSR_SECONDS:
            yield Finding(
                "csr-pending",
                "warning",
                f"the kubelet of {who} waits for its serving certificate",
                "nobody decides its signing request: Talos CCM does not run, and CAPH knows no server of that name",
                "`tallship up --only talos-ccm`; `tallship logs talos-ccm`",
                (conditions.name(each),),
            )


_WELL = ("Running", "Finished", "Skipped")


def _says(node: Document, words: tuple[str, ...]) -> bool:
    ready = conditions.find_condition(node, "Ready") or {}
    return any(word in f"{ready.get('reason', '')} {ready.get('message', '')}" for word in words)


def _age(item: Document, today: datetime) -> float:
    return (today - datetime.fromisoformat(str(item["metadata"]["creationTimestamp"]))).total_seconds()


RULES: tuple[Rule, ...] = (network, uninitialized, not_ready, cordoned, requests)
