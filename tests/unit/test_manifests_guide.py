"""Each row of the guide's tables is in the documents of the default cluster."""

from __future__ import annotations

from functools import reduce
from typing import Any

import hcl2
import pytest
import yaml

from tallship.manifests import addons, cluster, clusterctl, firewall, image, packer, talos
from tallship.spec import Spec, parse_spec
from tallship.versions import CHARTS, PROVIDERS

ADDRESS = "203.0.113.10"


PACKER_HCLOUD = {
    "rescue", "image", "location", "server_type", "ssh_username", "snapshot_name", "snapshot_labels",
}  # fmt: skip
"""Settings of the Packer plugin `hetznercloud/hcloud` v1.6 that the template may use."""


def guide(text: str = "name: k8s") -> Spec:
    spec = parse_spec(text).spec
    assert spec is not None
    return spec


def merged_patches(spec: Spec) -> dict[str, Any]:
    patches = [yaml.safe_load(patch) for patch in talos.patches(spec, ADDRESS)]
    return reduce(addons.merged, patches, {})


HETZNER = cluster.hetzner_cluster(guide())["spec"]
MACHINE = cluster.machine_template(guide())["spec"]["template"]["spec"]
PLANE = cluster.control_plane(guide(), ADDRESS)["spec"]
CLUSTER = cluster.cluster(guide())
TALOS = merged_patches(guide())["machine"]
KUBERNETES = merged_patches(guide())["cluster"]
CILIUM = addons.values("cilium", guide())
LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"


