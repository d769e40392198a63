"""`quota key` through the command, against a real server: secrets in a pipe, and what a person reads."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import Server

FILE = """\
organization: {id: keyed, time_zone: Europe/Berlin}
teams: {core: {}}
users: {ada: {teams: [core]}}
keys:
  gateway: {team: core, until: 2031-01-01}
budgets:
  core: {scope: {team: core}, limit: {usd: 10}, period: monthly, mode: hard}
"""


@pytest.fixture
def keyed(server: Server) -> Server:
    done = server.quota("apply", "-f", "-", "--prune", stdin=FILE, organization="keyed")
    assert done.code == 0, done.err
    return server


def quota(server: Server, *arguments: str) -> str:
    done = server.quota(*arguments, organization="keyed")
    assert done.code == 0, done.err
    return done.out


def test_a_secret_is_alone_on_stdout_and_listed_by_its_start_only(keyed: Server) -> None:
    made = keyed.quota("key", "create", "laptop", "--user", "ada", "--name", "Ada's", organization="keyed")
    secret = made.out.removesuffix("\n")
    assert secret.startswith("qk_")
    assert len(secret) == 46
    assert made.err == "API key laptop of user ada. This is its secret, which is stored nowhere:\n"
    listed = quota(keyed, "key", "list")
    assert f"{secret[:11]}…" in listed
    assert secret not in listed
    assert "user ada" in listed
    assert "until 2031-01-01 00:00 CET" in listed
    assert secret not in quota(keyed, "key", "list", "--json")
    rotated = keyed.quota("key", "rotate", "laptop", "--grace", "2h", organization="keyed")
    assert rotated.out != made.out
    assert "the one before is good for 2h more" in rotated.err
    assert f"{secret[:11]}… until " in quota(keyed, "key", "list")


def test_a_file_says_until_when_a_key_is_good_and_knows_nothing_of_its_secrets(keyed: Server) -> None:
    quota(keyed, "key", "rotate", "gateway")
    again = keyed.quota("apply", "-f", "-", stdin=FILE, organization="keyed")
    assert "unchanged" in again.out
    exported = quota(keyed, "export")
    assert "until: 2030-12-31T23:00:00Z" in exported
    assert "qk_" not in exported
    assert "unchanged" in keyed.quota("apply", "-f", "-", stdin=exported, organization="keyed").out
    [key] = json.loads(quota(keyed, "key", "list", "--json"))["apiKeys"]
    assert len(key["secrets"]) == 1


def test_revoking_is_for_good_and_wants_a_yes(keyed: Server) -> None:
    quota(keyed, "key", "create", "laptop", "--user", "ada")
    asked = keyed.quota("key", "revoke", "laptop", organization="keyed")
    assert (asked.code, asked.out) == (2, "")
    assert "hint: add --yes" in asked.err
    assert quota(keyed, "key", "revoke", "laptop", "--yes").startswith("API key laptop was revoked 20")
    assert "revoked 20" in quota(keyed, "key", "list")
    again = keyed.quota("key", "rotate", "laptop", organization="keyed")
    assert again.code == 4
    assert "revoked" in again.err
    denied = keyed.quota(
        *("authorize", "--key", "laptop", "--model", "openai/gpt-4o", "--input-tokens", "10"),
        organization="keyed",
    )
    assert denied.code == 1
    assert "was revoked" in denied.out + denied.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("create", "x"), "say whose key it is: --user ID or --team ID"),
        (("create", "x", "--user", "ada", "--team", "core"), "say whose key it is"),
        (("create", "x", "--user", "ada", "--until", "soon"), "--until: 'soon' is neither a date nor a time"),
        (("rotate", "gateway", "--grace", "long"), "--grace: 'long' is not a duration"),
        (("rotate", "gatway"), "did you mean 'gateway'?"),
        (("revoke", "gatway", "--yes"), "did you mean 'gateway'?"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(
    keyed: Server, arguments: tuple[str, ...], told: str
) -> None:
    before = quota(keyed, "key", "list", "--json")
    done = keyed.quota("key", *arguments, organization="keyed")
    assert done.code in (2, 3)
    assert told in done.err
    assert quota(keyed, "key", "list", "--json") == before
