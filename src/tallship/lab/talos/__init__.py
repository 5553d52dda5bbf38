"""Talos machines: they boot from user data, form an etcd cluster, and answer the Talos API over mutual TLS."""