@pytest.mark.parametrize(
    ("row", "found", "wanted"),
    [
        # Version matrix
        ("Cluster API core", clusterctl.init_arguments()[1], "cluster-api:v1.10.10"),
        ("CAPH", clusterctl.init_arguments()[3], "hetzner:v1.0.7"),
        ("CABPT", clusterctl.init_arguments()[5], "talos:v0.6.11"),
        ("CACPPT", clusterctl.init_arguments()[7], "talos:v0.5.12"),
        ("Talos Linux", PLANE["controlPlaneConfig"]["controlplane"]["talosVersion"], "v1.12.2"),
        ("Kubernetes", PLANE["version"], "v1.32.2"),
        ("Cilium", addons.addon("cilium", guide()).version, "1.18.6"),
        ("Hetzner CCM", addons.addon("hcloud-ccm", guide()).version, "1.29.2"),
        ("Talos CCM", addons.addon("talos-ccm", guide()).version, "0.5.4"),
        # Cluster configuration
        ("Cluster name", CLUSTER["metadata"]["name"], "k8s"),
        ("Location", HETZNER["controlPlaneRegions"], ["nbg1"]),
        ("Location of the load balancer", HETZNER["controlPlaneLoadBalancer"]["region"], "nbg1"),
        ("Server type", MACHINE["type"], "cx33"),
        ("Control plane replicas", PLANE["replicas"], 3),
        ("Worker nodes", KUBERNETES["allowSchedulingOnControlPlanes"], True),
        ("Network CIDR", HETZNER["hcloudNetwork"]["cidrBlock"], "10.10.0.0/16"),
        ("CP subnet", HETZNER["hcloudNetwork"]["subnetCidrBlock"], "10.10.64.0/25"),
        ("Pod CIDR", CLUSTER["spec"]["clusterNetwork"]["pods"]["cidrBlocks"], ["10.10.128.0/17"]),
        ("Service CIDR", CLUSTER["spec"]["clusterNetwork"]["services"]["cidrBlocks"], ["10.10.96.0/20"]),
        ("CNI: kubeProxyReplacement", CILIUM["kubeProxyReplacement"], True),
        ("CNI: Hubble", CILIUM["hubble"]["enabled"], True),
        ("Kube-proxy", KUBERNETES["proxy"], {"disabled": True}),
        ("Cloud provider", KUBERNETES["externalCloudProvider"], {"enabled": True}),
        ("Placement group", HETZNER["hcloudPlacementGroups"], [{"name": "control-plane", "type": "spread"}]),
        ("Placement group of the servers", MACHINE["placementGroupName"], "control-plane"),
        ("Load balancer", HETZNER["controlPlaneLoadBalancer"]["type"], "lb11"),
        ("Load balancer: port 6443", HETZNER["controlPlaneEndpoint"]["port"], 6443),
        (
            "Load balancer: port 50000",
            HETZNER["controlPlaneLoadBalancer"]["extraServices"],
            [{"protocol": "tcp", "listenPort": 50000, "destinationPort": 50000}],
        ),
        # Strategic patches
        ("cloud-provider=external", TALOS["kubelet"]["extraArgs"]["cloud-provider"], "external"),
        ("rotate-server-certificates", TALOS["kubelet"]["extraArgs"]["rotate-server-certificates"], "true"),
        ("nodeIP", TALOS["kubelet"]["nodeIP"], {"validSubnets": ["10.10.64.0/25"]}),
        ("Host DNS", TALOS["features"]["hostDNS"], {"enabled": True, "resolveMemberNames": True}),
        (
            "Kubernetes Talos API access",
            TALOS["features"]["kubernetesTalosAPIAccess"],
            {"enabled": True, "allowedRoles": ["os:reader"], "allowedKubernetesNamespaces": ["kube-system"]},
        ),
        ("Pod subnets", KUBERNETES["network"]["podSubnets"], ["10.10.128.0/17"]),
        ("Service subnets", KUBERNETES["network"]["serviceSubnets"], ["10.10.96.0/20"]),
        ("CNI: none", KUBERNETES["network"]["cni"], {"name": "none"}),
        ("etcd on the CP subnet", KUBERNETES["etcd"], {"advertisedSubnets": ["10.10.64.0/25"]}),
        ("Remove the exclude label", TALOS["nodeLabels"], {LABEL: {"$patch": "delete"}}),
        # CAPH limitations
        ("SSH keys", HETZNER["sshKeys"], {"hcloud": []}),
        # Image
        ("Snapshot name", MACHINE["imageName"], "talos-amd64-v1.12.2"),
        ("Snapshot label", image.labels(guide())["os"], "talos"),
        ("Installer's schematic", image.schematic_id(guide())[:16], "ce4c980550dd2ab1"),
        # What the guide needs to work
        ("image found by label", image.labels(guide())["caph-image-name"], "talos-amd64-v1.12.2"),
        ("endpoint always there", HETZNER["controlPlaneEndpoint"], {"host": "", "port": 6443}),
        ("key named", HETZNER["hetznerSecretRef"], {"name": "hetzner", "key": {"hcloudToken": "hcloud"}}),
        ("publicNetwork always set", MACHINE["publicNetwork"], {"enableIPv4": True, "enableIPv6": False}),
        ("hostname", PLANE["controlPlaneConfig"]["controlplane"]["hostname"], {"source": "InfrastructureName"}),
        ("certSANs", TALOS["certSANs"], [ADDRESS]),
        ("Talos CCM: CSR approval only", addons.talos_ccm(guide()), {"enabledControllers": ["node-csr-approval"]}),
        ("clusterName of charts", {chart.namespace for chart in CHARTS.values()}, {"kube-system"}),
        (
            "namespaces",
            [each.namespace for each in PROVIDERS],
            ["capi-system", "caph-system", "cabpt-system", "cacppt-system"],
        ),
    ],
)
def test_row_of_the_guide(row: str, found: Any, wanted: Any) -> None:
    assert found == wanted, row


def test_oidc_is_off_unless_given() -> None:
    assert "apiServer" not in KUBERNETES
    issuer = "https://auth.cluster.example.com"
    spec = guide(f"name: k8s\noidc: {{issuer: '{issuer}', client_id: k, groups_claim: groups}}")
    arguments = merged_patches(spec)["cluster"]["apiServer"]["extraArgs"]
    assert arguments == {"oidc-issuer-url": issuer, "oidc-client-id": "k", "oidc-groups-claim": "groups"}


def test_no_patch_is_empty_or_a_json_patch_and_none_names_a_link() -> None:
    for patch in talos.patches(guide(), ADDRESS):
        assert isinstance(yaml.safe_load(patch), dict)
    assert "network" not in TALOS
    assert "eth0" not in "".join(talos.patches(guide(), ADDRESS))


