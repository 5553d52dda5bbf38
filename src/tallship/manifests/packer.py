"""The guide's own way to the snapshot: a Packer template that writes the image on a server in its rescue system."""

from __future__ import annotations

from tallship.manifests import image
from tallship.spec import Spec

_TEMPLATE = """\
# Builds the Talos snapshot the servers boot from: `make image`.
packer {
  required_plugins {
    hcloud = {
      source  = "github.com/hetznercloud/hcloud"
      version = ">= 1.6.0"
    }
  }
}

variable "talos_version" {
  type    = string
  default = "@VERSION@"
}

# The Image Factory's id for: @CONTENT@
variable "schematic" {
  type    = string
  default = "@SCHEMATIC@"
}

variable "architecture" {
  type    = string
  default = "@ARCHITECTURE@"
}

# Another type than the smallest, for when that is sold out.
variable "server_type" {
  type    = string
  default = ""
}

variable "location" {
  type    = string
  default = "@LOCATION@"
}

locals {
  # The smallest type of the architecture: a snapshot fits every disk that is as large.
  builders = { @BUILDERS@ }

  # An image of another schematic than the guide's has another name.
  suffix = var.schematic == "@GUIDE@" ? "" : "-${substr(var.schematic, 0, 8)}"

  name = "@NAME@"
  url  = "@FACTORY@/image/${var.schematic}/${var.talos_version}/hcloud-${var.architecture}.raw.xz"
}

source "hcloud" "talos" {
  rescue        = "linux64"
  image         = "debian-12"
  location      = var.location
  server_type   = var.server_type != "" ? var.server_type : local.builders[var.architecture]
  ssh_username  = "root"
  snapshot_name = local.name
  snapshot_labels = {
    # Cluster API looks the image up by this label, and refuses two of the same name: delete the older one first.
    caph-image-name = local.name
    os              = "talos"
    talos-version   = var.talos_version
    architecture    = var.architecture
    schematic       = substr(var.schematic, 0, 32)
  }
}

build {
  sources = ["source.hcloud.talos"]

  provisioner "shell" {
    inline_shebang = "/bin/bash -e"
    inline = [
      "set -o pipefail",
      # No --retry: in a pipe the second try would follow the bytes of the first.
      "curl --fail --silent --show-error --location '${local.url}' | xz --decompress | dd of=/dev/sda bs=4M",
      "sync",
    ]
  }
}
"""


def template(spec: Spec) -> str:
    """Return packer/hcloud_talosimage.pkr.hcl."""
    name = spec.image.name or "talos-${var.architecture}-${var.talos_version}${local.suffix}"
    places = {
        "VERSION": spec.talos.version,
        "CONTENT": ", ".join([*spec.image.extensions, *spec.image.kernel_args]) or "nothing",
        "SCHEMATIC": image.schematic_id(spec),
        "ARCHITECTURE": spec.architecture,
        "BUILDERS": ", ".join(f'{name} = "{kind}"' for name, kind in image.BUILDER_TYPES.items()),
        "LOCATION": spec.hetzner.location,
        "NAME": name,
        "GUIDE": image.GUIDE_SCHEMATIC,
        "FACTORY": image.FACTORY,
    }
    text = _TEMPLATE
    for place, value in places.items():
        text = text.replace(f"@{place}@", value)
    return text
