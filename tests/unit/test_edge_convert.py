"""Between messages and the domain's values: nothing is lost on the way there and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from quota.v1 import budget_pb2, catalog_pb2, directory_pb2, report_pb2, types_pb2
from quota_service.application.ledger_ports import LedgerRow
from quota_service.application.ports import Stored
from quota_service.application.statuses import Status
from quota_service.domain.amounts import Amounts, Limits, Meter
from quota_service.domain.api_key import ApiKey
from quota_service.domain.budget import (
    Block,
    Budget,
    Downgrade,
    EachOverride,
    LadderStep,
    Mode,
    Notify,
    Restrict,
)
from quota_service.domain.errors import InvalidRequest
from quota_service.domain.ledger import Entry, EntryType
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.period import Daily, Fixed, Monthly, Once, Period, Quarterly, Weekly, Yearly
from quota_service.domain.pricing import DatedRate, Model, Rate, Usage
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.reservation import Hold, WindowRef
from quota_service.domain.scope import Each, Scope
from quota_service.domain.subject import Dimension, Organization, OutagePolicy, Project, Subject, Team, User
from quota_service.domain.terms import Counters, Term
from quota_service.edge.convert import (
    budget,
    catalog,
    directory,
    ledger,
    model_policy,
    quota,
    ratelimit,
    times,
)
from quota_service.edge.convert.period import period_of
from quota_service.edge.convert.statuses import budget_statuses
from quota_service.edge.convert.subject import subject, subject_of

BUDGET = Budget(
    id="b",
    display_name="Each engineer",
    scope=Scope(
        team="core",
        user="ada",
        api_key="k",
        project="p",
        cost_center="cc",
        provider="openai",
        model="gpt-4o",
        tier=0,
        tags=(("a", "1"), ("b", "2")),
        each=Each(dimension=Dimension.TAG, tag="run", max_values=7),
    ),
    period=Monthly(reset_day=31),
    time_zone="Europe/Berlin",
    limits=Limits(cost_micros=0, tokens=5),
    overrides=(
        EachOverride(each_value="x", limits=Limits(tokens=0), until_ms=1_700_000_000_123, reason="launch"),
        EachOverride(each_value="", limits=Limits(cost_micros=9)),
    ),
    mode=Mode.SOFT,
    ladder=(
        LadderStep(at_percent=50, action=Notify()),
        LadderStep(at_percent=80, action=Restrict(max_tier=0)),
        LadderStep(at_percent=90, action=Downgrade(provider="openai", model="gpt-4o-mini")),
        LadderStep(at_percent=100, action=Block()),
    ),
    alert_cooldown_ms=3_600_500,
    recipients=("user", "slack:#x"),
    disabled=True,
)


def stored(value: object) -> Stored[object]:
    return Stored(value=value, etag="e", create_ms=1_000, update_ms=2_001)


@pytest.mark.parametrize(
    "period",
    [
        Daily(),
        Weekly(start_day=7),
        Monthly(reset_day=1),
        Quarterly(first_month=12),
        Yearly(month=2, day=29),
        Fixed(length_ms=60_000),
        Fixed(length_ms=86_400_000, anchor_ms=1_767_603_600_500),
        Once(),
        Once(start_ms=0, end_ms=9),
    ],
)
def test_a_budget_survives(period: Period) -> None:
    value = replace(BUDGET, period=period)
    message = budget.budget("acme", stored(value))  # type: ignore[arg-type]
    assert message.name == "organizations/acme/budgets/b"
    assert (message.etag, message.create_time.seconds, message.update_time.nanos) == ("e", 1, 1_000_000)
    assert budget.budget_of(message, "acme", "b") == value


def a_budget(**fields: object) -> budget_pb2.Budget:
    message = budget_pb2.Budget(
        mode=types_pb2.MODE_HARD,
        period=budget_pb2.Period(daily=budget_pb2.Period.Daily()),
        limits=types_pb2.Amounts(tokens=1),
    )
    message.MergeFrom(budget_pb2.Budget(**fields))  # type: ignore[arg-type]
    return message


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (budget_pb2.Period(monthly=budget_pb2.Period.Monthly()), Monthly(reset_day=1)),
        (budget_pb2.Period(quarterly=budget_pb2.Period.Quarterly()), Quarterly(first_month=1)),
        (budget_pb2.Period(yearly=budget_pb2.Period.Yearly()), Yearly(month=1, day=1)),
        (
            budget_pb2.Period(fixed=budget_pb2.Period.Fixed(length=Duration(seconds=90))),
            Fixed(length_ms=90_000, anchor_ms=0),
        ),
    ],
)
def test_a_period_begins_with_the_first_unless_said_otherwise(sent: budget_pb2.Period, read: Period) -> None:
    assert period_of(sent) == read


def test_what_a_budget_leaves_out_gets_the_documented_default() -> None:
    message = a_budget(period=budget_pb2.Period(weekly=budget_pb2.Period.Weekly()))
    value = budget.budget_of(message, "acme", "b")
    assert (value.period, value.time_zone, value.alert_cooldown_ms) == (Weekly(start_day=1), "", 86_400_000)
    assert value.limits == Limits(tokens=1)
    never = a_budget(alert_cooldown=Duration())
    assert budget.budget_of(never, "acme", "b").alert_cooldown_ms == 0


def test_everything_that_a_budget_lacks_is_told_at_once() -> None:
    with pytest.raises(InvalidRequest) as raised:
        budget.budget_of(budget_pb2.Budget(), "acme", "b")
    assert [problem.field for problem in raised.value.problems] == [
        "budget.mode",
        "budget.period",
        "budget.limits",
    ]


@pytest.mark.parametrize(
    "carry",
    [
        budget_pb2.Rollover.Carry(max_percent=5),
        budget_pb2.Rollover.Carry(max_amounts=types_pb2.Amounts(tokens=0)),
    ],
    ids=["percent", "amounts"],
)
def test_a_rollover_comes_back_as_it_was_sent(carry: budget_pb2.Rollover.Carry) -> None:
    sent = a_budget(rollover=budget_pb2.Rollover(carry=carry))
    kept = Stored(value=budget.budget_of(sent, "acme", "b"), etag="1", create_ms=0, update_ms=0)
    assert budget.budget("acme", kept).rollover == sent.rollover


def test_that_what_is_left_expires_goes_without_saying() -> None:
    sent = a_budget(rollover=budget_pb2.Rollover(none=budget_pb2.Rollover.Nothing()))
    value = budget.budget_of(sent, "acme", "b")
    assert value.rollover is None
    assert not budget.budget("acme", Stored(value=value, etag="1", create_ms=0, update_ms=0)).HasField(
        "rollover"
    )


def test_a_scope_of_another_organization_is_refused() -> None:
    own = a_budget(scope=budget_pb2.Scope(organization="acme"))
    assert budget.budget_of(own, "acme", "b").scope == Scope()
    with pytest.raises(InvalidRequest, match=r"budget\.scope\.organization"):
        budget.budget_of(own, "globex", "b")


def test_the_directory_survives() -> None:
    organization = Organization(
        id="acme",
        display_name="Acme",
        time_zone="Europe/Berlin",
        allow_unbudgeted=True,
        create_unknown_subjects=True,
        required_dimensions=(Dimension.PROJECT, Dimension.USER),
        help_url="https://help",
        outage_policy=OutagePolicy.ALLOW_DEGRADED,
        degraded_cost_cap_micros=0,
    )
    assert directory.organization_of(directory.organization(stored(organization)), "acme") == organization  # type: ignore[arg-type]
    assert directory.organization_of(directory_pb2.Organization(), "x") == Organization(id="x")
    team = Team(id="core", display_name="Core", cost_center="cc", leads=("ada", "bob"), disabled=True)
    assert directory.team_of(directory.team("acme", stored(team)), "core") == team  # type: ignore[arg-type]
    user = User(id="ada", display_name="Ada", email="a@b.c", teams=("core", "x"), disabled=True)
    assert directory.user_of(directory.user("acme", stored(user)), "ada") == user  # type: ignore[arg-type]
    project = Project(id="p", display_name="P", disabled=True)
    assert directory.project_of(directory.project("acme", stored(project)), "p") == project  # type: ignore[arg-type]
    for key in (ApiKey(id="k", user="ada", display_name="K"), ApiKey(id="k", team="core", disabled=True)):
        message = directory.api_key("acme", stored(key))  # type: ignore[arg-type]
        assert directory.api_key_of(message, "k") == key
        assert message.name == "organizations/acme/apiKeys/k"


def test_a_model_survives() -> None:
    model = Model(
        provider="own",
        model="llama/70b",
        display_name="L",
        tier=0,
        max_output_tokens=9,
        default_output_tokens=5,
        prices=(DatedRate(0, Rate(0, 5, 0, 6, 7)), DatedRate(1_000, Rate(0, 1, 2, 3, 4))),
    )
    assert catalog.model_of(catalog.model("acme", stored(model))) == model  # type: ignore[arg-type]


def test_cached_and_written_input_cost_as_input_unless_said_otherwise() -> None:
    price = catalog_pb2.ModelPrice(input_pico_usd_per_token=5, cached_input_pico_usd_per_token=0)
    (dated,) = catalog.model_of(catalog_pb2.Model(prices=[price])).prices
    assert dated == DatedRate(0, Rate(0, 5, 0, 5, 0))


def test_a_rate_limit_survives() -> None:
    value = RateLimit(
        id="r",
        display_name="R",
        scope=BUDGET.scope,
        meter=Meter.TOKENS,
        limit=90_000,
        interval_ms=2_000,
        burst=7,
        disabled=True,
    )
    message = ratelimit.rate_limit("acme", stored(value))  # type: ignore[arg-type]
    assert (message.name, message.meter) == ("organizations/acme/rateLimits/r", types_pb2.METER_TOKENS)
    assert ratelimit.rate_limit_of(message, "acme", "r") == value
    message.ClearField("interval")
    assert ratelimit.rate_limit_of(message, "acme", "r").interval_ms == 60_000
    message.scope.organization = "globex"
    with pytest.raises(InvalidRequest, match=r"rate_limit\.scope\.organization: the rate limit belongs"):
        ratelimit.rate_limit_of(message, "acme", "r")


def test_a_model_policy_survives() -> None:
    value = ModelPolicy(
        id="p",
        display_name="P",
        team="core",
        allowed_tiers=(2, 0),
        allowed_models=(("openai", "gpt-4o"), ("hub", "meta/llama"), ("internal", "*")),
        disabled=True,
    )
    message = model_policy.model_policy("acme", stored(value))  # type: ignore[arg-type]
    assert message.name == "organizations/acme/modelPolicies/p"
    assert list(message.allowed_models) == ["openai/gpt-4o", "hub/meta/llama", "internal/*"]
    assert model_policy.model_policy_of(message, "acme", "p") == value


def test_a_subject_survives_and_its_tags_are_sorted() -> None:
    value = Subject(
        organization="acme", team="t", user="u", api_key="k", project="p", tags=(("a", "1"), ("b", "2"))
    )
    assert subject_of(subject(value)) == value
    unsorted = types_pb2.Subject(tags={"b": "2", "a": "1"})
    assert subject_of(unsorted, "acme") == Subject(organization="acme", tags=(("a", "1"), ("b", "2")))


def test_instants_keep_their_milliseconds() -> None:
    assert times.milliseconds(times.timestamp(1_700_000_000_123)) == 1_700_000_000_123
    assert times.milliseconds(Timestamp(seconds=1, nanos=999_999)) == 1_000
    assert times.duration_ms(times.duration(86_400_001)) == 86_400_001
    assert times.border(None) is None


def a_status(mode: Mode = Mode.HARD) -> Status:
    term = Term(
        window=WindowRef("b", "ada", 1_000, 2_500),
        limits=Limits(cost_micros=100, requests=3),
        percent=120,
        mode=mode,
    )
    counters = Counters(
        spent=Amounts(70, 700, 2),
        held=Amounts(40, 1, 1),
        holds=1,
        overrun=Amounts(6, 0, 0),
        blocked_requests=Amounts(4, 0, 0),
        blocked=Amounts(50, 0, 0),
    )
    return Status(replace(BUDGET, mode=mode), term, counters)


def test_a_budget_has_a_status_for_each_limited_meter() -> None:
    cost, requests = budget_statuses("acme", a_status(), True)
    assert cost == types_pb2.BudgetStatus(
        source="organizations/acme/budgets/b",
        each_value="ada",
        mode=types_pb2.MODE_HARD,
        meter=types_pb2.METER_COST,
        limit=100,
        spent=70,
        held=40,
        remaining=-10,
        ceiling=120,
        overrun=6,
        would_have_blocked_requests=4,
        would_have_blocked=50,
        window_start=Timestamp(seconds=1),
        reset_time=Timestamp(seconds=2, nanos=500_000_000),
    )
    assert (requests.meter, requests.remaining) == (types_pb2.METER_REQUESTS, 0)


def test_a_budget_that_never_blocks_has_no_ceiling_and_one_without_end_no_reset() -> None:
    status = a_status(Mode.SOFT)
    endless = status._replace(term=status.term._replace(window=WindowRef("b", "", 0, None)))
    first, _ = budget_statuses("acme", endless, False)
    assert not first.HasField("ceiling")
    assert not first.HasField("reset_time")
    assert first.HasField("window_start")


def test_the_contracts_numbers_are_the_domains() -> None:
    assert {f"MODE_{mode.name}": int(mode) for mode in Mode}.items() <= dict(types_pb2.Mode.items()).items()
    dimensions = {f"DIMENSION_{dimension.name}": int(dimension) for dimension in Dimension}
    assert dimensions.items() <= dict(types_pb2.Dimension.items()).items()
    types = {f"TYPE_{type_}" for type_ in EntryType}
    assert types <= set(report_pb2.LedgerEntry.Type.keys())


HOLD = Hold(
    organization="acme",
    reservation="r1",
    subject=Subject(organization="acme", team="core", user="ada", cost_center="cc"),
    provider="openai",
    model="gpt-4o",
    requested_model="gpt-4o",
    rates=(Rate(0, 2_500_000, 1_250_000, 2_500_000, 10_000_000),),
    input_tokens=1_000,
    granted_output_tokens=500,
    windows=(WindowRef("team-monthly", "", 1_000, 2_000), WindowRef("each-user", "ada", 1_000, None)),
)
COMMIT = Entry(
    key="r1/end",
    content_hash="h",
    type=EntryType.COMMIT,
    at_ms=5_000,
    occur_ms=4_000,
    hold=HOLD,
    charged=Amounts(8_500, 1_600, 1),
    overrun=Amounts(1_000, 100, 0),
    usage=Usage(input_tokens=1_000, output_tokens=600),
    cost_pico=8_500_000_000,
)


def test_a_commits_entry_tells_what_was_charged_to_whom() -> None:
    message = ledger.ledger_entry("acme", LedgerRow(id=17, entry=COMMIT, create_ms=9_000))
    assert message.name == "organizations/acme/ledgerEntries/17"
    assert message.type == report_pb2.LedgerEntry.TYPE_COMMIT
    assert message.reservation == "organizations/acme/reservations/r1"
    assert message.usage.output_tokens == 600
    assert message.exact_cost_usd == "0.0085"
    assert message.charged == types_pb2.Amounts(cost_micros=8_500, tokens=1_600, requests=1)
    assert message.overrun == types_pb2.Amounts(cost_micros=1_000, tokens=100, requests=0)
    assert [window.source for window in message.windows] == [
        "organizations/acme/budgets/team-monthly",
        "organizations/acme/budgets/each-user",
    ]
    assert (message.occur_time.seconds, message.create_time.seconds) == (4, 9)
    assert message.cost_center == "cc"


def test_a_holds_entry_tells_the_estimate_and_charges_nothing() -> None:
    entry = Entry(key="r1/hold", content_hash="h", type=EntryType.HOLD, at_ms=5_000, hold=HOLD)
    message = ledger.ledger_entry("acme", LedgerRow(id=0, entry=entry, create_ms=0))
    assert (message.usage.input_tokens, message.usage.output_tokens) == (1_000, 500)
    assert message.exact_cost_usd == "0.0075"
    assert not message.HasField("charged")
    assert message.name == ""
    assert not message.HasField("create_time")


def test_what_was_granted_degraded_is_told_of_the_reservation_and_of_each_of_its_entries() -> None:
    degraded = replace(HOLD, degraded=True)
    assert quota.reservation(degraded).degraded
    assert quota.reservation(degraded).held == types_pb2.Amounts(cost_micros=0, tokens=0, requests=0)
    for entry in (replace(COMMIT, type=EntryType.HOLD, hold=degraded), replace(COMMIT, hold=degraded)):
        assert ledger.ledger_entry("acme", LedgerRow(id=1, entry=entry, create_ms=1)).degraded
    assert not quota.reservation(HOLD).degraded
    assert not ledger.ledger_entry("acme", LedgerRow(id=1, entry=COMMIT, create_ms=1)).degraded


def test_a_filter_with_another_organizations_name_is_refused() -> None:
    request = report_pb2.ListLedgerEntriesRequest(source="organizations/globex/budgets/b")
    with pytest.raises(InvalidRequest, match="source"):
        ledger.filter_of(request, "acme")
    assert ledger.filter_of(request, "globex").budget == "b"
