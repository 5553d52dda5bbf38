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
  default = "v1.12.4"
}

# The Image Factory's id for: siderolabs/qemu-guest-agent, siderolabs/iscsi-tools, console=ttyS0, -selinux
variable "schematic" {
  type    = string
  default = "9aff950a225bbac30b8b6f19074ae7fe9ffd54d997080bb6ec5f67b7fee9c8f3"
}

variable "architecture" {
  type    = string
  default = "arm64"
}

# Another type than the smallest, for when that is sold out.
variable "server_type" {
  type    = string
  default = ""
}

variable "location" {
  type    = string
  default = "fsn1"
}

locals {
  # The smallest type of the architecture: a snapshot fits every disk that is as large.
  builders = { amd64 = "cx23", arm64 = "cax11" }

  # An image of another schematic than the guide's has another name.
  suffix = var.schematic == "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515" ? "" : "-${substr(var.schematic, 0, 8)}"

  name = "talos-${var.architecture}-${var.talos_version}${local.suffix}"
  url  = "https://factory.talos.dev/image/${var.schematic}/${var.talos_version}/hcloud-${var.architecture}.raw.xz"
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
