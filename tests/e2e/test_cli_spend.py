"""Authorizing, committing, releasing and looking, by the command, against a real server."""

from __future__ import annotations

from tests.e2e.conftest import Server

AUTHORIZE = (
    "authorize",
    "--model",
    "openai/gpt-5-mini",
    "--input-tokens",
    "1200",
    "--max-output-tokens",
    "800",
)


def test_a_call_is_authorized_committed_and_found_in_the_ledger(server: Server) -> None:
    answer = server.quota_json(*AUTHORIZE, "--key", "key-ada-laptop", "--project", "assistant")
    name = answer["reservation"]["name"]
    assert answer["decision"] == "DECISION_ALLOW"
    assert answer["reservation"]["subject"]["team"] == "engineering"
    [live] = server.quota_json("reservations", "--user", "ada")["reservations"]
    assert live["name"] == name
    commit = ("commit", name, "--input-tokens", "1200", "--output-tokens", "350")
    assert server.quota_json(*commit)["durability"] == "DURABILITY_LEDGER"
    assert server.quota_json(*commit)["replayed"] is True
    entries = server.quota_json("ledger", "--reservation", name)["ledgerEntries"]
    assert [entry["type"] for entry in entries] == ["TYPE_COMMIT", "TYPE_HOLD"]
    assert server.quota_json("reservations", "--user", "ada")["reservations"] == []


def test_tables_are_for_people(server: Server) -> None:
    allowed = server.quota(*AUTHORIZE, "--user", "grace")
    assert allowed.code == 0
    assert allowed.out.startswith("ALLOW")
    assert "who          team engineering, user grace" in allowed.out
    assert "engineer-allowance [grace]" in allowed.out
    status = server.quota("budget", "status", "engineer-allowance").out
    assert "engineer-allowance [ada]" in status
    assert "$400.00" in status
    assert "00:00 E" in status  # midnight in New York
    assert "engineering/grace" in server.quota("reservations").out
    assert "\x1b[" not in allowed.out + status


def test_asking_holds_nothing(server: Server) -> None:
    asked = server.quota(*AUTHORIZE, "--user", "joan", "--validate-only")
    assert (asked.code, "only a question" in asked.out) == (0, True)
    assert server.quota("reservations", "--user", "joan").out == "nothing is held\n"


def test_a_denial_exits_with_1_and_says_why(server: Server) -> None:
    denied = server.quota(
        "authorize", "--user", "tim", "--model", "anthropic/claude-sonnet-4-5", "--input-tokens", "2000000"
    )
    assert denied.code == 1
    assert denied.out.startswith("DENY")
    assert "BUDGET_EXHAUSTED" in denied.out
    assert "tim-daily" in denied.out


def test_errors_have_a_field_a_reason_and_an_exit_code(server: Server) -> None:
    negative = server.quota("authorize", "--model", "openai/gpt-5", "--input-tokens", "-1")
    too_long = server.quota(*AUTHORIZE, "--user", "ada", "--ttl", "7d")
    own_price = server.quota(*AUTHORIZE, "--user", "ada", "--cost-usd", "0.5")
    unknown = server.quota("commit", "01a20060-faee-7df5-b063-b242dda3bfeb", "--input-tokens", "1")
    assert [done.code for done in (negative, too_long, own_price, unknown)] == [2, 2, 2, 3]
    assert "ttl" in too_long.err
    assert "PRICE_NOT_ALLOWED" in own_price.err
    assert "RESERVATION_NOT_FOUND" in unknown.err
    assert all("Traceback" not in done.err for done in (negative, too_long, own_price, unknown))


def test_ending_otherwise_is_a_conflict_and_releasing_is_not(server: Server) -> None:
    name = server.quota_json(*AUTHORIZE, "--user", "mary")["reservation"]["name"]
    identifier = name.rpartition("/")[2]
    assert server.quota("release", identifier, "--reason", "changed my mind").out.startswith("returned  $")
    assert server.quota("release", name).out == "nothing to return: it was released before\n"
    server.quota("commit", name, "--input-tokens", "10")
    assert server.quota("commit", name, "--input-tokens", "11").code == 4


def test_freezing_stops_new_requests_at_once(server: Server) -> None:
    assert server.quota("freeze", "team/engineering").out == "team engineering is frozen\n"
    assert server.quota("freeze", "engineering").out == "team engineering is frozen already\n"
    assert server.quota(*AUTHORIZE, "--user", "linus").code == 1
    assert server.quota_json("unfreeze", "teams/engineering")["disabled"] is False
    assert server.quota(*AUTHORIZE, "--user", "linus").code == 0
    nobody = server.quota("freeze", "grase")
    assert (nobody.code, "did you mean 'grace'?" in nobody.err) == (3, True)


def test_an_id_that_several_have_is_not_guessed(server: Server) -> None:
    server.quota("apply", "-f", "-", stdin="organization: acme\nteams: {tim: {}}\n")
    ambiguous = server.quota("freeze", "tim")
    assert ambiguous.code == 2
    assert "'tim' is several: team/tim, user/tim" in ambiguous.err
    assert server.quota("freeze", "user/tim").code == 0
    assert server.quota("unfreeze", "user/tim").code == 0
