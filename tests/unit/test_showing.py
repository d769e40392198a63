"""What is shown of something in sight says nothing of what is not."""

from __future__ import annotations

from dataclasses import replace

from quota_service.application import showing
from quota_service.application.alert_ports import DenialCount, DenialKey, StoredAlert
from quota_service.application.ledger_ports import LedgerRow
from quota_service.domain.alerting import Alert
from quota_service.domain.amounts import Meter
from quota_service.domain.budget import Block, Budget, LadderStep, Mode
from quota_service.domain.caller import Caller, Role
from quota_service.domain.configuration import Configuration
from quota_service.domain.decision import Reason
from quota_service.domain.ledger import Entry, EntryType
from quota_service.domain.reservation import Hold, WindowRef
from quota_service.domain.scope import Scope
from quota_service.domain.sight import EVERYTHING, sight_of
from quota_service.domain.subject import Directory, Organization, Subject, Team

CORE = sight_of(
    Caller("x", Role.TEAM_LEAD, "acme", ("core",)),
    Configuration(
        version=1,
        organization=Organization(id="acme"),
        directory=Directory(teams={"core": Team(id="core")}),
        budgets={"core": Budget(id="core", scope=Scope(team="core")), "all": Budget(id="all")},
    ),
)
OWN, ALL = WindowRef("core", "", 0, None), WindowRef("all", "", 0, None)


def test_an_entry_has_no_windows_of_budgets_out_of_sight() -> None:
    hold = Hold(
        organization="acme",
        reservation="r",
        subject=Subject(team="core"),
        provider="",
        model="",
        requested_model="",
        rates=(),
        windows=(ALL, OWN),
    )
    entry = Entry(key="k", content_hash="", type=EntryType.HOLD, at_ms=0, hold=hold)
    row = LedgerRow(id=1, entry=entry, create_ms=0)
    assert showing.entry(row, CORE).entry.hold == replace(hold, windows=(OWN,))
    assert showing.entry(row, EVERYTHING) is row


def test_an_alert_tells_of_no_request_for_another_team() -> None:
    alert = Alert(
        organization="acme",
        window=OWN,
        step=LadderStep(at_percent=100, action=Block()),
        meter=Meter.COST,
        mode=Mode.HARD,
        limit=1,
        spent=1,
    )
    for team, shown in (("core", Subject(user="ada", team="core")), ("sales", Subject())):
        stored = StoredAlert(id=1, alert=replace(alert, subject=Subject(user="ada", team=team)), create_ms=0)
        assert showing.alert(stored, CORE).alert.subject == shown
        assert showing.alert(stored, EVERYTHING) is stored


def test_a_denial_names_no_limit_that_is_out_of_sight_and_does_not_say_what_was_told_of_it() -> None:
    key = DenialKey("acme", 0, "core", "ada", "", "", "openai", "m", Reason.BUDGET_EXHAUSTED, "budgets/all")
    hidden = DenialCount(key=key, count=2, message="“all” is used up.")
    shown = DenialCount(key=key._replace(source="budgets/core"), count=2, message="“core” is used up.")
    assert showing.denial(hidden, CORE) == DenialCount(key=key._replace(source=""), count=2, message="")
    assert showing.denial(hidden, EVERYTHING) is hidden
    assert showing.denial(shown, CORE) is shown
