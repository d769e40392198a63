"""The JSON in which finance teams write one team's monthly budget.

    {"team": "sales", "monthly_token_limit": 5000000, "monthly_spend_limit_usd": 150.00,
     "notification_thresholds": [0.5, 0.8, 1.0], "action_on_hard_limit": "block_and_notify",
     "notify_channels": ["slack:#sales"], "reset_day": 1}

It becomes the budget `{team}-monthly` in the organization's time zone, and the team, where there is none yet.
"""

from __future__ import annotations

from quota.v1 import budget_pb2, directory_pb2, types_pb2
from quota_service.cli.files.directory import Declarations
from quota_service.cli.files.fields import Fields, parse_id, texts, whole
from quota_service.cli.files.periods import LARGEST_DAY
from quota_service.cli.files.reading import Value
from quota_service.cli.files.state import Declared, Kind
from quota_service.cli.units import parse_count, parse_decimal, parse_usd

KEYS = (
    "team",
    "monthly_token_limit",
    "monthly_spend_limit_usd",
    "notification_thresholds",
    "action_on_hard_limit",
    "notify_channels",
    "reset_day",
)
ACTIONS = ("block_and_notify", "block", "notify_only")
LARGEST_PERCENT = 1_000
FULL_PERCENT = 100


def is_team_budget(value: Value, sections: tuple[str, ...]) -> bool:
    """Whether a document has this shape, rather than that of an organization's file."""
    if not value.is_mapping:
        return False
    keys = value.entries().keys()
    return bool(keys & set(KEYS)) and not keys & set(sections)


def read_team_budget(value: Value, into: Declarations) -> None:
    """Reads the budget, and the team that it is for."""
    fields = value.fields(*KEYS)
    if "team" not in fields:
        value.problem("needs a team")
        return
    team = fields["team"].parsed(parse_id, "")
    action = (
        fields["action_on_hard_limit"].choice(ACTIONS) if "action_on_hard_limit" in fields else ACTIONS[0]
    )
    message = budget_pb2.Budget(
        scope=budget_pb2.Scope(team=team),
        mode=types_pb2.MODE_SOFT if action == "notify_only" else types_pb2.MODE_HARD,
        ladder=_ladder(_percents(fields), action),
        recipients=[channel.text() for channel in texts(fields, "notify_channels")],
    )
    message.period.monthly.reset_day = whole(fields, "reset_day", smallest=1, largest=LARGEST_DAY)
    _set_limits(value, fields, message)
    into.declare(
        (Kind.TEAM, team),
        Declared(message=directory_pb2.Team(), place=fields["team"].place, only_if_absent=True),
        fields["team"],
    )
    into.declare((Kind.BUDGET, f"{team}-monthly"), Declared(message=message, place=value.place), value)


def _set_limits(value: Value, fields: Fields, message: budget_pb2.Budget) -> None:
    message.limits.SetInParent()
    if "monthly_spend_limit_usd" in fields:
        message.limits.cost_micros = fields["monthly_spend_limit_usd"].parsed(parse_usd, 0)
    if "monthly_token_limit" in fields:
        message.limits.tokens = fields["monthly_token_limit"].parsed(parse_count, 0)
    if not {"monthly_spend_limit_usd", "monthly_token_limit"} & fields.keys():
        value.problem("needs monthly_spend_limit_usd, monthly_token_limit or both")


def _percents(fields: Fields) -> list[int]:
    entries = texts(fields, "notification_thresholds")
    return sorted({entry.parsed(parse_fraction, FULL_PERCENT) for entry in entries})


def parse_fraction(written: str) -> int:
    """A fraction such as `0.8` as a whole percentage. Raises `ValueError`."""
    percent = parse_decimal(written) * 100
    if percent != percent.to_integral_value():
        raise ValueError(f"{written} is not a whole percentage, such as 0.85")
    if not 1 <= percent <= LARGEST_PERCENT:
        raise ValueError(f"{written} is not between 0.01 and {LARGEST_PERCENT // 100}; 0.8 means 80 %")
    return int(percent)


def _ladder(percents: list[int], action: str) -> list[budget_pb2.LadderStep]:
    if action == "block_and_notify":
        percents = sorted({*(percents or [50, 80]), FULL_PERCENT})
    steps = [_notify(percent) for percent in percents]
    if action != "notify_only":
        block = budget_pb2.LadderStep(at_percent=FULL_PERCENT, block=budget_pb2.LadderStep.Block())
        at = sum(percent <= FULL_PERCENT for percent in percents)
        steps.insert(at, block)
    return steps


def _notify(percent: int) -> budget_pb2.LadderStep:
    return budget_pb2.LadderStep(at_percent=percent, notify=budget_pb2.LadderStep.Notify())
