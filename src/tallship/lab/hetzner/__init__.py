"""The lab's Hetzner Cloud: one project, its API, its load balancers' data plane and its firewalls."""
