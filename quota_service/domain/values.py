"""Values: made once, never changed.

For the type checker, which looks at all code, they are frozen dataclasses. At run time nothing keeps them
from being changed: to make a frozen one of thirty fields takes four times as long, and every call makes some.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:

    def value(*, frozen: bool, **options: Any) -> Any:
        """As `dataclass`; `frozen` is for the type checker. Equal values have equal hashes."""
        return dataclass(unsafe_hash=frozen, **options)


__all__ = ["value"]
