"""Topping up, cutting and moving money by the command, against a real server."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Server

BUDGETS = """
organization: {id: acme}
budgets:
  sales: {period: monthly, limit: {usd: 100, tokens: 1000000}, mode: hard}
  support: {period: monthly, limit: {usd: 50}, mode: hard}
"""


@pytest.fixture(scope="module")
def acme(server: Server) -> Server:
    """With budgets `sales` and `support`."""
    done = server.quota("apply", "-f", "-", stdin=BUDGETS)
    assert done.code == 0, done.err
    return server


def test_a_budget_is_topped_up_and_cut_and_the_ledger_says_why(acme: Server) -> None:
    done = acme.quota("budget", "adjust", "sales", "--usd", "50", "--tokens", "-1000", "--reason", "the fair")

    assert done.code == 0, done.err
    assert done.out.startswith("sales +$50.00, -1,000 tok\n")
    assert "$150.00" in done.out
    assert "--request-id" in done.err
    assert "sales +$50.00, -1,000 tok, the fair" in acme.quota("ledger", "--type", "adjust").out


def test_the_same_request_id_is_carried_out_once(acme: Server) -> None:
    adjust = ("budget", "adjust", "support", "--usd", "1", "--reason", "once", "--request-id", "mine")
    assert acme.quota_json(*adjust)["replayed"] is False
    again = acme.quota_json(*adjust)
    assert (again["replayed"], again["statuses"][0]["limit"]) == (True, "51000000")
    other = acme.quota(*adjust[:3], "--usd", "2", *adjust[5:])
    assert (other.code, "mine" in other.err) == (4, True)


def test_an_adjustment_until_a_date_says_so(acme: Server) -> None:
    done = acme.quota("budget", "adjust", "support", "--usd", "5", "--reason", "r", "--until", "2100-01-01")
    assert done.code == 0, done.err
    assert "support +$5.00 until 2100-01-01 00:00" in done.out


def test_money_moves_between_budgets_as_far_as_it_is_there(acme: Server) -> None:
    move = ("budget", "reallocate", "sales", "support", "--reason", "support is short")

    done = acme.quota(*move, "--usd", "20")
    assert done.code == 0, done.err
    assert done.out.startswith("sales -$20.00\nsupport +$20.00\n")

    done = acme.quota(*move, "--usd", "1000")
    assert done.code == 4
    assert "Nothing was moved" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("adjust", "sales", "--reason", "r"), "--usd, --tokens or --requests"),
        (("adjust", "sales", "--usd", "1"), "--reason"),
        (("adjust", "sales", "--usd", "lots", "--reason", "r"), "not a number"),
        (("adjust", "sales", "--usd", "1", "--reason", "r", "--until", "soon"), "neither a date nor a time"),
        (("adjust", "nowhere", "--usd", "1", "--reason", "r"), "nowhere"),
        (("reallocate", "sales", "sales", "--usd", "1", "--reason", "r"), "nothing would be moved"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_sentence(
    acme: Server, arguments: tuple[str, ...], told: str
) -> None:
    done = acme.quota("budget", *arguments)
    assert done.code in (2, 3)
    assert told in done.err
