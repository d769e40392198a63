"""Asks for decisions: one run of a script for all that are asked for at once, in the order of asking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from quota_service.domain import commands
from quota_service.domain.terms import Basis, Terms
from quota_service.stores.valkey import replies, scripts, terms
from quota_service.stores.valkey.granting import authorized
from quota_service.stores.valkey.runner import Arguments, Runner
from quota_service.stores.valkey.scripts import Code
from quota_service.stores.valkey.terms import EncodedTerms
from quota_service.stores.valkey.together import Together


class Authorizing:
    """Authorizes of an organization that rest on the same are decided together."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._keys = runner.keys
        self._together = Together(self._decided)
        self._encoded: WeakKeyDictionary[Terms, EncodedTerms] = WeakKeyDictionary()

    async def authorize(self, command: commands.Authorize) -> commands.AuthorizeAnswer:
        """What Valkey decides."""
        kind = (command.basis.organization, command.basis.version)
        return authorized(command, await self._together.ask(kind, command))

    async def _decided(self, asked: Sequence[commands.Authorize]) -> Sequence[list[Any]]:
        runner, basis = self._runner, _common([command.basis for command in asked])
        keys, arguments = self._encode(basis, asked)
        reply = await runner.run(
            basis.organization, scripts.AUTHORIZE, keys, arguments, patience_s=runner.settings.patience_s
        )
        if reply[0] != Code.OK:
            return [reply] * len(asked)
        _, now_ms, epoch, *own = reply
        return [[each[0], now_ms, epoch, *each[1:]] for each in own]

    def _encode(self, basis: Basis, asked: Sequence[commands.Authorize]) -> tuple[tuple[str, ...], Arguments]:
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


def _common(bases: Sequence[Basis]) -> Basis:
    """What several decisions rest on together. Where that time is over, each is worked out anew."""
    ends = [basis.until_ms for basis in bases if basis.until_ms is not None]
    return replace(
        bases[0], from_ms=max(basis.from_ms for basis in bases), until_ms=min(ends) if ends else None
    )
