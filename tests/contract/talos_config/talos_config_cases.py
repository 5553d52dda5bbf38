"""Machine configurations and patches on which Talos' own library and the lab must agree."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
RENDERED = {
    "guide": ROOT / "examples/k8s/manifests/cluster.yaml",
    "every-option": ROOT / "tests/golden/every-option/manifests/cluster.yaml",
}
WORKERS = ROOT / "tests/golden/every-option/manifests/workers.yaml"
RULE = """\
apiVersion: v1alpha1
kind: NetworkRuleConfig
name: api
portSelector:
  ports: [6443, 10250-10260]
  protocol: tcp
ingress:
  - subnet: 10.0.0.0/8
"""
INTERFACES = """\
machine:
  network:
    interfaces:
      - interface: eth1
        addresses: [10.0.0.2/24]
        mtu: 1450
        vlans:
          - vlanId: 7
            addresses: [10.7.0.2/24]
      - deviceSelector: {driver: virtio}
        routes: [{network: 10.9.0.0/16, gateway: 10.9.0.1}]
"""
LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"


@dataclass(frozen=True)
class Case:
    """What is generated, or stands in `config`, and what it is patched with."""

    patches: list[str] = field(default_factory=list)
    talos_version: str = "v1.12.2"
    kind: str = "controlplane"
    endpoint: str = "https://203.0.113.10:6443"
    config: str = ""


def rendered_patches(path: Path) -> list[str]:
    """Return the patches in a rendered TalosControlPlane."""
    documents = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    plane: dict[str, Any] = next(each for each in documents if each and each["kind"] == "TalosControlPlane")
    found: list[str] = plane["spec"]["controlPlaneConfig"]["controlplane"]["strategicPatches"]
    return found


def _rendered() -> dict[str, Case]:
    """Return the patches of each rendered cluster together, and each by itself."""
    cases = {}
    for name, path in RENDERED.items():
        patches = rendered_patches(path)
        cases[f"rendered: {name}"] = Case(patches)
        cases |= {f"rendered: {name}, patch {number}": Case([each]) for number, each in enumerate(patches)}
    return cases | {"rendered: workers of every option": Case(worker_patches(WORKERS), kind="worker")}


def worker_patches(path: Path) -> list[str]:
    """Return the patches in the first TalosConfigTemplate of rendered pools."""
    documents = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    template: dict[str, Any] = next(each for each in documents if each["kind"] == "TalosConfigTemplate")
    found: list[str] = template["spec"]["template"]["spec"]["strategicPatches"]
    return found


GENERATED = {
    "generated": Case(),
    "generated: worker": Case(kind="worker"),
    "generated: init": Case(kind="init"),
    "generated: endpoint by name": Case(endpoint="https://api.example.com:6443"),
    "generated: short contract": Case(talos_version="1.12"),
    "generated: contract 1.13": Case(talos_version="v1.13.0"),
    "generated: contract 1.11": Case(talos_version="v1.11.5"),
    "generated: contract 1.11, worker": Case(talos_version="v1.11.5", kind="worker"),
    "generated: contract 1.10": Case(talos_version="v1.10.0"),
}
MERGED = {
    "false overrides": Case(
        ["cluster: {discovery: {enabled: false}}", "machine: {features: {kubePrism: {enabled: false}}}"]
    ),
    "an empty string changes nothing": Case(["machine: {install: {image: ''}}", "cluster: {clusterName: ''}"]),
    "zero changes nothing": Case([INTERFACES, "machine: {network: {interfaces: [{interface: eth1, mtu: 0}]}}"]),
    "zero overrides behind a pointer": Case(
        [
            "cluster: {apiServer: {resources: {requests: {cpu: 1}}}}",
            "machine: {kubelet: {nodeIP: {validSubnets: []}}}",
        ]
    ),
    "null changes nothing": Case(["machine: {kubelet: null, features: {kubePrism: null}}"]),
    "an empty section changes nothing": Case(["machine: {kubelet: {}, features: {}}", "cluster: {network: {}}"]),
    "an empty section that was not there": Case(["machine: {time: {}}", "cluster: {coreDNS: {}}"]),
    "lists grow": Case(
        [
            "machine: {certSANs: [a.example.com]}",
            "machine: {certSANs: [a.example.com, b.example.com]}",
            "cluster: {extraManifests: [https://a.example.com/x]}",
            "cluster: {extraManifests: [https://b.example.com/x]}",
        ]
    ),
    "an empty list changes nothing": Case(["machine: {certSANs: [a]}", "machine: {certSANs: []}"]),
    "maps are merged": Case(
        [
            "machine: {sysctls: {a: '1', b: '2'}, nodeLabels: {x: y}}",
            "machine: {sysctls: {b: '3', c: '4'}, nodeLabels: {x: ''}}",
        ]
    ),
    "a value of a map that is emptied stays": Case(["machine: {nodeLabels: {x: y}}", "machine: {nodeLabels: {x: ''}}"]),
    "subnets are replaced": Case(
        ["cluster: {network: {podSubnets: [10.1.0.0/16], serviceSubnets: [10.2.0.0/16, fd00::/108]}}"]
    ),
    "no subnets change nothing": Case(["cluster: {network: {podSubnets: [], serviceSubnets: null}}"]),
    "the audit policy is replaced": Case(
        ["cluster: {apiServer: {auditPolicy: {apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None}]}}}"]
    ),
    "the audit policy without its kind": Case(["cluster: {apiServer: {auditPolicy: {rules: [{level: None}]}}}"]),
    "admission plugins are merged by name": Case(
        [
            "cluster: {apiServer: {admissionControl: [{name: PodSecurity, configuration: "
            "{defaults: {enforce: privileged}, exemptions: {namespaces: [ceph]}}}]}}",
            "cluster: {apiServer: {admissionControl: [{name: Other, configuration: {a: b}}]}}",
        ]
    ),
    "numbers of two kinds in free-form configuration": Case(
        [
            "cluster: {apiServer: {admissionControl: [{name: Other, configuration: {a: text}}]}}",
            "cluster: {apiServer: {admissionControl: [{name: Other, configuration: {a: 5}}]}}",
        ]
    ),
    "interfaces are merged by name": Case(
        [
            INTERFACES,
            "machine: {network: {interfaces: [{interface: eth1, addresses: [10.0.0.3/24], dhcp: false}]}}",
            "machine: {network: {interfaces: [{interface: eth2, dhcp: true}]}}",
        ]
    ),
    "interfaces are merged by selector": Case(
        [
            INTERFACES,
            "machine: {network: {interfaces: [{deviceSelector: {driver: virtio}, mtu: 1400}]}}",
            "machine: {network: {interfaces: [{deviceSelector: {driver: other}, mtu: 1300}]}}",
        ]
    ),
    "vlans are merged by id": Case(
        [
            INTERFACES,
            "machine: {network: {interfaces: [{interface: eth1, vlans: [{vlanId: 7, mtu: 1400}, {vlanId: 8}]}]}}",
        ]
    ),
    "words that YAML 1.1 takes for something else": Case(
        [
            "machine: {sysctls: {a: yes, b: 0x10, c: 1_000, d: 2026-01-02, e: 1:30, f: ~, g: .5}}",
            "machine: {kubelet: {extraConfig: {a: yes, b: 0o10, d: 1:30, e: null, f: 1.5, g: on}}}",
        ]
    ),
    "anchors": Case(["machine: {sysctls: &a {x: '1'}, sysfs: *a}"]),
    "null in a list": Case(["machine: {certSANs: [null, a]}"]),
    "a whole number with a point": Case(["cluster: {controlPlane: {localAPIServerPort: 443.0}}"]),
    "an authority's key is kept": Case(["machine: {ca: {crt: QQ==}}"]),
    "a list of sections": Case(
        [
            "cluster: {inlineManifests: [{name: a, contents: b}]}",
            "cluster: {inlineManifests: [{name: c, contents: d}]}",
            "machine: {logging: {destinations: [{endpoint: 'udp://127.0.0.1:12345', format: json_lines}]}}",
        ]
    ),
    "time": Case(["machine: {time: {servers: [a], bootTimeout: 2m0s}}", "machine: {time: {disabled: false}}"]),
    "the order of patches counts": Case(["machine: {type: worker}", "machine: {type: controlplane}"]),
    "kubelet arguments": Case(
        [
            "machine: {kubelet: {extraArgs: {v: '2', cloud-provider: external}}}",
            "machine: {kubelet: {extraArgs: {v: '4'}, extraConfig: {serverTLSBootstrap: true, maxPods: 200}}}",
            "machine: {kubelet: {extraConfig: {maxPods: 250, imageGCHighThresholdPercent: 80}}}",
        ]
    ),
    "a number where text is wanted": Case(["machine: {sysctls: {net.core.somaxconn: 65535}}"]),
    "true where text is wanted": Case(["machine: {kubelet: {extraArgs: {rotate-server-certificates: true}}}"]),
    "files, taints and volumes": Case(
        [
            "machine: {files: [{path: /var/a, content: x, permissions: 0o644, op: create}]}",
            "machine: {nodeTaints: {a: 'b:NoSchedule'}, nodeAnnotations: {c: d}}",
            "machine: {kubelet: {extraMounts: [{destination: /x, type: bind, source: /x, options: [rw]}]}}",
        ]
    ),
    "inline manifests": Case(["cluster: {inlineManifests: [{name: a, contents: 'kind: Namespace'}]}"]),
    "the endpoint, part by part": Case(
        [
            "cluster: {controlPlane: {endpoint: 'https://old.example.com:6443/path?query'}}",
            "cluster: {controlPlane: {endpoint: 'https://new.example.com'}}",
        ]
    ),
    "an endpoint without a scheme stays in the way": Case(
        [
            "cluster: {controlPlane: {endpoint: 'api.example.com:6443'}}",
            "cluster: {controlPlane: {endpoint: 'https://api.example.com:6443'}}",
        ]
    ),
    "the endpoint": Case(
        ["cluster: {controlPlane: {endpoint: 'https://api.example.com:443', localAPIServerPort: 443}}"]
    ),
}
DOCUMENTS = {
    "a hostname": Case(["apiVersion: v1alpha1\nkind: HostnameConfig\nauto: 'off'\nhostname: k8s-1\n"]),
    "a hostname while the automatic one stays": Case(["apiVersion: v1alpha1\nkind: HostnameConfig\nhostname: k8s-1\n"]),
    "a hostname of old beside the document": Case(["machine: {network: {hostname: k8s-1}}"]),
    "a hostname of old, contract 1.11": Case(["machine: {network: {hostname: k8s-1}}"], talos_version="v1.11.0"),
    "a default action": Case(["apiVersion: v1alpha1\nkind: NetworkDefaultActionConfig\ningress: block\n"]),
    "a default action twice": Case(
        [
            "apiVersion: v1alpha1\nkind: NetworkDefaultActionConfig\ningress: block\n",
            "apiVersion: v1alpha1\nkind: NetworkDefaultActionConfig\ningress: accept\n",
        ]
    ),
    "a rule": Case([RULE]),
    "a rule's ingress and ports are replaced": Case(
        [
            RULE,
            "apiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: api\n"
            "portSelector: {ports: [443]}\ningress: [{subnet: 192.168.0.0/16}]\n",
        ]
    ),
    "two rules": Case([RULE, RULE.replace("name: api", "name: other")]),
    "several documents in one patch": Case(
        [f"machine: {{sysctls: {{a: '1'}}}}\n---\n{RULE}---\n{RULE.replace('api', 'b')}"]
    ),
    "logs to a remote place": Case(
        ["apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: remote\nurl: tcp://logs.example.com:3333/\n"]
    ),
    "a volume": Case(
        [
            "apiVersion: v1alpha1\nkind: VolumeConfig\nname: EPHEMERAL\n"
            "provisioning: {diskSelector: {match: system_disk}, maxSize: 50GiB}\n"
        ]
    ),
    "a link": Case(
        ["apiVersion: v1alpha1\nkind: LinkConfig\nname: eth1\nmtu: 1450\naddresses: [{address: 10.0.0.2/24}]\n"]
    ),
    "time servers": Case(["apiVersion: v1alpha1\nkind: TimeSyncConfig\nntp: {servers: [ntp1.hetzner.de]}\n"]),
    "resolvers": Case(
        [
            "apiVersion: v1alpha1\nkind: ResolverConfig\nnameservers: [{address: 185.12.64.1}]\n"
            "searchDomains: {domains: [a.b]}\n"
        ]
    ),
    "a registry mirror": Case(
        [
            "apiVersion: v1alpha1\nkind: RegistryMirrorConfig\nname: docker.io\nendpoints: [{url: https://m.example.com}]\n"
        ]
    ),
    "a service of an extension": Case(
        [
            "apiVersion: v1alpha1\nkind: ExtensionServiceConfig\nname: nut\n"
            "configFiles: [{content: a, mountPath: /x}]\nenvironment: [A=b]\n"
        ]
    ),
    "documents of the wrong version": Case(["apiVersion: v2\nkind: HostnameConfig\nhostname: a\n"]),
    "an unknown document": Case(["apiVersion: v1alpha1\nkind: Hostname\nhostname: a\n"]),
    "a document without its version": Case(["kind: HostnameConfig\nhostname: a\n"]),
    "a document without its kind": Case(["apiVersion: v1alpha1\nhostname: a\n"]),
    "the same document twice in a patch": Case([f"{RULE}---\n{RULE}"]),
    "v1alpha1 twice in a patch": Case(["machine: {sysctls: {a: '1'}}\n---\ncluster: {clusterName: a}\n"]),
}
DELETED = {
    "delete a label": Case([f"machine: {{nodeLabels: {{{LABEL}: {{$patch: delete}}}}}}"]),
    "delete a label and set another": Case(
        [
            f"machine: {{nodeLabels: {{{LABEL}: {{$patch: delete}}, x: y}}}}\n"
            "cluster: {allowSchedulingOnControlPlanes: true}"
        ]
    ),
    "delete a label that is not there": Case(["machine: {nodeLabels: {x: {$patch: delete}}}"]),
    "delete a label where there are none": Case(["machine: {nodeLabels: {x: {$patch: delete}}}"], kind="worker"),
    "delete a section": Case(["machine: {features: {kubePrism: {$patch: delete}}}"]),
    "delete a section that is not there": Case(["machine: {time: {$patch: delete}}"]),
    "delete below a missing section": Case(["machine: {time: {servers: {$patch: delete}}}"]),
    "delete below two missing sections": Case(["cluster: {externalCloudProvider: {manifests: {$patch: delete}}}"]),
    "delete below an empty section": Case(["machine: {network: {hostname: {$patch: delete}}}"]),
    "delete below a missing list": Case(["machine: {network: {interfaces: [{interface: eth0, $patch: delete}]}}"]),
    "delete an entry of a list": Case(
        [INTERFACES, "machine: {network: {interfaces: [{interface: eth1, $patch: delete}]}}"]
    ),
    "delete an entry that is not there": Case(
        [INTERFACES, "machine: {network: {interfaces: [{interface: eth9, $patch: delete}]}}"]
    ),
    "delete an admission plugin": Case(
        ["cluster: {apiServer: {admissionControl: [{name: PodSecurity, $patch: delete}]}}"]
    ),
    "delete inside an entry of a list": Case(
        [INTERFACES, "machine: {network: {interfaces: [{interface: eth1, addresses: {$patch: delete}}]}}"]
    ),
    "delete a list": Case([INTERFACES, "machine: {network: {interfaces: {$patch: delete}}}"]),
    "delete a value": Case(["machine: {install: {grubUseUKICmdline: {$patch: delete}}}"]),
    "delete an unknown field": Case(["machine: {nothing: {$patch: delete}}"]),
    "delete a document": Case(["apiVersion: v1alpha1\nkind: HostnameConfig\n$patch: delete\n"]),
    "delete a document that is not there": Case(["apiVersion: v1alpha1\nkind: TimeSyncConfig\n$patch: delete\n"]),
    "delete a named document": Case(
        [RULE, "apiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: api\n$patch: delete\n"]
    ),
    "delete another name's document": Case(
        [RULE, "apiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: b\n$patch: delete\n"]
    ),
    "delete a field of a document": Case(
        ["apiVersion: v1alpha1\nkind: HostnameConfig\nauto: {$patch: delete}\nhostname: k8s-1\n"]
    ),
    "delete the whole": Case(["$patch: delete\n"]),
    "delete the machine": Case(["machine: {$patch: delete}\n"]),
    "delete what is not there, then set": Case(
        ["apiVersion: v1alpha1\nkind: TimeSyncConfig\n$patch: delete\n", "machine: {sysctls: {a: b}}"]
    ),
    "delete what is not there twice": Case(["apiVersion: v1alpha1\nkind: TimeSyncConfig\n$patch: delete\n"] * 2),
    "delete what is not there, then below it": Case(
        [
            "apiVersion: v1alpha1\nkind: TimeSyncConfig\n$patch: delete\n",
            "apiVersion: v1alpha1\nkind: TimeSyncConfig\nntp: {servers: {$patch: delete}}\n",
        ]
    ),
    "delete what is not there, then refuse": Case(
        [
            "apiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: b\n$patch: delete\n",
            "machine: {nothing: {$patch: delete}}",
        ]
    ),
    "delete a document and set it": Case(
        [
            "apiVersion: v1alpha1\nkind: HostnameConfig\n$patch: delete\n---\n"
            "apiVersion: v1alpha1\nkind: HostnameConfig\nauto: 'off'\nhostname: a\n"
        ]
    ),
    "delete a document, then set it": Case(
        [
            "apiVersion: v1alpha1\nkind: HostnameConfig\n$patch: delete\n",
            "apiVersion: v1alpha1\nkind: HostnameConfig\nauto: 'off'\nhostname: a\n",
        ]
    ),
    "delete and set the same": Case(
        [f"machine: {{nodeLabels: {{{LABEL}: {{$patch: delete}}}}}}", f"machine: {{nodeLabels: {{{LABEL}: 'x'}}}}"]
    ),
    "delete in free-form configuration": Case(
        ["cluster: {apiServer: {admissionControl: [{name: PodSecurity, configuration: {defaults: {$patch: delete}}}]}}"]
    ),
}
TAKEN = _rendered() | GENERATED | MERGED | DOCUMENTS | DELETED
