"""A client that writes down what it was told, and sometimes asks again, as if it had not been."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from google.protobuf.message import Message

from quota.client import Connection
from quota.v1 import quota_pb2, types_pb2
from tests.chaos.calls import Answer, Caller
from tests.chaos.essence import essence
from tests.chaos.journal import Granted, Journal, Refused, Unlike

SETTLE_S = 7.0  # an answer may wait 5 s for the ledger
REPEATED_PERCENT = 15
CLOSE_TO_EXPIRY_S = 0.25


class Client:
    """Asks through a caller."""

    def __init__(self, caller: Caller, journal: Journal, random: Random) -> None:
        self.caller = caller
        self._journal = journal
        self._random = random

    async def ask(
        self,
        verb: str,
        key: str,
        method: Callable[[Connection], Any],
        request: Message,
        granted: Granted | None = None,
        expected: tuple[str, ...] = (),
    ) -> Answer | None:
        """The answer; an error that is none of those expected is written down. Some ask twice."""
        answer = await self.caller.ask(verb, key, method, request, timeout_s=SETTLE_S)
        if answer is None:
            return None
        if answer.error is not None:
            over = granted is not None and answer.at_s > granted.expire_s - CLOSE_TO_EXPIRY_S
            # What was granted without Valkey holds nothing that an Extend could add to.
            over = over or (granted is not None and granted.degraded and verb == "Extend")
            fits = answer.error.reason in expected or (over and answer.error.reason == "RESERVATION_ENDED")
            if not fits:
                self.refused(verb, key, answer, granted)
            return answer
        safe = getattr(answer.message, "durability", 0) == types_pb2.DURABILITY_LEDGER
        await self.again(verb, key, method, request, answer, excusable=not safe)
        return answer

    async def again(
        self,
        verb: str,
        key: str,
        method: Callable[[Connection], Any],
        request: Message,
        first: Answer,
        *,
        excusable: bool,
    ) -> None:
        """Some clients never saw the answer: they ask the same again, of any server."""
        if self._random.randrange(100) >= REPEATED_PERCENT:
            return
        again = await self.caller.ask(verb, key, method, request, timeout_s=SETTLE_S, attempts=20)
        if again is None or (again.error is not None and again.error.reason == "RESERVATION_ENDED"):
            return  # nobody answered in time, or the hold is over by now
        if _tells_of_an_outage(again):
            return
        self._journal.repeats[verb] += 1
        was = essence(request, first.message)
        is_ = again.error_text or essence(request, again.message)
        if was != is_:
            self._journal.tell(
                Unlike(
                    verb=verb,
                    key=key,
                    first=was,
                    again=is_,
                    excusable=excusable,
                    outage=_is_degraded(first) != _is_degraded(again),
                    from_s=first.asked_s,
                    at_s=again.at_s,
                )
            )

    def refused(self, verb: str, key: str, answer: Answer, granted: Granted | None = None) -> None:
        assert answer.error is not None
        forgotten = ("RESERVATION_NOT_FOUND", "RESERVATION_ENDED")
        self._journal.tell(
            Refused(
                verb=verb,
                key=key,
                error=answer.error_text,
                excusable=granted is not None and answer.error.reason in forgotten,
                from_s=granted.asked_s if granted is not None else answer.asked_s,
                at_s=answer.at_s,
            )
        )


def _tells_of_an_outage(answer: Answer) -> bool:
    """A denial because a store is away says nothing about the reservation that there is."""
    if not isinstance(answer.message, quota_pb2.AuthorizeResponse):
        return False
    reasons = {violation.reason for violation in answer.message.violations}
    return reasons == {types_pb2.REASON_STORE_UNAVAILABLE}


def _is_degraded(answer: Answer) -> bool:
    return isinstance(answer.message, quota_pb2.AuthorizeResponse) and answer.message.reservation.degraded
