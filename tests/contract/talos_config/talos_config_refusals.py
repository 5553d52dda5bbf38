"""Patches and configurations that Talos refuses, for the patcher, for loading, or for what they say."""

from __future__ import annotations

import random

from talos_config_cases import RULE, TAKEN, Case

OPERATIONS = {
    "JSON: one document": Case(
        ['[{"op": "replace", "path": "/machine/network", "value": {"hostname": "a"}}]'], talos_version="v1.11.0"
    ),
    "JSON: in YAML": Case(
        ["- op: add\n  path: /machine/certSANs/-\n  value: a\n- {op: remove, path: /machine/nodeLabels}\n"],
        talos_version="v1.11.0",
    ),
    "JSON: nothing": Case([""], talos_version="v1.11.0"),
    "JSON: what is not there": Case(['[{"op": "remove", "path": "/machine/time"}]'], talos_version="v1.11.0"),
    "JSON: an unknown field": Case(
        ['[{"op": "add", "path": "/machine/nothing", "value": 1}]'], talos_version="v1.11.0"
    ),
    "JSON: an unknown field, then a section": Case(
        ['[{"op": "add", "path": "/machine/nothing", "value": 1}]', "machine: {time: {disabled: true}}"],
        talos_version="v1.11.0",
    ),
    "JSON: after a section": Case(
        ["machine: {time: {disabled: true}}", '[{"op": "replace", "path": "/machine/time/disabled", "value": false}]'],
        talos_version="v1.11.0",
    ),
}
REFUSED = {
    "a JSON patch": Case(['[{"op": "add", "path": "/machine/certSANs/-", "value": "a"}]']),
    "a JSON patch in YAML": Case(["- op: add\n  path: /machine/certSANs/-\n  value: a\n"]),
    "an empty patch": Case([""]),
    "a patch of only a separator": Case(["---\n"]),
    "a patch of a comment": Case(["# nothing\n"]),
    "a patch that is text": Case(["machine"]),
    "an unknown field": Case(["machine: {nodeLables: {a: b}}"]),
    "an unknown field deep below": Case(["machine: {kubelet: {nodeIP: {validSubnet: [10.0.0.0/8]}}}"]),
    "an unknown field of a document": Case(["apiVersion: v1alpha1\nkind: HostnameConfig\nname: a\n"]),
    "text where a list is wanted": Case(["machine: {certSANs: a.example.com}"]),
    "text where a section is wanted": Case(["machine: {kubelet: x}"]),
    "text where a truth is wanted": Case(["cluster: {allowSchedulingOnControlPlanes: maybe}"]),
    "yes where a truth is wanted": Case(["cluster: {allowSchedulingOnControlPlanes: yes}"]),
    "text where a number is wanted": Case(["cluster: {controlPlane: {localAPIServerPort: six}}"]),
    "a list where text is wanted": Case(["machine: {type: [a]}"]),
    "a mapping where text is wanted": Case(["machine: {sysctls: {a: {b: c}}}"]),
    "a key twice": Case(["machine:\n  sysctls: {a: '1'}\nmachine:\n  sysctls: {b: '1'}\n"]),
    "a list for a kind": Case(["apiVersion: v1alpha1\nkind: [a]\n"]),
    "a broken authority": Case(["machine: {ca: {crt: '%%%'}}"]),
    "not YAML": Case(["machine: [\n"]),
    "a tab": Case(["machine:\n\tsysctls: {a: b}\n"]),
    "an unreadable address": Case(["cluster: {controlPlane: {endpoint: 'https://a b'}}"]),
    "an unreadable port range": Case([RULE.replace("10250-10260", "10260-10250")]),
    "an unknown protocol": Case([RULE.replace("tcp", "tpc")]),
    "an unreadable prefix": Case([RULE.replace("10.0.0.0/8", "10.0.0.0/33")]),
    "an unknown action": Case(["apiVersion: v1alpha1\nkind: NetworkDefaultActionConfig\ningress: deny\n"]),
    "an unknown way to name": Case(["apiVersion: v1alpha1\nkind: HostnameConfig\nauto: sometimes\n"]),
    "a good patch before a refused one": Case(["machine: {time: {servers: {$patch: delete}}}", "machine: {nope: 1}"]),
}
INVALID = {
    "invalid: a machine of no kind": Case(["machine: {type: other}"]),
    "invalid: a network that is none": Case(["cluster: {network: {cni: {name: cilium}}}"]),
    "invalid: addresses for no network": Case(
        ["cluster: {network: {cni: {name: none, urls: [https://a.example.com]}}}"]
    ),
    "invalid: an endpoint without a scheme": Case(["cluster: {controlPlane: {endpoint: 'api.example.com:6443'}}"]),
    "invalid: an endpoint by http": Case(["cluster: {controlPlane: {endpoint: 'http://api.example.com:6443'}}"]),
    "invalid: an endpoint without a port": Case(["cluster: {controlPlane: {endpoint: 'https://api.example.com'}}"]),
    "invalid: the domain of the cluster": Case(["cluster: {network: {dnsDomain: 'a b'}}"]),
    "invalid: a label": Case(["machine: {nodeLabels: {'a b': c}}"]),
    "invalid: a label's value": Case(["machine: {nodeLabels: {a: 'b c'}}"]),
    "invalid: a taint": Case(["machine: {nodeTaints: {a: 'b:Never'}}"]),
    "invalid: a role": Case(
        ["machine: {features: {kubernetesTalosAPIAccess: {enabled: true, allowedRoles: [os:nobody]}}}"]
    ),
    "invalid: the Talos API on a worker": Case(
        ["machine: {features: {kubernetesTalosAPIAccess: {enabled: true, allowedRoles: [os:reader]}}}"], kind="worker"
    ),
    "invalid: etcd on a worker": Case(["cluster: {etcd: {advertisedSubnets: [10.0.0.0/8]}}"], kind="worker"),
    "invalid: etcd's subnets": Case(["cluster: {etcd: {advertisedSubnets: [nothing]}}"]),
    "invalid: the kubelet's subnets": Case(["machine: {kubelet: {nodeIP: {validSubnets: [nothing]}}}"]),
    "invalid: pods' subnets": Case(["cluster: {network: {podSubnets: [nothing]}}"]),
    "invalid: a manifest twice": Case(["cluster: {inlineManifests: [{name: a, contents: b}, {name: a, contents: c}]}"]),
    "invalid: a manifest without a name": Case(["cluster: {inlineManifests: [{contents: b}]}"]),
    "invalid: an interface without a name": Case(["machine: {network: {interfaces: [{dhcp: true}]}}"]),
    "invalid: an interface with two names": Case(
        ["machine: {network: {interfaces: [{interface: eth0, deviceSelector: {driver: a}}]}}"]
    ),
    "invalid: an interface's address": Case(["machine: {network: {interfaces: [{interface: eth0, addresses: [a]}]}}"]),
    "invalid: no persistence": Case(["persist: false"]),
    "invalid: no authority": Case(["machine: {ca: {$patch: delete}}"]),
    "invalid: no cluster": Case(["cluster: {$patch: delete}"]),
    "invalid: no identity": Case(["cluster: {id: {$patch: delete}}"]),
    "invalid: both names": Case(["apiVersion: v1alpha1\nkind: HostnameConfig\nhostname: a\n"]),
    "invalid: a hostname": Case(["apiVersion: v1alpha1\nkind: HostnameConfig\nauto: 'off'\nhostname: 'a b'\n"]),
    "invalid: a long hostname": Case(
        [f"apiVersion: v1alpha1\nkind: HostnameConfig\nauto: 'off'\nhostname: {'a' * 64}\n"]
    ),
    "invalid: no hostname": Case(["apiVersion: v1alpha1\nkind: HostnameConfig\nauto: 'off'\n"]),
    "invalid: a hostname by address": Case(["apiVersion: v1alpha1\nkind: HostnameConfig\nauto: talos-addr\n"]),
    "invalid: overlapping ports": Case([RULE.replace("[6443,", "[10255,")]),
    "invalid: a log's address": Case(["apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: a\nurl: http://a:1/\n"]),
    "invalid: a label's prefix": Case(["machine: {nodeLabels: {'/a': b, 'A/b': c, 'a/b/c': d}}"]),
    "invalid: manifests of a cloud provider": Case(["cluster: {externalCloudProvider: {manifests: [a]}}"]),
    "invalid: a rule without ports": Case(["apiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: a\ningress: []\n"]),
    "invalid: a rule without a name": Case([RULE.replace("name: api\n", "")]),
    "invalid: a log without an address": Case(["apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: a\n"]),
    "invalid: the authority of Kubernetes": Case(["cluster: {ca: {$patch: delete}}"]),
    "invalid: no token": Case(["machine: {token: {$patch: delete}}"]),
    "invalid: kubelet arguments": Case(["machine: {kubelet: {extraConfig: {port: 1}}}"]),
}
WRITTEN = {
    "written: nothing": Case(config="# nothing\n"),
    "written: only a document": Case(config="apiVersion: v1alpha1\nkind: HostnameConfig\nhostname: a\n"),
    "written: a document twice": Case(config=f"{RULE}---\n{RULE}"),
    "written: two v1alpha1 documents": Case(config="machine: {type: worker}\n---\ncluster: {clusterName: a}\n"),
    "written: an unknown version": Case(config="version: v1beta1\nmachine: {type: worker}\n"),
    "written: an unknown field": Case(config="version: v1alpha1\nmachine: {kind: worker}\n"),
    "written: a delete": Case(config="machine: {time: {$patch: delete}}\n"),
    "written: a list": Case(config="- a\n"),
    "written: almost nothing": Case(config="version: v1alpha1\nmachine: {type: worker}\n"),
}
CASES = TAKEN | OPERATIONS | REFUSED | INVALID | WRITTEN


def _sequences(number: int) -> dict[str, Case]:
    """Return patches of all cases in sequences that nobody thought of, always the same ones."""
    drawn = random.Random(12)  # noqa: S311 - no secret
    pool = [patch for case in CASES.values() for patch in case.patches]
    return {
        f"sequence {each}": Case(
            [drawn.choice(pool) for _ in range(drawn.randint(2, 5))],
            drawn.choice(["v1.12.0", "v1.12.0", "v1.11.0"]),
            drawn.choice(["controlplane", "controlplane", "worker", "init"]),
        )
        for each in range(number)
    }


SEQUENCES = _sequences(100)
