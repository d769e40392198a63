"""Opens windows that begin with something: each is one run of one script."""

from __future__ import annotations

from typing import NamedTuple, assert_never, cast

from quota_service.domain.ledger import LimitChange, hold_of_changes, key_of_rollover
from quota_service.domain.opening import (
    Beginning,
    BeginningUnknown,
    Carried,
    FromLedger,
    FromPrevious,
    Open,
    OpenAnswer,
    Opened,
)
from quota_service.stores import hold_documents
from quota_service.stores.places import place_of
from quota_service.stores.valkey import codec, replies, scripts
from quota_service.stores.valkey.codec import Body
from quota_service.stores.valkey.runner import Runner
from quota_service.stores.valkey.scripts import Code
from quota_service.stores.valkey.terms import encode_limits


class ValkeyWindowStore:
    """Implements `WindowStore`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._keys = runner.keys

    async def open(self, command: Open) -> OpenAnswer:
        organization, window = command.basis.organization, command.term.window
        beginning, key = command.beginning, key_of_rollover(window)
        hold = hold_of_changes(organization, (LimitChange(window),))
        # What is carried is worked out once: whatever entry comes first stands, and any other repeats it.
        body = Body(key=key, content_hash=key)
        previous = beginning.window if isinstance(beginning, FromPrevious) else window
        keys = (
            self._keys.window(organization, window),
            self._keys.values(organization, window),
            self._keys.window(organization, previous),
        )
        arguments = (
            *replies.basis(command.basis),
            codec.pack(place_of(command.term.window, command.term.keeping)),
            *_encoded(beginning),
            hold_documents.encode_document(hold),
            hold_documents.encode_live(hold),
            codec.encode_body(body),
        )
        reply = await self._runner.run(organization, scripts.OPEN, keys, arguments)
        match reply[0]:
            case Code.OK:
                return Opened(
                    now_ms=reply[1],
                    counters=codec.decode_counters(reply[2]),
                    event=replies.event(reply[3:6], hold, body),
                )
            case Code.REPLAYED:
                return Opened(now_ms=reply[1], counters=codec.decode_counters(reply[2]), replayed=True)
            case Code.UNKNOWN:
                return BeginningUnknown(now_ms=reply[1])
            case _:
                return cast(OpenAnswer, replies.refusal(reply))


class _Encoded(NamedTuple):
    """A beginning as the script takes it."""

    kind: str
    content: bytes = b""
    in_ledger: str = "0"


def _encoded(beginning: Beginning | None) -> _Encoded:
    match beginning:
        case FromLedger():
            return _Encoded("ledger", codec.pack(beginning))
        case Carried(amounts=amounts, in_ledger=in_ledger):
            return _Encoded("carried", codec.pack(amounts), "1" if in_ledger else "0")
        case FromPrevious(remainder=remainder):
            return _Encoded("previous", codec.pack([encode_limits(limits) for limits in remainder]))
        case None:
            return _Encoded("unknown")
        case _:
            assert_never(beginning)
