"""What opens the stores is told to nobody when they do not open."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from quota_service.config import Settings
from quota_service.domain.errors import StoreUnavailable
from quota_service.embedded.ports import free_port
from quota_service.stores.postgres.pool import PoolSettings, open_pool
from tests.support.process import quota, serving
from tests.support.service import PEPPER

PASSWORD = "canary-of-a-password"


def refused(url: str) -> str:
    """The URL with a password that is not right."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username or ''}:{PASSWORD}@{parts.hostname}:{parts.port}").geturl()


def unreachable(url: str) -> str:
    parts = urlsplit(refused(url))
    return parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:1").geturl()


def malformed(url: str) -> str:
    return refused(url).replace(f"{PASSWORD}@", f"{PASSWORD}/@")


def is_silent(output: str, *urls: str) -> bool:
    """Whether no password and no pepper is in there."""
    passwords = [urlsplit(url).password for url in urls]
    return not [secret for secret in (PASSWORD, PEPPER, *passwords) if secret and secret in output]


def test_a_valkey_that_refuses_the_password_is_told_without_it(valkey_url: str, postgres_url: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    environment = {"VALKEY_URL": refused(valkey_url), "POSTGRES_URL": postgres_url, "KEY_PEPPER": PEPPER}
    settings = {f"QUOTA_{name}": value for name, value in environment.items()}
    with serving("--address", address, "--log-level", "debug", **settings) as process:
        process.wait_for("is ready on")
        doctor = quota("--address", address, "doctor", "--json")
        process.wait_for("Valkey does not answer")
        assert process.stop() == 0
        assert "Valkey does not answer this replica" in doctor.stdout
        assert is_silent(process.output + doctor.stdout + doctor.stderr, valkey_url, postgres_url)


@pytest.mark.parametrize("spoilt", [refused, unreachable, malformed])
async def test_a_postgresql_that_cannot_be_had_is_told_without_the_password(
    spoilt: Callable[[str], str], postgres_url: str
) -> None:
    with pytest.raises(StoreUnavailable) as raised:
        await open_pool(PoolSettings(url=spoilt(postgres_url)))
    assert is_silent("".join(traceback.format_exception(raised.value)), postgres_url)


def test_settings_that_are_shown_show_no_secret() -> None:
    url = f"redis://:{PASSWORD}@localhost"
    settings = Settings(valkey_url=url, postgres_url=url, key_pepper=PEPPER)
    assert is_silent(f"{settings!r}{PoolSettings(url=url)!r}")
