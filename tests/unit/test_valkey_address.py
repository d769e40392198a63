"""What a URL says of where Valkey is, and what is said of a URL that says nothing of the kind."""

from __future__ import annotations

import pytest

from quota_service.stores.valkey.address import Address, AddressMalformed


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://valkey", Address(hosts=(("valkey", 6379),))),
        ("valkey://10.0.0.1:7000/3", Address(hosts=(("10.0.0.1", 7000),), database=3)),
        ("redis://host?db=2", Address(hosts=(("host", 6379),), database=2)),
        ("redis://[::1]:7000", Address(hosts=(("::1", 7000),))),
        ("redis://:p%40ss@host", Address(hosts=(("host", 6379),), password="p@ss")),
        ("redis://me:p:w@host/", Address(hosts=(("host", 6379),), username="me", password="p:w")),
        ("rediss://host", Address(hosts=(("host", 6379),), tls=True)),
        (
            "valkeys://host?ssl_ca_certs=/etc/ca.pem",
            Address(hosts=(("host", 6379),), tls=True, ca_file="/etc/ca.pem"),
        ),
        (
            "unix://:secret@/run/valkey.sock?db=1",
            Address(path="/run/valkey.sock", password="secret", database=1),
        ),
        (
            "redis+sentinel://one,two:7000,[::1]:7001/budgets",
            Address(hosts=(("one", 26379), ("two", 7000), ("::1", 7001)), service="budgets"),
        ),
        (
            "valkeys+sentinel://me:pw@one/budgets/4?sentinel_username=it&sentinel_password=s%26p",
            Address(
                hosts=(("one", 26379),),
                service="budgets",
                tls=True,
                username="me",
                password="pw",
                database=4,
                sentinel_username="it",
                sentinel_password="s&p",
            ),
        ),
    ],
)
def test_a_url_says_where_valkey_is(url: str, address: Address) -> None:
    assert Address.parse(url) == address


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "no scheme"),
        ("host:6379", "begins with host"),
        ("http://:secret@host", "begins with http"),
        ("redis://:secret@host:port", "names the host 'host:port'"),
        ("redis://:secret@one,two", "names the host 'one,two'"),
        ("redis://:secret@host/first", "names the database 'first'"),
        ("redis://:secret/1@host", "in passwords write %40"),
        ("redis://:secret?a=b@host", "in passwords write %40"),
        ("redis://:a@secret#1@host", "in passwords write %40"),
        ("redis://:secret@host?timeout=1", "sets timeout"),
        ("redis://:secret@host?ssl_ca_certs=ca.pem", "sets ssl_ca_certs"),
        ("redis://:secret@host?db", "not name=value"),
        ("redis://:secret@[::1", "names the host"),
        ("unix://:secret@", "names no socket"),
        ("redis+sentinel://:secret@one,two", "not the service"),
        ("redis+sentinel://:secret@/budgets", "names the host ''"),
        ("redis+sentinel://:secret@one,/budgets", "names the host ''"),
        ("redis+sentinel://:secret@one:99999/budgets", "names the host 'one:99999'"),
        ("redis+sentinel://:secret@one/budgets?sentinel_pasword=secret", "sets sentinel_pasword"),
    ],
)
def test_a_malformed_url_is_refused_with_the_reason_and_without_the_password(url: str, why: str) -> None:
    with pytest.raises(AddressMalformed) as refused:
        Address.parse(url)
    assert why in str(refused.value)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_an_address_that_is_printed_shows_no_password() -> None:
    shown = repr(Address.parse("redis+sentinel://:secret@one/budgets?sentinel_password=secret2"))
    assert "secret" not in shown
