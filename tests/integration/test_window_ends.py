"""A window's counter lives 48 hours beyond the window's end, also where the end has been put off."""

from __future__ import annotations

import time

import pytest

from quota_service.domain import commands
from quota_service.domain.amounts import Limits
from quota_service.domain.reservation import WindowRef
from tests.support import valkey
from tests.support.commands import authorize, draft, term
from tests.support.valkey import Stores

HOUR_MS = 3_600_000
OUTLIVE_MS = 48 * HOUR_MS
NOW_MS = time.time_ns() // 1_000_000


async def hold_until(stores: Stores, organization: str, name: str, end_ms: int | None) -> WindowRef:
    """Holds something in the window that begins at 0 and ends then."""
    window = WindowRef("total", "", 0, end_ms)
    held = authorize(draft(organization, name, input_tokens=1), term(window, Limits(100)))
    answer = await stores.holds.authorize(held)
    assert isinstance(answer, commands.Granted)
    return window


@pytest.mark.parametrize("hours", [90 * 24, None])
async def test_putting_off_the_end_keeps_the_counter(
    valkey_url: str, key_prefix: str, hours: int | None
) -> None:
    later_ms = None if hours is None else NOW_MS + hours * HOUR_MS
    async with valkey.opened(valkey_url) as stores:
        window = await hold_until(stores, key_prefix, "first", NOW_MS + HOUR_MS)
        key = stores.keys.window(key_prefix, window)
        assert abs(await stores.connection.call("PEXPIRETIME", key) - NOW_MS - HOUR_MS - OUTLIVE_MS) < 2
        await hold_until(stores, key_prefix, "second", later_ms)
        kept_until_ms = -1 if later_ms is None else later_ms + OUTLIVE_MS
        assert await stores.connection.call("PEXPIRETIME", key) == kept_until_ms
        # A hold that knows the earlier end does not bring it back.
        await stores.holds.release(commands.Release(organization=key_prefix, reservation="first"))
        assert await stores.connection.call("PEXPIRETIME", key) == kept_until_ms
