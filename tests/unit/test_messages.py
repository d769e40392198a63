# ruff: noqa: E501  (sentences stand as people read them)
"""What people read when a request is denied, diverted or warned of, word for word."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from quota_service.application import denials, messages
from quota_service.domain import ratelimit
from quota_service.domain.amounts import Amounts, Limits, Meter
from quota_service.domain.budget import Block, Budget, Downgrade, LadderStep, Mode, Notify, Restrict
from quota_service.domain.commands import Denied
from quota_service.domain.decision import Reason, Violation, decisive, retry_after_ms
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.pricing import Model
from quota_service.domain.ratelimit import Gauge, RateLimit
from quota_service.domain.reservation import WindowRef
from quota_service.domain.terms import Counters, Term, Terms

HELP_URL = "https://wiki.acme.example/ai-budgets"


def at_ms(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000  # type: ignore[misc,arg-type]


NOW_MS = at_ms(2026, 11, 22)
TEAM = Budget(id="team", display_name="Sales", time_zone="America/New_York")
MONTHLY = Limits(150_000_000)
WINDOW = WindowRef("team", "", at_ms(2026, 11, 1, 4), at_ms(2026, 12, 1, 5))


def told(
    demand: Amounts,
    counters: Counters,
    *,
    budget: Budget = TEAM,
    window: WindowRef = WINDOW,
    limits: Limits = MONTHLY,
    percent: int = 100,
    help_url: str = "",
    max_values: int = 0,
    full: tuple[int, ...] = (),
) -> str:
    """The message of a request that one budget denies."""
    term = Term(window, limits, percent, Mode.HARD, max_values)
    denied = Denied(
        now_ms=NOW_MS,
        counters=(counters,),
        full=full,
        next_expiry_ms=NOW_MS + 3_400 if counters.holds else None,
    )
    [first, *_] = denials.violations(denied, [budget], Terms(budgets=(term,)), demand, {})
    return messages.for_person(first, help_url)


def limited(limit: RateLimit, used: int, demand: Amounts, each_value: str = "") -> str:
    """The message of a request that a rate limit denies."""
    term = ratelimit.term_of(limit, each_value)
    gauge = ratelimit.taken(term, Gauge(), used, NOW_MS)
    denied = Denied(now_ms=NOW_MS, counters=(), gauges=(gauge,))
    [first] = denials.violations(denied, [], Terms(rates=(term,)), demand, {limit.id: limit})
    return messages.for_person(first, "")


SPENT = Counters(spent=Amounts(149_995_000, 900_000, 70))
HELD = Counters(spent=Amounts(100_000_000), held=Amounts(49_999_000), holds=12)

GOLDEN = {
    "money is spent": (
        told(Amounts(7_500), SPENT),
        "Budget “Sales” has no room for $0.0075: $149.995 spent of $150.00; it resets on 1 Dec 2026 00:00 EST. "
        "Ask for a higher limit.",
    ),
    "money is spent, and the organization says where to turn": (
        told(Amounts(7_500), SPENT, help_url=HELP_URL),
        "Budget “Sales” has no room for $0.0075: $149.995 spent of $150.00; it resets on 1 Dec 2026 00:00 EST. "
        "See https://wiki.acme.example/ai-budgets",
    ),
    "tokens are spent, of one value": (
        told(
            Amounts(0, 1_500),
            SPENT,
            limits=Limits(tokens=900_000),
            window=WINDOW._replace(each_value="ada@acme.example"),
        ),
        "Budget “Sales” of ada@acme.example has no room for 1,500 tokens: 900,000 tokens spent of 900,000 tokens; "
        "it resets on 1 Dec 2026 00:00 EST. Ask for a higher limit.",
    ),
    "requests are spent, for good": (
        told(
            Amounts(0, 0, 1),
            SPENT,
            limits=Limits(requests=70),
            window=WindowRef("team", "", 0, None),
        ),
        "Budget “Sales” has no room for 1 request: 70 requests spent of 70 requests. Ask for a higher limit.",
    ),
    "money is only held": (
        told(Amounts(7_500), HELD, help_url=HELP_URL),
        "Budget “Sales” has no room for $0.0075 now: $100.00 spent of $150.00, $49.999 held by 12 calls under way. "
        "Try again in 4 s.",
    ),
    "a tier stops earlier than the limit": (
        told(Amounts(7_500), Counters(spent=Amounts(120_000_000)), percent=80),
        "Budget “Sales” has no room for $0.0075: $120.00 spent of $150.00 (this model stops at $120.00); "
        "it resets on 1 Dec 2026 00:00 EST. Ask for a higher limit.",
    ),
    "more than a whole window allows": (
        told(Amounts(151_000_000), Counters()),
        "Budget “Sales” has no room for $151.00: $0.00 spent of $150.00; it resets on 1 Dec 2026 00:00 EST. "
        "Send a smaller request, or ask for a higher limit.",
    ),
    "a window that was given more": (
        told(Amounts(7_500), Counters(spent=Amounts(200_000_000), added=Amounts(50_000_000))),
        "Budget “Sales” has no room for $0.0075: $200.00 spent of $200.00; it resets on 1 Dec 2026 00:00 EST. "
        "Ask for a higher limit.",
    ),
    "no counter is left for a new value": (
        told(
            Amounts(1),
            Counters(),
            window=WINDOW._replace(each_value="run-7"),
            max_values=100,
            full=(0,),
            help_url=HELP_URL,
        ),
        "Budget “Sales” counts at most 100 values of its tag and has none left for “run-7”. "
        "See https://wiki.acme.example/ai-budgets",
    ),
    "requests come too fast": (
        limited(RateLimit(id="rpm", limit=60, burst=10), 10, Amounts(0, 0, 1), "ada"),
        "Rate limit “rpm” of ada of 60 requests per minute has no room for 1 request now. Try again in 1 s.",
    ),
    "tokens come too fast": (
        limited(
            RateLimit(id="t", display_name="OpenAI", meter=Meter.TOKENS, limit=90_000, interval_ms=300_000),
            89_000,
            Amounts(0, 61_500, 1),
        ),
        "Rate limit “OpenAI” of 90,000 tokens per 5 minutes has no room for 61,500 tokens now, only for 1,000 tokens. "
        "Try again in 4 min.",
    ),
    "more than ever passes at once": (
        limited(RateLimit(id="t", meter=Meter.TOKENS, limit=90_000, burst=1_000), 0, Amounts(0, 1_001, 1)),
        "Rate limit “t” lets 1,000 tokens pass at once, and this needs 1,001 tokens. Send a smaller request.",
    ),
    "a model is not allowed": (
        messages.for_person(
            Violation(
                Reason.MODEL_NOT_ALLOWED,
                messages.model_not_allowed(
                    ModelPolicy(
                        id="cheap",
                        team="support",
                        allowed_tiers=(2, 1),
                        allowed_models=(("openai", "gpt-4o-mini"), ("internal", "*")),
                    ),
                    Model(provider="openai", model="gpt-4o"),
                ),
            ),
            "",
        ),
        "Model openai/gpt-4o is not allowed by policy “cheap” for team support, which allows models of tier 1, 2, "
        "openai/gpt-4o-mini, internal/…. Use an allowed model.",
    ),
    "no budget covers it": (
        messages.for_person(
            Violation(Reason.NO_BUDGET, "No budget covers this request, and the organization requires one."),
            "",
        ),
        "No budget covers this request, and the organization requires one. Ask for a budget that covers it.",
    ),
    "the store is down": (
        messages.for_person(denials.outage(messages.store_unavailable()), HELP_URL),
        "The service cannot reach its store of budgets, and this organization denies while that lasts. Try again in a "
        "moment.",
    ),
    "the store is down and its cap is used up": (
        messages.for_person(denials.outage(messages.degraded_cap_reached(7_500, 25_000_000)), HELP_URL),
        "The service cannot reach its store of budgets, and there is no room for $0.0075 in the $25.00 that may be "
        "granted while that lasts. Try again in a moment.",
    ),
    "the ledger has been down for long": (
        messages.for_person(denials.outage(messages.buffer_nearly_full()), HELP_URL),
        "The service has not reached its ledger for so long that it has hardly any room left for usage that waits to be "
        "written, so it allows nothing new while that lasts. Try again in a moment.",
    ),
    "a partial grant": (
        messages.partial(350, 1_500),
        "Only 350 tokens of output fit, of 1,500 asked for.",
    ),
    "a downgrade": (
        messages.downgraded("internal", "llama", "Budget “Sales” has no room for $0.0075."),
        "internal/llama is granted instead. Budget “Sales” has no room for $0.0075.",
    ),
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_a_message_says_which_limit_how_much_until_when_and_what_to_do(kind: str) -> None:
    message, expected = GOLDEN[kind]
    assert message == expected


TERM = Term(WINDOW, Limits(100_000_000), 100, Mode.HARD)
REACHED = {
    Notify(): "Budget “Sales” has reached 80 %: $85.00 spent of $100.00.",
    Restrict(max_tier=1): (
        "Budget “Sales” has reached 80 %: $85.00 spent of $100.00; from here on only models of tier 1 or below pass."
    ),
    Downgrade(provider="internal", model="llama"): (
        "Budget “Sales” has reached 80 %: $85.00 spent of $100.00; from here on internal/llama is used."
    ),
    Block(): "Budget “Sales” has reached 80 %: $85.00 spent of $100.00; from here on nothing passes.",
}


@pytest.mark.parametrize("action", REACHED, ids=lambda action: type(action).__name__.lower())
def test_a_step_that_has_been_reached_says_what_follows(
    action: Notify | Restrict | Downgrade | Block,
) -> None:
    step, spent = LadderStep(at_percent=80, action=action), Counters(spent=Amounts(85_000_000))
    assert messages.step_reached(TEAM, TERM, spent, Meter.COST, step) == REACHED[action]


def test_a_budget_that_never_blocks_says_only_where_it_stands() -> None:
    soft = Budget(id="team", display_name="Sales", mode=Mode.SOFT)
    spent = Counters(spent=Amounts(120_000_000), held=Amounts(1_000_000))
    step = LadderStep(at_percent=100, action=Block())
    assert messages.step_reached(soft, TERM, spent, Meter.COST, step) == (
        "Budget “Sales” has reached 100 %: $120.00 spent of $100.00, $1.00 held."
    )
    assert messages.over(soft, TERM, spent, Meter.COST) == (
        "Budget “Sales” is over its limit: $120.00 spent of $100.00, $1.00 held."
    )


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (1, "0.1 s"),
        (400, "0.4 s"),
        (401, "0.5 s"),
        (950, "1 s"),
        (1_001, "2 s"),
        (179_000, "179 s"),
        (180_001, "4 min"),
        (3_600_000, "60 min"),
    ],
)
def test_a_wait_is_never_told_shorter_than_it_is(milliseconds: int, words: str) -> None:
    assert messages.wait(milliseconds) == words


@pytest.mark.parametrize("help_url", ["", HELP_URL, "https://" + "x" * 200])
def test_no_message_is_longer_than_300_characters_and_what_to_do_is_never_cut(help_url: str) -> None:
    long = Budget(id="b", display_name="n" * 200, time_zone="America/Argentina/ComodRivadavia")
    message = told(
        Amounts(9_000_000_001),
        Counters(spent=Amounts(899_999_999_999_999), held=Amounts(899_999_999_999_999), holds=1_000_000),
        budget=long,
        window=WINDOW._replace(each_value="v" * 256),
        limits=Limits(900_000_000_000_000),
        percent=99,
        help_url=help_url,
    )
    assert len(message) <= 300
    assert message.endswith(f"See {help_url}" if help_url else "Ask for a higher limit.")


def test_an_outage_is_told_of_nothing_in_particular_and_soon_to_be_tried_again() -> None:
    longest = messages.degraded_cap_reached(9_000_000_000, 900_000_000_000_000)
    for message in (messages.store_unavailable(), messages.buffer_nearly_full(), longest):
        violation = denials.outage(message)
        assert (violation.reason, violation.source, violation.meter) == (Reason.STORE_UNAVAILABLE, "", None)
        assert violation.retryable
        assert retry_after_ms((violation,)) == 2_000
        told = messages.for_person(violation, "https://" + "x" * 200)
        assert told == f"{message} Try again in a moment."
        assert len(told) <= 300


def test_a_help_url_that_leaves_no_room_for_the_reason_gives_way_to_what_to_do() -> None:
    violation = Violation(Reason.BUDGET_EXHAUSTED, "Budget “Sales” has no room. " * 20)
    message = messages.for_person(violation, "https://" + "x" * 492)
    assert len(message) == 300
    assert message.endswith("… Ask for a higher limit.")


def test_the_longest_names_of_models_leave_room_for_what_is_said_of_them() -> None:
    longest = Model(provider="p" * 64, model="m" * 256)
    policy = ModelPolicy(
        id="cheap", allowed_tiers=(1,), allowed_models=tuple((str(n) * 64, "m" * 256) for n in range(9))
    )
    not_allowed = messages.model_not_allowed(policy, longest)
    assert len(not_allowed) <= 300
    assert "is not allowed by policy “cheap”, which allows models of tier 1" in not_allowed
    assert len(messages.no_price(longest.provider, longest.model)) <= 300


def test_what_a_person_is_told_is_about_what_stands_in_the_way_longest() -> None:
    soon = Violation(Reason.BUDGET_HELD, "soon", retryable=True, retry_ms=5_000)
    later = Violation(Reason.BUDGET_EXHAUSTED, "at the reset", retry_ms=86_400_000)
    never = Violation(Reason.TOO_MANY_VALUES, "never")
    assert decisive((soon, later)) is later
    assert decisive((soon, later, never, later)) is never
    assert decisive((later, later._replace(message="as long"))) is later
