"""Amounts as people write and read them."""

from __future__ import annotations

import pytest

from quota_service.cli import units


@pytest.mark.parametrize(
    ("written", "micros"),
    [
        ("2000", 2_000_000_000),
        ("150.00", 150_000_000),
        ("0.15", 150_000),
        ("0.000001", 1),
        ("5_000", 5_000_000_000),
        ("1e3", 1_000_000_000),
        ("900000000", 900_000_000_000_000),
        ("0", 0),
    ],
)
def test_dollars_are_read_exactly(written: str, micros: int) -> None:
    assert units.parse_usd(written) == micros


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("0.0000001", "finer than a millionth"),
        ("-1", "is negative"),
        ("900000000.000001", "more than 900,000,000"),
        ("1e99", "more than 900,000,000"),
        ("1e999999999", "is not a number"),
        ("nan", "is not a number"),
        ("Infinity", "is not a number"),
        ("$2,000", "write 2000"),
        ("150 USD", "write 150"),
        ("", "is not a number"),
        ("٣", "is not a number"),
        ("0.00000100000000000000000000001", "too many digits"),
    ],
)
def test_what_is_no_amount_of_dollars_says_why(written: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        units.parse_usd(written)


def test_every_micro_survives_being_written_and_read() -> None:
    for micros in (0, 1, 10, 999_999, 1_000_000, 123_456_789, 900_000_000_000_000):
        assert units.parse_usd(units.usd_decimal(micros)) == micros


@pytest.mark.parametrize(
    ("micros", "shown"),
    [
        (0, "$0.00"),
        (2_000_000_000, "$2,000.00"),
        (150_000, "$0.15"),
        (4_125, "$0.004125"),
        (1_005_000, "$1.01"),
        (-2_500_000, "-$2.50"),
        (-1, "-$0.000001"),
    ],
)
def test_money_is_shown_in_cents_and_finer_only_below_a_dollar(micros: int, shown: str) -> None:
    assert units.usd(micros) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(9_999_999, "9,999,999"), (10_000_000, "10M"), (1_499_960_000, "1,499.9M"), (-12_300_000, "-12.3M")],
)
def test_large_counts_are_shown_in_millions_rounded_down(number: int, shown: str) -> None:
    assert units.compact(number) == shown


@pytest.mark.parametrize(
    ("written", "seconds"), [("90", 90), ("90s", 90), ("2m", 120), ("24h", 86_400), ("7d", 604_800)]
)
def test_durations_are_read(written: str, seconds: int) -> None:
    assert units.parse_duration_s(written) == seconds
    assert units.parse_duration_s(units.duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (90, "90s"),
        (120, "2m"),
        (86_400, "24h"),
        (129_600, "36h"),
        (604_800, "7d"),
        (86_460, "1441m"),
        (0, "0s"),
    ],
)
def test_durations_are_written_in_the_largest_unit_that_is_exact(seconds: int, written: str) -> None:
    assert units.duration_text(seconds) == written


@pytest.mark.parametrize("written", ["", "1.5h", "soon", "-3s", "5 m"])
def test_what_is_no_duration_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        units.parse_duration_s(written)
