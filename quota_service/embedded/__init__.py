"""Real Valkey and PostgreSQL servers as children of this process, for `quota serve --dev` and the tests.

The binaries come from the packages of the `embedded` extra; nothing else needs to be installed.
"""

from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.stores import EmbeddedStores

__all__ = ["EmbeddedError", "EmbeddedStores"]
