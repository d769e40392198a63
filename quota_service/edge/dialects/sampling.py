"""Counts much text in little time: a call of many megabytes would take longer than a gateway waits."""

from __future__ import annotations

from quota_service.edge.dialects.tokens import PIECE_CHARACTERS, Encoding, count

WHOLE_CHARACTERS = 512 * 1024
"""So much of a call's text is counted."""

EVERY = 8
MARGIN_PERCENT = 110
"""Of what is beyond that every eighth piece is, and stands for the others with a tenth more."""


class TextCount:
    """The tokens of all texts of one call."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._characters = 0
        self._tokens = 0
        self._pieces = 0  # beyond what is counted whole
        self._rest_characters = 0
        self._sample_characters = 0
        self._sample_tokens = 0

    @property
    def tokens(self) -> int:
        if not self._sample_characters:
            return self._tokens
        standing_for = self._rest_characters * self._sample_tokens * MARGIN_PERCENT
        return self._tokens - (-standing_for // (self._sample_characters * 100))

    def add(self, text: str) -> None:
        if self._characters + len(text) <= WHOLE_CHARACTERS:
            self._characters += len(text)
            self._tokens += count(text, self._encoding)
            return
        for start in range(0, len(text), PIECE_CHARACTERS):
            self._add_piece(text[start : start + PIECE_CHARACTERS])

    def _add_piece(self, piece: str) -> None:
        if self._pieces % EVERY == 0:
            self._sample_characters += len(piece)
            self._sample_tokens += count(piece, self._encoding)
        self._rest_characters += len(piece)
        self._pieces += 1
