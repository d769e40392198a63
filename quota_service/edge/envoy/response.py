"""The response phase: one answer of a model's, read as it passes, and settled when it ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from enum import Enum

from quota_service.domain.pricing import Usage
from quota_service.edge.dialects.answers import Answer, AnswerReader, answer_reader
from quota_service.edge.dialects.bounds import encoding_of
from quota_service.edge.dialects.tokens import counter
from quota_service.edge.envoy.settling import Settling
from quota_service.edge.envoy.ticket import Ticket

_SAME_MODEL = re.compile(r"(-\d{4}-\d{2}-\d{2}|-\d{8}|-\d{3,4}|@\d+|-latest)?")
"""What providers add to the name of a model when they say which version of it has answered."""


class End(Enum):
    """How what could be seen of an answer ended."""

    WHOLE = "Envoy has passed on all of it"
    BROKEN_OFF = "its caller has gone, or the upstream has"
    UNSEEN = "this service stopped looking, and it may have gone on"


class Response:
    """What becomes of one hold. `settled` once nothing is left to do."""

    def __init__(self, ticket: Ticket, settling: Settling) -> None:
        self._ticket = ticket
        self._settling = settling
        self._reader: AnswerReader | None = None
        self._is_compressed = False
        self.settled = False
        self._extension = self._soon()

    def began(self, status: str, content_type: str, content_encoding: str) -> None:
        """Its headers have come."""
        if self.settled:
            return
        if not status.startswith("2"):
            self._settle(lambda: self._settling.release(self._ticket, f"the upstream answered {status}"))
            return
        self._is_compressed = content_encoding not in ("", "identity")
        count = counter(encoding_of(self._ticket.model))
        self._reader = answer_reader(self._ticket.kind, content_type, count)

    def went_on(self, chunk: bytes) -> None:
        if self._reader is not None and not self._is_compressed and not self.settled:
            self._reader.feed(chunk)

    def ended(self, end: End) -> None:
        """Settles it, unless that is done."""
        if not self.settled:
            self._settle(lambda: self._charge(end))

    def _settle(self, settle: Callable[[], None]) -> None:
        self.settled = True
        self._extension.cancel()
        settle()

    def _charge(self, end: End) -> None:
        answer = self._reader.answer() if self._reader is not None else None
        if end is End.UNSEEN and not (answer is not None and answer.has_ended):
            self._settling.commit_hold(self._ticket)
        elif answer is None:
            # Nothing has come back. The provider has the request, and counts what it has read of it.
            usage = Usage(input_tokens=self._ticket.input_tokens)
            self._settling.commit(self._ticket, usage, estimated=True)
        elif self._is_compressed or not answer.is_readable or _is_blank(self._ticket, answer, end):
            self._settling.commit_hold(self._ticket)
        elif answer.is_error and not answer.output_tokens and answer.usage is None:
            self._settling.release(self._ticket, "the upstream answered with an error")
        else:
            usage, estimated = _usage(self._ticket, answer)
            self._settling.commit(self._ticket, usage, estimated=estimated, model=self._other_model(answer))

    def _other_model(self, answer: Answer) -> str:
        """The model that answered, where it is not the granted one by another name."""
        asked = self._ticket.model
        is_same = answer.model.startswith(asked) and _SAME_MODEL.fullmatch(answer.model[len(asked) :])
        return "" if is_same else answer.model

    def _soon(self) -> asyncio.TimerHandle:
        """While the answer is under way the hold lives: half its time is left when it is extended."""
        return asyncio.get_running_loop().call_later(self._ticket.ttl_ms / 2_000, self._extend)

    def _extend(self) -> None:
        self._settling.extend(self._ticket)
        self._extension = self._soon()


def _is_blank(ticket: Ticket, answer: Answer, end: End) -> bool:
    """Whether an answer that was whole tells nothing of what it used: not by numbers, nor by a text."""
    said = answer.usage is not None or answer.output_tokens > 0 or answer.is_error
    return ticket.kind.has_output and end is End.WHOLE and not said


def _usage(ticket: Ticket, answer: Answer) -> tuple[Usage, bool]:
    """What is charged, and whether it is an estimate: the provider's numbers where they are its last; never
    less than what has come where they may be those of a beginning, after which it broke off or failed.
    """
    said = answer.usage
    if said is None:
        return Usage(input_tokens=ticket.input_tokens, output_tokens=answer.output_tokens), True
    if answer.has_ended and not (answer.is_error and said.output_tokens < answer.output_tokens):
        return said, False
    return said._replace(output_tokens=max(said.output_tokens, answer.output_tokens)), True
