"""A gateway to try: Envoy, the service and a stand-in for the providers on this machine."""
