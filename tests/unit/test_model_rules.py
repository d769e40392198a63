"""What an organization's own catalogue entry must be to be accepted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quota_service.domain.model_rules import PRICE_PICO_MAX, faults
from quota_service.domain.pricing import DatedRate, Model, Rate

RATE = Rate(0, 1, 1, 1, 1)
GOOD = Model(
    provider="own",
    model="llama/70b",
    prices=(DatedRate(0, RATE),),
    max_output_tokens=10,
    default_output_tokens=5,
)


@pytest.mark.parametrize(
    "model",
    [
        GOOD,
        replace(GOOD, prices=(), caller_priced=True),
        replace(GOOD, prices=(DatedRate(0, Rate(0, 0, 0, 0, 0)),)),
        replace(GOOD, prices=(DatedRate(0, RATE), DatedRate(0, RATE._replace(above_input_tokens=200_000)))),
        replace(GOOD, prices=(DatedRate(0, RATE), DatedRate(5, RATE))),
        replace(GOOD, max_output_tokens=0, default_output_tokens=50),
    ],
)
def test_a_sound_entry_has_no_faults(model: Model) -> None:
    assert faults(model) == ()


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (replace(GOOD, provider=""), "provider"),
        (replace(GOOD, provider="a/b"), "provider"),
        (replace(GOOD, model="with space"), "model"),
        (replace(GOOD, model="m" * 257), "model"),
        (replace(GOOD, tier=1001), "tier"),
        (replace(GOOD, max_output_tokens=-1), "max_output_tokens"),
        (replace(GOOD, default_output_tokens=11), "default_output_tokens"),
        (replace(GOOD, prices=()), "prices"),
        (replace(GOOD, prices=(DatedRate(0, RATE), DatedRate(0, RATE))), "prices[1]"),
        (
            replace(GOOD, prices=(DatedRate(0, RATE), DatedRate(5, RATE._replace(above_input_tokens=9)))),
            "prices[1].above_input_tokens",
        ),
        (
            replace(GOOD, prices=(DatedRate(0, RATE._replace(output_pico=PRICE_PICO_MAX + 1)),)),
            "prices[0].output_pico_usd_per_token",
        ),
        (
            replace(GOOD, prices=(DatedRate(0, RATE._replace(input_pico=-1)),)),
            "prices[0].input_pico_usd_per_token",
        ),
    ],
)
def test_every_rule_names_the_field_that_breaks_it(model: Model, field: str) -> None:
    assert [fault.field for fault in faults(model)] == [field]
