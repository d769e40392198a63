"""Entries of the ledger."""

from __future__ import annotations

from quota.v1 import report_pb2, types_pb2
from quota_service.application.ledger_ports import LedgerFilter, LedgerRow
from quota_service.domain.errors import FieldProblem, InvalidRequest
from quota_service.domain.ledger import Entry, EntryType, LimitChange
from quota_service.domain.pricing import Usage, cost_pico, exact_usd
from quota_service.domain.subject import Subject
from quota_service.edge import names
from quota_service.edge.convert import amounts
from quota_service.edge.convert.subject import subject
from quota_service.edge.convert.times import border, milliseconds, timestamp

SYSTEM = "system"
_HOLDS = (EntryType.HOLD, EntryType.EXTEND)


def ledger_entry(organization: str, row: LedgerRow) -> report_pb2.LedgerEntry:
    """An entry as a message. One that is not in the ledger yet (`id` 0) has no name and no create_time."""
    entry = row.entry
    hold = entry.hold
    return report_pb2.LedgerEntry(
        name=names.resource_name(organization, names.LEDGER_ENTRIES, str(row.id)) if row.id else "",
        type=report_pb2.LedgerEntry.Type.Value(f"TYPE_{entry.type}"),
        reservation=_reservation(organization, entry),
        subject=subject(hold.subject),
        cost_center=hold.subject.cost_center,
        provider=entry.provider or hold.provider,
        model=entry.model or hold.model,
        usage=_usage(entry),
        usage_estimated=entry.usage_estimated,
        exact_cost_usd=_exact_cost_usd(entry),
        charged=amounts.some_amounts(entry.charged),
        overrun=amounts.some_amounts(entry.overrun),
        late=entry.late,
        degraded=hold.degraded,
        windows=_windows(organization, entry),
        actor=entry.actor or (SYSTEM if entry.type is EntryType.EXPIRE else ""),
        reason=entry.reason,
        occur_time=timestamp(entry.occur_ms or entry.at_ms),
        create_time=timestamp(row.create_ms) if row.id else None,
    )


def filter_of(request: report_pb2.ListLedgerEntriesRequest, organization: str) -> LedgerFilter:
    """The filter of a request. Raises NameMalformed, and InvalidRequest for another organization's names."""
    return LedgerFilter(
        subject=Subject(
            team=request.team, user=request.user, api_key=request.api_key, project=request.project
        ),
        reservation=_id_of(request.reservation, names.RESERVATIONS, "reservation", organization),
        type=_type_of(request.type),
        budget=_id_of(request.source, names.BUDGETS, "source", organization),
        from_ms=milliseconds(request.start_time) if request.HasField("start_time") else None,
        until_ms=milliseconds(request.end_time) if request.HasField("end_time") else None,
    )


def written_by_this_version(type_: report_pb2.LedgerEntry.Type.ValueType) -> bool:
    """Whether there can be entries of a type at all."""
    return type_ == report_pb2.LedgerEntry.TYPE_UNSPECIFIED or _type_of(type_) is not None


def _id_of(name: str, collection: str, field: str, organization: str) -> str:
    if not name:
        return ""
    named, id_ = names.parse(name, collection, field)
    if named != organization:
        raise InvalidRequest(
            FieldProblem(field, f"is not of organization “{organization}”, whose entries these are")
        )
    return id_


def _type_of(type_: report_pb2.LedgerEntry.Type.ValueType) -> EntryType | None:
    name = report_pb2.LedgerEntry.Type.Name(type_).removeprefix("TYPE_")
    return EntryType(name) if name in EntryType.__members__ else None


def _reservation(organization: str, entry: Entry) -> str:
    if entry.type is EntryType.RECORD or not entry.hold.reservation:
        return ""
    return names.resource_name(organization, names.RESERVATIONS, entry.hold.reservation)


def _estimate(entry: Entry) -> Usage:
    hold = entry.hold
    return Usage(
        input_tokens=hold.input_tokens,
        output_tokens=hold.granted_output_tokens,
        cost_micros=hold.own_cost_micros,
    )


def _usage(entry: Entry) -> types_pb2.Usage | None:
    if entry.type in _HOLDS:
        return amounts.usage(_estimate(entry))
    return None if entry.usage is None else amounts.usage(entry.usage)


def _exact_cost_usd(entry: Entry) -> str:
    pico = cost_pico(entry.hold.rates, _estimate(entry)) if entry.type in _HOLDS else entry.cost_pico
    return f"{exact_usd(pico).normalize():f}"


def _windows(organization: str, entry: Entry) -> list[report_pb2.WindowCharge]:
    if entry.changes:
        return [_limit_change(organization, change) for change in entry.changes]
    charged = amounts.some_amounts(entry.charged)
    return [
        report_pb2.WindowCharge(
            source=names.resource_name(organization, names.BUDGETS, window.budget),
            each_value=window.each_value,
            window_start=border(window.start_ms),
            charged=charged,
        )
        for window in entry.hold.windows
    ]


def _limit_change(organization: str, change: LimitChange) -> report_pb2.WindowCharge:
    window = change.window
    return report_pb2.WindowCharge(
        source=names.resource_name(organization, names.BUDGETS, window.budget),
        each_value=window.each_value,
        window_start=border(window.start_ms),
        limit_change=amounts.amounts(change.amounts),
        limit_change_end_time=border(change.until_ms),
    )
