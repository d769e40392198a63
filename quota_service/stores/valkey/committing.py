"""Asks for settlements: one run of a script for all that are asked for at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from quota_service.domain import commands
from quota_service.domain.reservation import Settlement
from quota_service.stores import hold_documents
from quota_service.stores.valkey import codec, replies, scripts
from quota_service.stores.valkey.codec import Body
from quota_service.stores.valkey.runner import Runner
from quota_service.stores.valkey.scripts import Code
from quota_service.stores.valkey.together import Together

_OWN_PRICE_ALLOWED = {None: "", True: "1", False: "0"}


class Committing:
    """Commits of an organization are carried out together."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._together = Together(self._committed)

    async def commit(self, command: commands.Commit) -> commands.CommitAnswer:
        """What Valkey makes of it."""
        body = Body(
            content_hash=command.content_hash,
            usage=command.usage,
            usage_estimated=command.usage_estimated,
            provider=command.provider,
            model=command.model,
        )
        reply = await self._together.ask(command.organization, (command, body))
        if reply[0] not in (Code.OK, Code.REPLAYED):
            return cast(commands.CommitAnswer, replies.refusal(reply))
        code, now_ms, doc, live, charged, returned, overrun, late, *event, windows = reply
        hold = hold_documents.decode_hold(doc, live)
        return commands.Settled(
            now_ms=now_ms,
            hold=hold,
            settlement=Settlement(*map(codec.decode_amounts, (charged, returned, overrun))),
            counters=replies.counters(windows),
            late=bool(late),
            replayed=code == Code.REPLAYED,
            event=replies.event(event, hold, body),
        )

    async def _committed(self, asked: Sequence[tuple[commands.Commit, Body]]) -> Sequence[list[Any]]:
        organization = asked[0][0].organization
        keys = tuple([self._runner.keys.hold(organization, command.reservation) for command, _ in asked])
        arguments: list[str | bytes | int] = []
        for command, body in asked:
            arguments += (
                codec.encode_usage(command.usage),
                command.content_hash,
                "1" if command.keep_open else "0",
                codec.encode_rates(command.rates) if command.rates is not None else "",
                _OWN_PRICE_ALLOWED[command.own_price_allowed],
                codec.encode_body(body),
            )
        reply = await self._runner.run(organization, scripts.COMMIT, keys, tuple(arguments))
        if reply[0] != Code.OK:
            return [reply] * len(asked)
        _, now_ms, *own = reply
        return [[each[0], now_ms, *each[1:]] for each in own]
