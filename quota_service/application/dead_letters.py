"""Entries that the ledger has refused: looked at, and replayed once the cause is removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quota_service.application import authorship
from quota_service.application.dead_letter_ports import DeadLetter, DeadLetterStore
from quota_service.application.ledger_ports import WindowBalance, Written
from quota_service.application.ports import Page
from quota_service.application.writing import Observer, Watch
from quota_service.domain.errors import StoreUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What became of a dead letter. It is gone once the ledger has its key: NEW by now; REPLAYED: it had been
    written; CONFLICT: the key has other content, which stands; VOID: it would return what was charged since.

    `written` `None`: the ledger refuses it still, or there is no such dead letter; `error` tells.
    """

    id: str
    written: Written | None = None
    error: str = ""


class DeadLetters:
    """The use case. Everything raises StoreUnavailable."""

    def __init__(self, store: DeadLetterStore, watch: Watch, observer: Observer) -> None:
        self._store = store
        self._watch = watch
        self._observer = observer

    async def list(self, organization: str, page_size: int, after: str) -> Page[DeadLetter]:
        """The oldest first. `after`: `next` of the page before; "" at the beginning."""
        return await self._store.list(organization, page_size, after)

    async def count(self) -> int:
        """Of all organizations."""
        return await self._store.count()

    async def replay(self, organization: str, ids: Sequence[str]) -> Sequence[Replayed]:
        """Writes dead letters into the ledger, each exactly once however often it is asked for. No ids: all
        of the organization, the oldest first.
        """
        chosen = list(dict.fromkeys(ids)) or await self._store.ids(organization)
        return [await self._replay(organization, id_) for id_ in chosen]

    async def _replay(self, organization: str, id_: str) -> Replayed:
        try:
            result = await self._store.write(organization, id_, authorship.current())
        except StoreUnavailable:
            raise
        except Exception as error:  # whatever it is, the dead letter stays
            reason = self._store.reason_of(error)
            await self._store.refused_again(organization, id_, reason)
            return Replayed(id=id_, error=reason)
        if result is None:
            return Replayed(id=id_, error=f"There is no dead letter {id_}: it may have been replayed.")
        await self._show(result.balances)
        return Replayed(id=id_, written=result.results[0])

    async def _show(self, balances: Sequence[WindowBalance]) -> None:
        try:
            await self._watch.charged(balances)
        except StoreUnavailable as error:  # the entry is written; the window's next charge is looked at
            self._observer.work_failed("alerts of a dead letter", error)
