"""The HTTP API of a worker."""
