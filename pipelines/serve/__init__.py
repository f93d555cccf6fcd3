"""The rewards of objectives over HTTP: scorers as Ray Serve deployments, and one process that answers."""
