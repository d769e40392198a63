"""How many tokens the text of an answer has, counted piece by piece and forgotten."""

from __future__ import annotations

from collections.abc import Callable

PIECE_CHARACTERS = 8_192
"""As much is counted at once: where a piece ends, a token may be counted twice."""


class TokenTally:
    """Counts texts that come in pieces of any length, each piece on a channel: texts of several channels may
    come alternately, as those of several choices do. Keeps at most a piece of text in all.
    """

    __slots__ = ("_characters", "_count", "_counted", "_pending")

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count
        self._counted = 0  # tokens
        self._pending: dict[int, list[str]] = {}
        self._characters = 0  # that are pending

    def add(self, text: str, channel: int = 0) -> None:
        """Takes a text that goes on where the channel's last one ended."""
        if not text:
            return
        self._pending.setdefault(channel, []).append(text)
        self._characters += len(text)
        if self._characters >= PIECE_CHARACTERS:
            self._counted = self.total()
            self._pending.clear()
            self._characters = 0

    def total(self) -> int:
        """The tokens so far."""
        return self._counted + sum(self._tokens("".join(texts)) for texts in self._pending.values())

    def fork(self) -> TokenTally:
        """Another one that goes on from here on its own."""
        other = TokenTally(self._count)
        other._counted = self._counted
        other._pending = {channel: list(texts) for channel, texts in self._pending.items()}
        other._characters = self._characters
        return other

    def _tokens(self, text: str) -> int:
        starts = range(0, len(text), PIECE_CHARACTERS)
        return sum(self._count(text[start : start + PIECE_CHARACTERS]) for start in starts)
