"""Pure: what a cluster file means as documents, and what documents say about a cluster."""
