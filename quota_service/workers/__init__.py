"""Several processes that answer on one port, and the one that looks after them.

The supervisor knows nothing of gRPC, whose threads survive no fork and which it has no use for.
"""