def test_machines_have_no_more_than_one_deletion_and_it_is_of_a_label_talos_generates() -> None:
    assert "".join(talos.patches(guide(), ADDRESS)).count("$patch") == 1


def test_a_users_patch_comes_last() -> None:
    spec = guide("name: k8s\ntalos: {patches: [{machine: {sysctls: {a: b}}}]}")
    assert yaml.safe_load(talos.patches(spec, ADDRESS)[-1]) == {"machine": {"sysctls": {"a": "b"}}}


def test_template_has_another_name_exactly_when_its_content_differs() -> None:
    same = guide("name: k8s\ncontrol_plane: {replicas: 5}\nkubernetes: {version: v1.32.4}")
    other = guide("name: k8s\ncontrol_plane: {server_type: cx43}")
    assert cluster.template_name(same) == cluster.template_name(guide()) == "k8s-control-plane-a251ea42"
    assert cluster.template_name(other) != cluster.template_name(guide())


def test_firewall_admits_private_networks_and_the_management_cluster_alone() -> None:
    rules = firewall.rules(guide(), ["198.51.100.4/32"])
    private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
    assert [(rule.get("port", "icmp"), rule["source_ips"]) for rule in rules] == [
        ("6443", private),
        ("50000", private),
        ("icmp", ["0.0.0.0/0", "::/0"]),
        ("50000", ["198.51.100.4/32"]),
    ]
    assert firewall.rules(guide()) == rules[:3]
    assert firewall.selector(guide()) == "caph-cluster-k8s=owned"


def test_rules_are_equal_in_any_order_and_differ_in_any_network() -> None:
    rules = firewall.rules(guide(), ["198.51.100.4/32"])
    shuffled = [{**rule, "source_ips": rule["source_ips"][::-1], "destination_ips": []} for rule in rules[::-1]]
    assert firewall.normal(rules) == firewall.normal(shuffled)
    assert firewall.normal(rules) != firewall.normal(firewall.rules(guide(), ["198.51.100.5/32"]))


def test_schematics_have_the_ids_the_factory_gives_them() -> None:
    assert image.schematic(guide("name: k8s\nimage: {extensions: []}")) == "customization: {}\n"
    bare = guide("name: k8s\nimage: {extensions: []}")
    assert image.schematic_id(bare) == "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"
    assert image.schematic_id(guide()) == image.GUIDE_SCHEMATIC
    assert image.name(bare) == "talos-amd64-v1.12.2-37656798"
    assert image.name(guide("name: k8s\nimage: {name: own}")) == "own"


def test_packer_builds_on_a_type_that_exists_and_sets_the_label_caph_looks_for() -> None:
    text = packer.template(guide())
    assert 'builders = { amd64 = "cx23", arm64 = "cax11" }' in text
    assert "cx22" not in text
    assert "caph-image-name = local.name" in text
    assert 'name = "talos-${var.architecture}-${var.talos_version}${local.suffix}"' in text
    assert "--retry" not in text.replace("No --retry", "")
    assert text.count("{") == text.count("}")
    assert "@" not in text


@pytest.mark.parametrize(
    "text", ["name: k8s\n", "name: k8s\nimage: {name: own, extensions: [], kernel_args: [quiet]}\n"]
)
def test_packer_reads_its_template_and_its_plugin_knows_every_setting(text: str) -> None:
    spec = guide(text)
    read = hcl2.loads(packer.template(spec))
    source = read["source"][0]['"hcloud"']['"talos"']
    named = {key for key in source if not key.startswith("__")}
    assert named <= PACKER_HCLOUD
    assert set(source["snapshot_labels"]) <= set(image.labels(spec))
    assert read["build"][0]["sources"] == ['"source.hcloud.talos"']
    assert read["packer"][0]["required_plugins"][0]["hcloud"]["source"] == '"github.com/hetznercloud/hcloud"'


def test_a_users_chart_values_win_over_ours() -> None:
    spec = guide("name: k8s\naddons: {cilium: {values: {hubble: {ui: {enabled: true}}, MTU: 1400}}}")
    values = addons.values("cilium", spec)
    assert values["MTU"] == 1400
    assert values["hubble"] == {"enabled": True, "relay": {"enabled": True}, "ui": {"enabled": True}}
