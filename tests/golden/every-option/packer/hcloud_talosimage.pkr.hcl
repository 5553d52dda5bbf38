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

# The smallest type of the architecture: a snapshot fits every disk that is as large.
variable "server_type" {
  type    = string
  default = "cax11"
}

variable "location" {
  type    = string
  default = "fsn1"
}

locals {
  name = "talos-${var.architecture}-${var.talos_version}-9aff950a"
  url  = "https://factory.talos.dev/image/${var.schematic}/${var.talos_version}/hcloud-${var.architecture}.raw.xz"
}

source "hcloud" "talos" {
  rescue        = "linux64"
  image         = "debian-12"
  location      = var.location
  server_type   = var.server_type
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
      "curl --fail --silent --show-error --location --retry 5 '${local.url}' | xz --decompress | dd of=/dev/sda bs=4M",
      "sync",
    ]
  }
}
