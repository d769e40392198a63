"""The use cases, one module each. They know the domain, and the stores only by the Protocols in `ports`."""
