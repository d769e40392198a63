"""Organizations as files: reading them with positions, comparing them with the server, and writing them."""
