"""A Hetzner Cloud, Kubernetes API servers and Talos machines in one process on loopback, for rehearsals and tests."""
