"""The commented file that `tallship init` writes, and the JSON Schema for editors."""

from __future__ import annotations

from typing import Any

from tallship.spec.models import Spec

_TEXT = """\
# A Kubernetes cluster of Talos Linux on Hetzner Cloud. What stands behind a `#` is the default:
# `name` alone is a whole file. `tallship validate` finds mistakes, `tallship plan` tells what would be made.
# The API token is never in this file: set HCLOUD_TOKEN, or one of the two keys below.
name: NAME
# version: 1                          # the format of this file
# delete_protection: false            # whether `tallship destroy` refuses

hetzner:
  location: nbg1                      # fsn1, hel1, nbg1, ash, hil or sin
  # token_file: ~/.config/hcloud/token
  # token_command: op read op://vault/item/field

control_plane:
  replicas: 3                         # an odd number, for etcd
  server_type: cx33                   # 4 vCPU, 8 GB; cax types have arm64 processors
  # fallback_types: [cpx32]           # what to take when it is sold out and servers have to be made

# workers:                            # pools of servers beside the control plane; none is the guide's cluster
#   - name: general                   # server_type, labels, taints, location: a change replaces the pool's servers
#     replicas: 2
#     server_type: cx33               # cax types need a second image, which is built too
#     location: fsn1                  # default: the cluster's; another of the same network zone
#     labels:
#       example.com/disk: nvme
#     taints:                         # or key, value and effect, each
#       - example.com/batch=true:NoSchedule

network:
  cidr: 10.10.0.0/16                  # the private network
  control_plane_subnet: 10.10.64.0/25 # the addresses of all servers, inside `cidr`
  pods: 10.10.128.0/17                # inside `cidr`, so that Hetzner routes them
  services: 10.10.96.0/20

kubernetes:
  version: v1.32.2
talos:
  version: v1.12.2
  # patches:                          # strategic merge patches, applied after tallship's own;
  #   - machine:                      # a change replaces every server
  #       sysctls:
  #         net.core.somaxconn: "65535"

load_balancer:
  type: lb11                          # lb11, lb21 or lb31
  talos_api: true                     # whether port 50000 leads to the Talos API

# firewall:                           # of the servers' public addresses; private networks may reach 6443 and 50000
#   admin_networks:                   # and these
#     - 203.0.113.0/24
#   talos_api: true                   # false: 6443 only
#   talos: false                      # true: Talos' own firewall on the servers too; a change replaces every server
#   address_url: https://ipv4.icanhazip.com

# image:                              # the Talos snapshot
#   extensions:
#     - siderolabs/qemu-guest-agent
#   kernel_args: []
#   architecture: amd64               # default: that of the control plane
#   name: talos-amd64-v1.12.2         # default: from version, architecture and schematic
#   sha256: ...                       # of the compressed image, where you know it

# management: kind                    # where Cluster API runs until `tallship pivot`: kind or local, or
# management:
#   mode: kubeconfig                  # a cluster you have
#   kubeconfig: ~/.kube/config
#   context: management
#   egress_cidr: 203.0.113.7/32       # from where its controllers reach the servers

# programs:                           # with `management: local`, which needs Linux and no Docker
#   path: programs                    # a folder that holds them; else they are fetched
#   mirrors:                          # where to fetch instead
#     ghcr.io: https://mirror.example/ghcr

# addons:                             # Helm charts; `values` win over tallship's own
#   cilium:
#     version: 1.18.6
#     values: {}
#   hcloud_ccm:
#     version: 1.29.2
#   talos_ccm:
#     version: 0.5.4

# oidc:                               # log in to Kubernetes through an OpenID Connect issuer
#   issuer: https://auth.cluster.example.com
#   client_id: kubernetes
#   username_claim: email
#   username_prefix: "oidc:"
#   groups_claim: groups
#   groups_prefix: "oidc:"

# extra_manifests:                    # Talos applies these when the cluster is made
#   - https://example.com/manifest.yaml

# health_checks:                      # a server whose node stays not ready is rebooted
#   enabled: true
#   unhealthy_seconds: 300
#   startup_seconds: 1500
#   reboots: 1
#   reboot_seconds: 180

# backup:                             # who can read what `tallship backup save` writes; without it, whoever has it
#   recipients:                       # public keys of age or SSH
#     - age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
#   folder: /mnt/backups              # default: the state folder
#   s3:                               # object storage, such as Hetzner's; needs recipients
#     endpoint: https://fsn1.your-objectstorage.com
#     bucket: my-backups
#     prefix: k8s                     # default: the cluster's name
#     region: fsn1                    # the one that requests are signed for; default us-east-1
#     credentials_file: ~/.aws/credentials    # default: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
#     # credentials_command: pass show object-storage
#   keep:                             # how many `tallship backup prune` leaves
#     last: 3                         # the newest
#     daily: 7                        # one of each of so many days
#     weekly: 4
"""


def init_text(name: str = "k8s") -> str:
    """Return the text of a cluster file: the guide's cluster under this name, with comments."""
    return _TEXT.replace("NAME", name, 1)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a cluster file, for editors."""
    schema = Spec.model_json_schema()
    # `management: kind` is short for `management: {mode: kind}`.
    management = schema["properties"]["management"]
    modes = schema["$defs"]["Management"]["properties"]["mode"]["enum"]
    reference = management.pop("$ref", None) or management.pop("allOf")[0]["$ref"]
    management["anyOf"] = [{"enum": modes}, {"$ref": reference}]
    # A taint may be written as kubectl writes it: `key=value:Effect`.
    taints = schema["$defs"]["Pool"]["properties"]["taints"]
    taints["items"] = {"anyOf": [{"type": "string"}, taints["items"]]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "tallship.yaml", **schema}
