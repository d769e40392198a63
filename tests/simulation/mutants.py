"""The product with one mechanism taken out, to see that the auditor misses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from quota_service.application.requests import Durability
from quota_service.application.writing import LedgerWriter
from tests.simulation.replica import Replica
from tests.simulation.run import Mutant
from tests.simulation.switches import Switches


class _AcknowledgesFirst(LedgerWriter):
    """Removes events from the stream, and answers that the ledger has them, before it has."""

    async def _write(self, batch: Sequence[Any]) -> bool:
        for pending in batch:
            if pending.told is not None and not pending.told.done():
                pending.told.set_result(Durability.LEDGER)
        for pending in batch:
            await self._events.acknowledge(pending.event.entry.hold.organization, [pending.event])
        return await super()._write(list(batch))


class _HastyReplica(Replica):
    writer_type = _AcknowledgesFirst


MUTANTS: Mapping[str, Callable[[], Mutant]] = {
    "no-idempotency": lambda: Mutant(unique_keys=False),
    "forgets-keys": lambda: Mutant(switches=Switches(forgets_keys=True)),
    "add-on-rebuild": lambda: Mutant(switches=Switches(adds_on_rebuild=True)),
    "acknowledge-first": lambda: Mutant(replica=_HastyReplica),
    "retries-scripts": lambda: Mutant(retries_scripts=True),
    "keeps-ended": lambda: Mutant(switches=Switches(keeps_ended=True)),
    "no-fence": lambda: Mutant(switches=Switches(fenced=False)),
}
