"""The rendered Makefile: the guide's targets with kubectl, kind, clusterctl, helm and hcloud, and no tallship."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from tallship.manifests import clusterctl, firewall, image
from tallship.manifests.cluster import CONTROL_PLANE_MARK, UNKNOWN_ADDRESS
from tallship.spec import Spec
from tallship.spec.names import CCM_SECRET, HETZNER_SECRET, HETZNER_SECRET_KEY
from tallship.versions import CHARTS, NODE_IMAGES, PROGRAMS, dotted

KIND_RELEASE = "0.30"


@dataclass(frozen=True)
class Target:
    """One target: its name, what a person reads about it, and its recipe."""

    name: str
    about: str
    recipe: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"# {self.about}", f"{self.name}: {' '.join(self.needs)}".rstrip(), *self.recipe]
        return "\n\t".join(lines).replace("\n\t", "\n", 1) + "\n"


def text(spec: Spec) -> str:
    """Return the Makefile of the rendered tree."""
    targets = [_HELP, *_image(spec), *_bootstrap(spec), *_charts(spec), *_after(spec), *_firewall(spec), *_end(spec)]
    names = " ".join(target.name for target in targets)
    return "\n".join([_head(spec), f".PHONY: {names}\n", *map(str, targets)])


def _head(spec: Spec) -> str:
    addons, names = spec.addons, spec.names
    versions = ", ".join(f"{name} {dotted(program.at_least)}" for name, program in PROGRAMS.items())
    given = spec.management.kubeconfig
    management = _quoted(given) if given else "$(STATE)/$(CLUSTER)-mgmt.kubeconfig"
    context = f" --context {_quoted(spec.management.context)}" if spec.management.context else ""
    egress = spec.management.egress_cidr or f"$(shell curl -fsS {_quoted(spec.firewall.address_url)})/32"
    return f"""\
# The whole life of the cluster `{names.cluster}` without tallship. It needs kubectl, packer, hcloud, curl, and at
# least {versions}; and the token: export HCLOUD_TOKEN=...
# `make bootstrap` makes the cluster. Make the image and the firewall first: `make image firewall`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

CLUSTER := {names.cluster}
STATE ?= $(CURDIR)/.state
TALOS_VERSION ?= {spec.talos.version}
SCHEMATIC ?= {image.schematic_id(spec)}
CILIUM_VERSION ?= {addons.cilium.version}
HCLOUD_CCM_VERSION ?= {addons.hcloud_ccm.version}
TALOS_CCM_VERSION ?= {addons.talos_ccm.version}
# Published with kind {KIND_RELEASE}; Cluster API v1.10 runs on Kubernetes 1.29 to 1.33.
KIND_IMAGE ?= {NODE_IMAGES[KIND_RELEASE]}
PROVIDERS := {" ".join(clusterctl.init_arguments())}
# From where the management cluster reaches the machines' Talos API. After the pivot: make firewall EGRESS=none
EGRESS ?= {egress}

