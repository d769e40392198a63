"""What tests share that compare the scripts with the reference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.twins import Valkey


@pytest.fixture
def valkey(valkey_url: str, key_prefix: str) -> Iterator[Valkey]:
    opened = Valkey(valkey_url, f"{key_prefix}:")
    yield opened
    opened.close()
