"""A Kubernetes API server: objects, server-side apply, watches, custom resources, garbage collection. No containers."""
