"""Authorizes that are asked for in one turn of the event loop: decided by one run of one script, in the order
in which they were asked for.

Where many come at once, most are of a few kinds. What limits a kind is told, read and written once for all of
them.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from quota_service.domain import commands
from quota_service.domain.terms import Basis, Terms
from quota_service.stores.valkey import replies, scripts, terms
from quota_service.stores.valkey.granting import authorized
from quota_service.stores.valkey.runner import Arguments, Runner
from quota_service.stores.valkey.scripts import Code
from quota_service.stores.valkey.terms import EncodedTerms

TOGETHER_MAX = 64
"""What one script decides: a millisecond or two of the server's time."""


class _Asked(NamedTuple):
    command: commands.Authorize
    answer: asyncio.Future[list[Any]]


class Authorizing:
    """Asks for decisions."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._keys = runner.keys
        self._gathered: dict[tuple[object, ...], list[_Asked]] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._encoded: WeakKeyDictionary[Terms, EncodedTerms] = WeakKeyDictionary()

    async def authorize(self, command: commands.Authorize) -> commands.AuthorizeAnswer:
        """What Valkey decides. The command may be carried out although its caller is cancelled."""
        basis, loop = command.basis, asyncio.get_running_loop()
        together = (basis.organization, basis.version, basis.from_ms, basis.until_ms)
        gathered = self._gathered.get(together)
        if gathered is None or len(gathered) == TOGETHER_MAX:
            gathered = self._gathered[together] = []
            task = loop.create_task(self._decide(basis, together, gathered))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        answer: asyncio.Future[list[Any]] = loop.create_future()
        gathered.append(_Asked(command, answer))
        return authorized(command, await answer)

    async def _decide(self, basis: Basis, together: tuple[object, ...], asked: list[_Asked]) -> None:
        """Begins when all that was ready has had its turn, and so all of these have been asked for."""
        if self._gathered.get(together) is asked:
            del self._gathered[together]
        try:
            organization = basis.organization
            keys, arguments = self._encode(basis, [each.command for each in asked])
            patience_s = self._runner.settings.patience_s
            reply = await self._runner.run(
                organization, scripts.AUTHORIZE, keys, arguments, patience_s=patience_s
            )
        except BaseException as error:
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(error)
                    answer.exception()  # retrieved: its caller may have gone
            if not isinstance(error, Exception):
                raise
            return
        whole = reply[0] != Code.OK
        for (_, answer), own in zip(asked, [reply] * len(asked) if whole else reply[3:], strict=True):
            if not answer.done():
                answer.set_result(reply if whole else [own[0], reply[1], reply[2], *own[1:]])

    def _encode(self, basis: Basis, asked: list[commands.Authorize]) -> tuple[tuple[str, ...], Arguments]:
        organization = basis.organization
        kinds: dict[Terms, int] = {}
        own_keys: list[str] = []
        requests: list[str | bytes | int] = [len(asked)]
        for command in asked:
            draft = command.alternatives[0].hold
            own_keys += (
                self._keys.idempotency(organization, draft.idempotency_key),
                self._keys.hold(organization, draft.reservation),
            )
            alternatives = () if command.refused else command.alternatives
            requests += (
                "refused" if command.refused else "dry" if command.dry_run else "hold",
                draft.content_hash,
                command.ttl_ms,
                len(alternatives),
            )
            for each in alternatives:
                requests += (kinds.setdefault(each.terms, len(kinds) + 1), *terms.encode_alternative(each))
        writes = any(not (command.refused or command.dry_run) for command in asked)
        shared: list[str | bytes | int] = [*replies.basis(basis), int(writes), len(kinds)]
        keys: dict[str, None] = {}
        for kind in kinds:
            encoded = self._shared(organization, kind)
            keys |= dict.fromkeys(encoded.keys)
            shared += (encoded.places, encoded.terms, encoded.rates)
        return (*own_keys, *keys), (*shared, *requests)

    def _shared(self, organization: str, shared: Terms) -> EncodedTerms:
        """The terms of a moment, which every call of a kind shares: encoded once, for as long as they are."""
        encoded = self._encoded.get(shared)
        if encoded is None:
            encoded = self._encoded[shared] = terms.encode_terms(self._keys, organization, shared)
        return encoded
