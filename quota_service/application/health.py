"""What is known of the stores without asking them: nobody waits for what is known not to answer."""

from __future__ import annotations


class Health:
    """Kept up by whoever asks the ledger anyhow."""

    def __init__(self) -> None:
        self.ledger = True
