"""Quota Service: authorizes AI spend like a card payment."""

import os

# Read by gRPC when it is loaded: sockets are read by the thread that polls them, not by one of four that it
# wakes for each read (docs/adr/0022-one-thread-reads.md).
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
