"""Findings, drift and dead letters."""

from __future__ import annotations

from collections.abc import Sequence

from quota.v1 import operations_pb2 as pb
from quota.v1 import types_pb2
from quota_service.application.dead_letter_ports import DeadLetter
from quota_service.application.dead_letters import Replayed
from quota_service.application.ledger_ports import Written
from quota_service.application.operations.drift import (
    HoldDrift,
    Progress,
    Summary,
    Told,
    WindowDrift,
)
from quota_service.application.operations.findings import Finding
from quota_service.edge import names
from quota_service.edge.convert.amounts import some_amounts
from quota_service.edge.convert.times import timestamp

_RESULTS = {
    Written.NEW: pb.ReplayedDeadLetter.RESULT_WRITTEN,
    Written.REPLAYED: pb.ReplayedDeadLetter.RESULT_ALREADY_WRITTEN,
    Written.CONFLICT: pb.ReplayedDeadLetter.RESULT_CONFLICT,
    Written.VOID: pb.ReplayedDeadLetter.RESULT_VOID,
    None: pb.ReplayedDeadLetter.RESULT_REFUSED,
}


def diagnosis(findings: Sequence[Finding]) -> pb.Diagnosis:
    """All findings as a message. The domain's levels, here and below its other enums, have the contract's
    numbers.
    """
    return pb.Diagnosis(
        level=max(each.level for each in findings),  # type: ignore[arg-type]
        findings=[_finding(each) for each in findings],
    )


def reconcile_response(organization: str, told: Told) -> pb.ReconcileResponse:
    """A message of the stream."""
    match told:
        case Progress():
            return pb.ReconcileResponse(progress=_progress(told))
        case WindowDrift():
            return pb.ReconcileResponse(drift=_window_drift(organization, told))
        case HoldDrift():
            return pb.ReconcileResponse(drift=_hold_drift(organization, told))
        case Summary():
            return pb.ReconcileResponse(summary=_summary(told))


def dead_letter(organization: str, letter: DeadLetter) -> pb.DeadLetter:
    """A dead letter as a message."""
    entry = letter.entry
    return pb.DeadLetter(
        name=names.resource_name(organization, names.DEAD_LETTERS, letter.id),
        type=entry.type.value,
        ledger_key=entry.key,
        reservation=_reservation(organization, entry.hold.reservation),
        charged=some_amounts(entry.charged),
        tries=letter.tries,
        error=letter.error,
        create_time=timestamp(letter.create_ms),
        try_time=timestamp(letter.try_ms),
    )


def replayed(organization: str, result: Replayed) -> pb.ReplayedDeadLetter:
    """What became of a dead letter as a message."""
    return pb.ReplayedDeadLetter(
        name=names.resource_name(organization, names.DEAD_LETTERS, result.id),
        result=_RESULTS[result.written],
        error=result.error,
    )


def _finding(finding: Finding) -> pb.Finding:
    return pb.Finding(
        check=finding.check,
        level=finding.level,  # type: ignore[arg-type]
        found=finding.found,
        advice=finding.advice,
        organization=names.organization_name(finding.organization) if finding.organization else "",
    )


def _progress(progress: Progress) -> pb.ReconcileProgress:
    return pb.ReconcileProgress(
        step=progress.step,  # type: ignore[arg-type]
        windows=progress.windows,
        holds=progress.holds,
        differing=progress.differing,
    )


def _window_drift(organization: str, drift: WindowDrift) -> pb.Drift:
    window, numbers = drift.window, drift.numbers
    return pb.Drift(
        source=names.resource_name(organization, names.BUDGETS, window.budget),
        each_value=window.each_value,
        window_start=timestamp(window.start_ms),
        quantity=drift.quantity,  # type: ignore[arg-type]
        meter=types_pb2.METER_UNSPECIFIED if drift.meter is None else drift.meter + 1,  # type: ignore[arg-type]
        valkey=numbers.valkey,
        ledger=numbers.ledger,
        difference=numbers.difference,
        after_repair=drift.after_repair,
    )


def _hold_drift(organization: str, drift: HoldDrift) -> pb.Drift:
    return pb.Drift(
        reservation=_reservation(organization, drift.reservation),
        missing_in=drift.missing_in,  # type: ignore[arg-type]
        after_repair=drift.after_repair,
    )


def _summary(summary: Summary) -> pb.ReconcileSummary:
    return pb.ReconcileSummary(
        windows=summary.windows,
        holds=summary.holds,
        drifts=summary.drifts,
        undecided=summary.undecided,
        repaired=summary.repaired,
    )


def _reservation(organization: str, id_: str) -> str:
    return names.resource_name(organization, names.RESERVATIONS, id_) if id_ else ""
