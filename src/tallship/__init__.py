"""Kubernetes clusters of Talos Linux on Hetzner Cloud, through Cluster API."""

__version__ = "0.1.0"
