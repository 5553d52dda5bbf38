"""Stand-ins for the controllers of Cluster API, its providers, and the clusters themselves: ordinary clients all."""
