"""Headers that tell which limits stood in the way: `RateLimit` and `RateLimit-Policy` (the IETF's draft
ratelimit-headers) for all of them, and what the dialect's own SDKs and users look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from quota_service.domain.amounts import Meter
from quota_service.domain.decision import Violation
from quota_service.domain.period import EPOCH
from quota_service.edge.dialects.calls import Dialect

_UNITS = {Meter.COST: "micro-usd", Meter.TOKENS: "tokens", Meter.REQUESTS: "requests"}
_LIMITS_MAX = 8
"""More would fill the caller's screen and nobody's need."""


def limit_headers(dialect: Dialect, found: Sequence[Violation], now_ms: int) -> list[tuple[str, str]]:
    """Names and values. `now_ms`: what resets are told from."""
    limits = [each for each in found if each.meter is not None][:_LIMITS_MAX]
    if not limits:
        return []
    headers = [
        ("ratelimit-policy", ", ".join(_policy(each) for each in limits)),
        ("ratelimit", ", ".join(_standing(each, now_ms) for each in limits)),
    ]
    for meter in (Meter.REQUESTS, Meter.TOKENS):
        of_meter = [each for each in limits if each.meter is meter]
        if of_meter:
            tightest = min(of_meter, key=_remaining)
            headers += _own(dialect, _UNITS[meter], tightest, now_ms)
    return headers


def _policy(each: Violation) -> str:
    assert each.meter is not None
    return f'"{_name(each)}";q={each.limit};qu="{_UNITS[each.meter]}"'


def _standing(each: Violation, now_ms: int) -> str:
    wait_s = _wait_s(each, now_ms)
    return f'"{_name(each)}";r={_remaining(each)}' + ("" if wait_s is None else f";t={wait_s}")


def _name(each: Violation) -> str:
    """The budget's or rate limit's id, which needs no escapes. The value that it counts for stays inside."""
    return each.source.rpartition("/")[2]


def _remaining(each: Violation) -> int:
    return max(0, each.ceiling - each.spent - each.held)


def _wait_s(each: Violation, now_ms: int) -> int | None:
    """Until there is room again; `None`: never, as far as is known."""
    wait_ms = each.reset_ms - now_ms if each.retry_ms is None and each.reset_ms else each.retry_ms
    return None if wait_ms is None else max(0, -(-wait_ms // 1_000))


def _own(dialect: Dialect, unit: str, each: Violation, now_ms: int) -> Iterable[tuple[str, str]]:
    """As the dialect's provider sends them; Google sends none, and what most gateways send does there."""
    wait_s = _wait_s(each, now_ms)
    if dialect is Dialect.ANTHROPIC:
        start, resets = f"anthropic-ratelimit-{unit}-", _instant(now_ms, wait_s)
        names = (f"{start}limit", f"{start}remaining", f"{start}reset")
    else:
        names = (f"x-ratelimit-limit-{unit}", f"x-ratelimit-remaining-{unit}", f"x-ratelimit-reset-{unit}")
        resets = "" if wait_s is None else f"{wait_s}s"
    values = (str(each.limit), str(_remaining(each)), resets)
    return [(name, value) for name, value in zip(names, values, strict=True) if value]


def _instant(now_ms: int, wait_s: int | None) -> str:
    if wait_s is None:
        return ""
    instant: datetime = EPOCH + timedelta(milliseconds=now_ms) + timedelta(seconds=wait_s)
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
