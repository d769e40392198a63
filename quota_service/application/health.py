"""What is known of the stores without asking them: nobody waits for what is known not to answer."""

from __future__ import annotations

from quota_service.domain.errors import StoreUnavailable


class Health:
    """Kept up by whoever asks the ledger anyhow."""

    def __init__(self) -> None:
        self.ledger = True

    def require_ledger(self) -> None:
        """Raises StoreUnavailable where the ledger is known not to answer."""
        if not self.ledger:
            raise StoreUnavailable("The ledger cannot be reached.")
