"""A thin helper around the generated stubs: a connection, errors with their reasons, and `reserve`."""

from quota.client.connection import Connection, connect
from quota.client.credentials import Credentials
from quota.client.errors import ApiError, FieldProblem
from quota.client.holds import Denied, Hold, reserve

__all__ = ["ApiError", "Connection", "Credentials", "Denied", "FieldProblem", "Hold", "connect", "reserve"]
