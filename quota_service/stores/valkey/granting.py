"""What an Authorize script answered."""

from __future__ import annotations

from typing import Any, cast

from quota_service.domain import commands, reservation
from quota_service.stores import hold_documents
from quota_service.stores.valkey import replies
from quota_service.stores.valkey.events import hold_event
from quota_service.stores.valkey.scripts import Code


def authorized(command: commands.Authorize, reply: list[Any]) -> commands.AuthorizeAnswer:
    """The answer of a reply to a command: code, time and epoch, then what there is of the code. What all
    requests were answered together has no epoch.
    """
    now_ms = reply[1]
    match reply[0]:
        case Code.OK:
            return _granted(command, reply)
        case Code.REPLAYED:
            hold = hold_documents.decode_hold(reply[3], reply[4])
            return commands.Granted(
                now_ms=now_ms, hold=hold, counters=replies.counters(reply[5]), replayed=True
            )
        case Code.DENIED:
            return replies.denied(now_ms, reply[3], reply[4:], command.alternatives[0].terms)
        case Code.REFUSED:
            return commands.Refused(now_ms=now_ms)
        case _:
            return cast(commands.AuthorizeAnswer, replies.refusal(reply))


def _granted(command: commands.Authorize, reply: list[Any]) -> commands.Granted:
    _, now_ms, epoch, expire_ms, event_id, size_bytes, choice, output_tokens, windows, passed_over = reply
    hold = reservation.grant(command.alternatives[choice].hold, output_tokens)
    event = None
    if not command.dry_run:
        hold = hold_documents.granted(hold, now_ms, expire_ms)
        event = hold_event(event_id, hold, epoch, size_bytes)
    return commands.Granted(
        now_ms=now_ms,
        hold=hold,
        counters=replies.counters(windows),
        choice=choice,
        passed_over=(
            replies.denied(now_ms, 0, passed_over, command.alternatives[0].terms) if choice else None
        ),
        event=event,
    )
