"""The store that decides: each command is one run of one script, or part of one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, cast

from quota_service.application.ports import Page
from quota_service.domain import commands
from quota_service.domain.amounts import NOTHING
from quota_service.domain.errors import PageTokenInvalid
from quota_service.domain.reservation import Hold, Settlement, State, recorded
from quota_service.stores import hold_documents
from quota_service.stores.valkey import codec, replies, scripts, terms
from quota_service.stores.valkey.authorizing import Authorizing
from quota_service.stores.valkey.codec import Body
from quota_service.stores.valkey.committing import Committing
from quota_service.stores.valkey.events import REMEMBER_MS, event_of
from quota_service.stores.valkey.runner import SWEEP_BATCH, Arguments, Runner
from quota_service.stores.valkey.scripts import Code, Script


class ValkeyHoldStore:
    """Implements `HoldStore`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._connection = runner.connection
        self._keys = runner.keys
        self._authorizing, self._committing = Authorizing(runner), Committing(runner)

    def now_ms(self) -> int:
        return self._runner.now_ms()

    async def authorize(self, command: commands.Authorize) -> commands.AuthorizeAnswer:
        return await self._authorizing.authorize(command)

    async def commit(self, command: commands.Commit) -> commands.CommitAnswer:
        return await self._committing.commit(command)

    async def release(self, command: commands.Release) -> commands.ReleaseAnswer:
        body = Body(reason=command.reason)
        arguments = (codec.encode_body(body),)
        reply = await self._run_on_hold(scripts.RELEASE, command.organization, command.reservation, arguments)
        if reply[0] not in (Code.OK, Code.REPLAYED):
            return cast(commands.ReleaseAnswer, replies.refusal(reply))
        hold = hold_documents.decode_hold(reply[2], reply[3])
        return commands.Settled(
            now_ms=reply[1],
            hold=hold,
            settlement=Settlement(NOTHING, codec.decode_amounts(reply[4]), NOTHING),
            counters=replies.counters(reply[8:]),
            replayed=reply[0] == Code.REPLAYED,
            event=replies.event(reply[5:8], hold, body),
        )

    async def extend(self, command: commands.Extend) -> commands.ExtendAnswer:
        organization = command.basis.organization
        encoded = terms.encode_terms(self._keys, organization, command.terms)
        body = Body(request_id=command.request_id, content_hash=command.content_hash)
        arguments = (
            *replies.basis(command.basis),
            command.request_id,
            command.content_hash,
            command.ttl_ms,
            command.additional_output_tokens,
            encoded.terms,
            encoded.rates,
            codec.encode_body(body),
        )
        keys = (self._keys.hold(organization, command.reservation), *encoded.gauge_keys)
        reply = await self._run(organization, scripts.EXTEND, keys, arguments)
        if reply[0] == Code.DENIED:
            return replies.denied(reply[1], reply[2], reply[3:], command.terms)
        if reply[0] not in (Code.OK, Code.REPLAYED):
            return cast(commands.ExtendAnswer, replies.refusal(reply))
        hold = hold_documents.decode_hold(reply[2], reply[3])
        return commands.Granted(
            now_ms=reply[1],
            hold=hold,
            counters=replies.counters(reply[7:]),
            replayed=reply[0] == Code.REPLAYED,
            event=replies.event(reply[4:7], hold, body),
        )

    async def record(self, command: commands.Record) -> commands.RecordAnswer:
        draft, organization = command.hold, command.basis.organization
        body = Body(
            key=command.key,
            content_hash=command.content_hash,
            usage=command.usage,
            occur_ms=command.occur_ms,
        )
        marker = self._keys.record(organization, command.key)
        doc = hold_documents.encode_document(draft)
        arguments = (
            command.basis.version,
            command.content_hash,
            codec.pack(command.charged),
            command.cost_pico,
            doc,
            codec.encode_body(body),
        )
        windows = tuple(self._keys.window(organization, window) for window in draft.windows)
        reply = await self._run(organization, scripts.RECORD, (marker, *windows), arguments)
        if reply[0] == Code.REPLAYED:
            return commands.Recorded(now_ms=reply[1], replayed=True)
        if reply[0] != Code.OK:
            return cast(commands.RecordAnswer, replies.refusal(reply))
        record = codec.decode_event(reply[3])
        hold = recorded(
            draft,
            charged=record.charged,
            charged_pico=record.pico,
            at_ms=record.at_ms,
            content_hash=command.content_hash,
        )
        event = event_of(reply[2], record, hold, body, reply[4])
        return commands.Recorded(now_ms=reply[1], counters=replies.counters(reply[5:]), event=event)

    async def inspect(self, command: commands.Inspect, *, is_urgent: bool = False) -> commands.InspectAnswer:
        organization = command.basis.organization
        windows = tuple(self._keys.window(organization, term.window) for term in command.terms)
        openings = codec.pack([term.opening for term in command.terms])
        arguments = (*replies.basis(command.basis), openings)
        patience_s = self._runner.settings.patience_s if is_urgent else None
        reply = await self._runner.run(
            organization, scripts.INSPECT, windows, arguments, patience_s=patience_s
        )
        if reply[0] != Code.OK:
            return cast(commands.InspectAnswer, replies.refusal(reply))
        return commands.Inspected(now_ms=reply[1], counters=replies.counters(reply[2:]))

    async def get(self, organization: str, reservation: str) -> Hold | None:
        reply = await self._run_on_hold(scripts.GET, organization, reservation, ())
        return hold_documents.decode_hold(reply[2], reply[3]) if reply[0] == Code.OK else None

    async def live(self, organization: str, after: str, count: int) -> Page[Hold]:
        while await self.sweep(organization) == SWEEP_BATCH:
            pass
        found = await self.indexed(organization, after, count)
        holds = await self.peek(organization, [reservation for _, reservation in found])
        next_ = f"{found[-1][0]} {found[-1][1]}" if len(found) == count else ""
        return Page(tuple([hold for hold in holds if hold.state is State.HELD]), next_)

    def place(self, hold: Hold) -> str:
        return f"{hold.expire_ms} {hold.reservation}"

    async def indexed(self, organization: str, after: str, count: int) -> list[tuple[int, str]]:
        """The next live holds behind a place (`<expiry> <reservation>`): expiry and reservation. Those of one
        expiry may fill several reads.
        """
        start, _, last = after.partition(" ")
        if after and not (start.isascii() and start.isdigit()):
            raise PageTokenInvalid
        fresh: list[tuple[int, str]] = []
        for offset in itertools.count(0, count):
            found = await self._connection.call(
                "ZRANGE",
                self._keys.holds(organization),
                start or "-inf",
                "+inf",
                "BYSCORE",
                "LIMIT",
                offset,
                count,
                "WITHSCORES",
            )
            pairs = [(int(score), id_.decode()) for id_, score in zip(found[::2], found[1::2], strict=True)]
            fresh += [pair for pair in pairs if not after or pair > (int(start), last)]
            if len(fresh) >= count or len(pairs) < count:
                break
        return fresh[:count]

    async def peek(self, organization: str, reservations: Sequence[str]) -> list[Hold]:
        """Those of some holds that are there, as they stand, even if their time is over."""
        meta = self._keys.common(organization)[0]
        keys = [self._keys.hold(organization, reservation) for reservation in reservations]
        found = await self._connection.run(scripts.PEEK, (meta, *keys), ())
        return [hold_documents.decode_hold(*parts) for parts in found if parts is not None]

    def epoch_of(self, organization: str) -> int:
        return self._runner.epoch_of(organization)

    async def restore(self, hold: Hold, epoch: int) -> None:
        organization = hold.organization
        arguments = (hold_documents.encode_document(hold), hold_documents.encode_live(hold), REMEMBER_MS)
        key = self._keys.hold(organization, hold.reservation)
        await self._runner.run(organization, scripts.RESTORE, (key,), arguments, epoch=epoch)

    async def sweep(self, organization: str) -> int:
        return await self._runner.sweep(organization, forgets=True)

    async def publish_version(self, organization: str, version: int) -> None:
        await self._run(organization, scripts.PUBLISH, (), (version,))

    async def _run_on_hold(
        self, script: Script, organization: str, reservation: str, arguments: Arguments
    ) -> list[Any]:
        return await self._run(organization, script, (self._keys.hold(organization, reservation),), arguments)

    async def _run(
        self, organization: str, script: Script, keys: tuple[str, ...], arguments: Arguments
    ) -> list[Any]:
        return await self._runner.run(organization, script, keys, arguments)