MANAGEMENT ?= {management}
WORKLOAD := $(STATE)/$(CLUSTER).kubeconfig
TALOSCONFIG := $(STATE)/$(CLUSTER).talosconfig
MGMT := kubectl --kubeconfig $(MANAGEMENT){context}
WORK := kubectl --kubeconfig $(WORKLOAD)
APPLY := $(MGMT) apply --server-side --field-manager tallship --filename
HELM := helm upgrade --install --reset-values --namespace kube-system --kubeconfig $(WORKLOAD)
CLUSTERCTL := CLUSTERCTL_DISABLE_VERSIONCHECK=true clusterctl --config manifests/clusterctl.yaml
FIELD = $(MGMT) get hetznercluster $(CLUSTER) --output jsonpath=
ADDRESS = $(FIELD)'{{.status.controlPlaneLoadBalancer.ipv4}}'
NETWORK = $(FIELD)'{{.status.networkStatus.id}}'
# Credentials are readable by nobody else.
PRIVATE := umask 077; mkdir -p $(STATE);
"""


_HELP = Target(
    "help",
    "Show every target.",
    ('@awk \'/^# /{about=substr($$0,3)} /^[a-z-]+:/{sub(":.*",""); printf "%-15s %s\\n",$$0,about}\' Makefile',),
)


def _image(spec: Spec) -> list[Target]:
    variables = "-var talos_version=$(TALOS_VERSION) -var schematic=$(SCHEMATIC)"
    about = "Build the snapshot. Another TALOS_VERSION has another name, to be written into manifests/cluster.yaml."
    if len(spec.architectures) == 1:
        return [Target("image", about, ("packer init packer", f"packer build {variables} packer"))]
    builds = (f"packer build {variables} -var architecture={each} packer" for each in spec.architectures)
    return [Target("image", about, ("packer init packer", *builds))]


def _steps(spec: Spec) -> tuple[str, ...]:
    """Return the targets that make the cluster once there is a management cluster, in order."""
    workers = ("workers",) if spec.workers else ()
    charts = ("cilium", "hcloud-ccm", "talos-ccm")
    before = ("capi-init", "secret", "apply", "wait-cp")
    return (*before, *workers, "kubeconfig", "talosconfig", *charts, "wait-nodes", "health-checks")


def _quoted(text: str) -> str:
    """Return text as one word for a shell in a recipe."""
    home, rest = ("$(HOME)", text[1:]) if text.startswith("~/") else ("", text)
    return home + shlex.quote(rest).replace("$", "$$")


def _kind(spec: Spec) -> list[Target]:
    """Return how a management cluster is made; nothing where the cluster file names one."""
    if spec.management.mode == "kubeconfig":
        return []
    name = spec.names.kind_cluster
    create = f"  kind create cluster --name {name} --image $(KIND_IMAGE) --kubeconfig $(MANAGEMENT) --wait 5m"
    recipe = (f"$(PRIVATE) kind get clusters | grep -qx {name} || \\", create)
    return [Target("kind-create", "A management cluster on this machine.", recipe)]


def _source(spec: Spec) -> str:
    context = spec.management.context
    return "--kubeconfig $(MANAGEMENT)" + (f" --kubeconfig-context {_quoted(context)}" if context else "")


def _bootstrap(spec: Spec) -> list[Target]:
    mark = CONTROL_PLANE_MARK.split(":")[0]
    unknown = UNKNOWN_ADDRESS.replace("$", "[$$]")
    return [
        Target("bootstrap", "Make the cluster.", needs=(*(each.name for each in _kind(spec)), *_steps(spec))),
        *_kind(spec),
        Target(
            "capi-init",
            "Cluster API and its providers.",
            (f"$(CLUSTERCTL) init $(PROVIDERS) {_source(spec)} --wait-providers",),
        ),
        Target("secret", "The token, for Cluster API.", _secret()),
        Target(
            "apply",
            "What stands before the servers; then, when the load balancer has an address, the control plane.",
            (
                'if [ -z "$$($(ADDRESS) 2>/dev/null)" ]; then \\',
                f"  sed -e '/^# {mark}:/,$$d' -e 's|{unknown}||' manifests/cluster.yaml | $(APPLY) -; \\",
                "  $(MGMT) wait hetznercluster/$(CLUSTER) --for jsonpath='{.status.ready}'=true --timeout 5m; \\",
                "fi",
                f'sed "s|{unknown}|$$($(ADDRESS))|" manifests/cluster.yaml | $(APPLY) -',
            ),
        ),
        Target(
            "wait-cp",
            "Until the API answers. The control plane is ready only later, with the pods' network.",
            (
                f"$(MGMT) wait taloscontrolplane/{spec.names.control_plane} \\",
                "  --for jsonpath='{.status.initialized}'=true --timeout 25m",
            ),
        ),
        *_workers(spec),
    ]


def _workers(spec: Spec) -> list[Target]:
    """Return how the pools are made; nothing where there are none."""
    about = "The pools of workers. A pool that is taken out of the file is deleted by hand."
    return [Target("workers", about, ("$(APPLY) manifests/workers.yaml",))] if spec.workers else []


def _secret() -> tuple[str, ...]:
    # The token goes through a pipe: arguments can be read by everyone on the machine.
    source = f"--from-file={HETZNER_SECRET_KEY}=/dev/stdin"
    return (
        "printf '%s' \"$${HCLOUD_TOKEN:?is not set}\" | \\",
        f"  $(MGMT) create secret generic {HETZNER_SECRET} {source} --dry-run=client --output yaml | $(APPLY) -",
        f"$(MGMT) label --overwrite secret {HETZNER_SECRET} clusterctl.cluster.x-k8s.io/move=",
    )


def _charts(spec: Spec) -> list[Target]:
    names = spec.names
    return [
        Target(
            "kubeconfig",
            "Write the administrator's kubeconfig.",
            (
                f"$(PRIVATE) $(MGMT) get secret {names.kubeconfig_secret} \\",
                "  --output jsonpath='{.data.value}' | base64 --decode > $(WORKLOAD)",
            ),
        ),
        Target(
            "talosconfig",
            "Write the talosconfig, with the load balancer as endpoint: the machines' own may be out of reach.",
            (
                f"$(PRIVATE) $(MGMT) get secret {names.talosconfig_secret} \\",
                "  --output jsonpath='{.data.talosconfig}' | base64 --decode > $(TALOSCONFIG)",
                "if command -v talosctl > /dev/null; then \\",
                '  talosctl --talosconfig $(TALOSCONFIG) config endpoint "$$($(ADDRESS))"; fi',
            ),
        ),
        Target("cilium", "The network.", (_helm("cilium"),)),
        Target(
            "hcloud-ccm",
            "The Hetzner cloud controller manager and its Secret.",
            (
                'network="$$($(NETWORK))"; \\',
                "printf '%s' \"$${HCLOUD_TOKEN:?is not set}\" | \\",
                f"  $(WORK) create secret generic {CCM_SECRET} --namespace kube-system --from-file=token=/dev/stdin \\",
                '  --from-literal=network="$$network" --dry-run=client --output yaml | $(WORK) apply --filename -',
                _helm("hcloud-ccm"),
            ),
        ),
        Target("talos-ccm", "It approves the kubelets' serving certificates.", (_helm("talos-ccm"),)),
    ]


def _helm(component: str) -> str:
    chart = CHARTS[component]
    repository = f" --repo {chart.repository}" if chart.repository else ""
    version = f"$({component.upper().replace('-', '_')}_VERSION)"
    values = f"bootstrap/{component}-values.yaml"
    return f"$(HELM) {chart.release} {chart.reference}{repository} --version {version} --values {values}"


def _after(spec: Spec) -> list[Target]:
    nodes = spec.control_plane.replicas + sum(pool.replicas for pool in spec.workers)
    count = f'[ "$$($(WORK) get nodes --output name | wc -l)" -ge {nodes} ]'
    check = "manifests/machine-health-check.yaml"
    return [
        Target(
            "wait-nodes",
            "Until every node is ready.",
            (
                f"for try in $$(seq 90); do if {count}; then break; fi; sleep 10; done",
                "$(WORK) wait nodes --all --for condition=Ready --timeout 15m",
            ),
        ),
        Target(
            "health-checks",
            "Reboot servers whose node stays not ready. Last: servers that wait for their network would reboot too.",
            (f"if [ -s {check} ]; then $(APPLY) {check}; fi",),
        ),
    ]


def _firewall(spec: Spec) -> list[Target]:
    name, selector = spec.names.firewall, firewall.selector(spec)
    labels = " ".join(f"--label {key}={value}" for key, value in firewall.labels(spec).items())
    own = [json.dumps(rule, separators=(",", ":")) for rule in firewall.rules(spec)]
    template = firewall.rules(spec, ["192.0.2.0/32"])[-1]
    egress = json.dumps(template, separators=(",", ":")).replace("192.0.2.0/32", "$(EGRESS)")
    return [
        Target(
            "firewall",
            "Rules for the servers' public addresses. Before `bootstrap`: no server is ever open.",
            (
                f"hcloud firewall describe {name} > /dev/null 2>&1 || hcloud firewall create --name {name} {labels}",
                f"rules='{','.join(own)}'; \\",
                f"if [ '$(EGRESS)' != none ]; then rules+=\"$${{rules:+,}}\"'{egress}'; fi; \\",
                f'hcloud firewall replace-rules {name} --rules-file - <<< "[$$rules]"',
            ),
        ),
        Target(
            "firewall-apply",
            "Put the firewall on every server of the cluster, also on those that come later.",
            (
                f"hcloud firewall describe {name} --output json | grep -q '{selector}' || \\",
                f"  hcloud firewall apply-to-resource {name} --type label_selector --label-selector {selector}",
            ),
        ),
    ]


def _end(spec: Spec) -> list[Target]:
    kind = spec.names.kind_cluster
    pivot = (
        "$(CLUSTERCTL) init $(PROVIDERS) --kubeconfig $(WORKLOAD) --wait-providers",
        f"$(CLUSTERCTL) move {_source(spec)} --to-kubeconfig $(WORKLOAD)",
    )
    clean = (
        "$(WORK) get clusters.cluster.x-k8s.io $(CLUSTER)",
        f"kind delete cluster --name {kind} --kubeconfig $(MANAGEMENT)",
    )
    about = "Delete the management cluster, once the cluster itself holds what it held."
    return [
        Target("pivot", "Move Cluster API into the cluster itself.", pivot),
        *([Target("clean", about, clean)] if _kind(spec) else []),
        Target(
            "status",
            "Machines and nodes.",
            (
                "-$(MGMT) get clusters,machines,hcloudmachines --output wide",
                "-$(WORK) get nodes --output wide",
            ),
        ),
    ]
