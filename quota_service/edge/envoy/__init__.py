"""Envoy's two doors to the service: `Authorization` before a call, `ExternalProcessor` around it."""
