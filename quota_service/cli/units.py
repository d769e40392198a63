"""Amounts as people write and read them. Money stays integral: decimals are read as text, never as floats."""

from __future__ import annotations

import re
from decimal import Decimal

MICROS_PER_USD = 1_000_000
LARGEST_AMOUNT = 900_000_000_000_000

MOST_CHARACTERS = 25  # of a number: arithmetic on it is then exact

_NUMBER = re.compile(r"[+-]?(\d[\d_]*)(\.\d+)?([eE][+-]?\d{1,2})?", re.ASCII)
_DURATION = re.compile(r"(\d{1,9})(s|m|h|d)?", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_decimal(text: str) -> Decimal:
    """A number such as `2000`, `0.15` or `5_000_000`. Raises `ValueError` with what is wrong."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a number{_number_hint(text)}")
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"{text[:MOST_CHARACTERS]}… has too many digits")
    return Decimal(text)


def _number_hint(text: str) -> str:
    bare = text.strip("$€ ").removesuffix("USD").strip().replace(",", "")
    return f": write {bare}" if bare != text and _NUMBER.fullmatch(bare) else ""


def parse_scaled(text: str, scale: int, *, unit: str) -> int:
    """A non-negative number in steps of 1/scale, as that many steps. Raises `ValueError`."""
    steps = parse_decimal(text) * scale
    if steps < 0:
        raise ValueError(f"{text} is negative")
    if steps > LARGEST_AMOUNT:
        raise ValueError(f"{text} is more than {LARGEST_AMOUNT // scale:,}, the most that is kept")
    if steps != steps.to_integral_value():
        raise ValueError(f"{text} is finer than a millionth of a {unit}")
    return int(steps)


def parse_usd(text: str) -> int:
    """US dollars such as `150.00`, as micro-USD. Raises `ValueError`."""
    return parse_scaled(text, MICROS_PER_USD, unit="dollar")


def parse_count(text: str) -> int:
    """A whole number, not negative. Raises `ValueError`."""
    number = parse_decimal(text)
    if number != number.to_integral_value():
        raise ValueError(f"{text} is not a whole number")
    if not 0 <= number <= LARGEST_AMOUNT:
        raise ValueError(f"{text} is not between 0 and {LARGEST_AMOUNT:,}")
    return int(number)


def parse_duration_s(text: str) -> int:
    """A duration such as `90`, `90s`, `2m`, `24h` or `7d`, in seconds. Raises `ValueError`."""
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a duration: write 90s, 2m, 24h or 7d")
    return int(match[1]) * _SECONDS[match[2] or "s"]


def duration_text(seconds: int) -> str:
    """The shortest of `90s`, `2m`, `24h`, `7d` that says it exactly; a single day is `24h`."""
    for unit in ("d", "h", "m"):
        count, rest = divmod(seconds, _SECONDS[unit])
        if not rest and count > (unit == "d"):
            return f"{count}{unit}"
    return f"{seconds}s"


def usd_decimal(micros: int, *, scale: int = MICROS_PER_USD) -> str:
    """An amount in steps of 1/scale as the shortest exact decimal, such as `0.15`."""
    text = f"{Decimal(micros) / scale:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def usd(micros: int) -> str:
    """Money for people: cents, and more digits only where they are what there is."""
    sign, amount = ("-" if micros < 0 else ""), abs(micros)
    if 0 < amount < MICROS_PER_USD:
        return f"{sign}${usd_small(amount)}"
    # Rounded half up to cents, in integers.
    cents = (amount + 5_000) // 10_000
    return f"{sign}${cents // 100:,}.{cents % 100:02d}"


def usd_small(micros: int) -> str:
    """An amount below a dollar with at least two and at most six decimals."""
    decimals = f"{micros:06d}".rstrip("0")
    return f"0.{decimals:0<2}"


def compact(number: int) -> str:
    """A count for people: exact up to ten million, then in millions (rounded down) with one decimal."""
    if abs(number) < 10_000_000:
        return f"{number:,}"
    tenths = abs(number) // 100_000
    return f"{'-' if number < 0 else ''}{tenths // 10:,}.{tenths % 10}M".replace(".0M", "M")


def amount(meter: str, value: int) -> str:
    """An amount of a meter (`COST`, `TOKENS`, `REQUESTS`) for people."""
    return usd(value) if meter == "COST" else compact(value)
