"""What the lists of a report show of something that is in sight: not what it says of what is not."""

from __future__ import annotations

from dataclasses import replace

from quota_service.application.alert_ports import DenialCount, StoredAlert
from quota_service.application.ledger_ports import LedgerRow
from quota_service.domain.sight import Sight
from quota_service.domain.subject import Subject


def entry(row: LedgerRow, sight: Sight) -> LedgerRow:
    """Without windows of other budgets that it was charged to."""
    hold = row.entry.hold
    windows = tuple([window for window in hold.windows if sight.sees(f"budgets/{window.budget}")])
    if len(windows) == len(hold.windows):
        return row
    return replace(row, entry=replace(row.entry, hold=replace(hold, windows=windows, keepings=())))


def alert(stored: StoredAlert, sight: Sight) -> StoredAlert:
    """Without a request that a user made for another team."""
    if sight.sees_subject(stored.alert.subject):
        return stored
    return replace(stored, alert=replace(stored.alert, subject=Subject()))


def denial(count: DenialCount, sight: Sight) -> DenialCount:
    """Without another's limit, which the message tells of, too."""
    if sight.sees(count.key.source):
        return count
    return replace(count, key=count.key._replace(source=""), message="")
