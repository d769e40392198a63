"""Authorizing, committing, releasing and looking, by the command, against a real server."""

from __future__ import annotations

from tests.e2e.conftest import ServerProcess

AUTHORIZE = (
    "authorize",
    "--model",
    "openai/gpt-5-mini",
    "--input-tokens",
    "1200",
    "--max-output-tokens",
    "800",
)


def test_a_call_is_authorized_committed_and_found_in_the_ledger(server: ServerProcess) -> None:
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
    assert server.quota_json("reservations")["reservations"] == []


def test_tables_are_for_people(server: ServerProcess) -> None:
    allowed = server.quota(*AUTHORIZE, "--user", "grace")
    assert allowed.returncode == 0
    assert allowed.stdout.startswith("ALLOW")
    assert "who          team engineering, user grace" in allowed.stdout
    assert "engineer-allowance [grace]" in allowed.stdout
    status = server.quota("budget", "status", "engineer-allowance").stdout
    assert "engineer-allowance [ada]" in status
    assert "$400.00" in status
    assert "00:00 E" in status  # midnight in New York
    assert "engineering/grace" in server.quota("reservations").stdout
    assert "\x1b[" not in allowed.stdout + status


def test_asking_holds_nothing(server: ServerProcess) -> None:
    asked = server.quota(*AUTHORIZE, "--user", "ada", "--validate-only")
    assert (asked.returncode, "only a question" in asked.stdout) == (0, True)
    assert server.quota("reservations").stdout == "nothing is held\n"


def test_a_denial_exits_with_1_and_says_why(server: ServerProcess) -> None:
    denied = server.quota(
        "authorize", "--user", "tim", "--model", "anthropic/claude-sonnet-4-5", "--input-tokens", "2000000"
    )
    assert denied.returncode == 1
    assert denied.stdout.startswith("DENY")
    assert "BUDGET_EXHAUSTED" in denied.stdout
    assert "tim-daily" in denied.stdout


def test_errors_have_a_field_a_reason_and_an_exit_code(server: ServerProcess) -> None:
    negative = server.quota("authorize", "--model", "openai/gpt-5", "--input-tokens", "-1")
    too_long = server.quota(*AUTHORIZE, "--user", "ada", "--ttl", "7d")
    own_price = server.quota(*AUTHORIZE, "--user", "ada", "--cost-usd", "0.5")
    unknown = server.quota("commit", "01a20060-faee-7df5-b063-b242dda3bfeb", "--input-tokens", "1")
    assert [done.returncode for done in (negative, too_long, own_price, unknown)] == [2, 2, 2, 3]
    assert "ttl" in too_long.stderr
    assert "PRICE_NOT_ALLOWED" in own_price.stderr
    assert "RESERVATION_NOT_FOUND" in unknown.stderr
    assert all("Traceback" not in done.stderr for done in (negative, too_long, own_price, unknown))


def test_ending_otherwise_is_a_conflict_and_releasing_is_not(server: ServerProcess) -> None:
    name = server.quota_json(*AUTHORIZE, "--user", "ada")["reservation"]["name"]
    identifier = name.rpartition("/")[2]
    assert server.quota("release", identifier, "--reason", "changed my mind").stdout.startswith("returned  $")
    assert server.quota("release", name).stdout == "nothing to return: it was released before\n"
    server.quota("commit", name, "--input-tokens", "10")
    assert server.quota("commit", name, "--input-tokens", "11").returncode == 4


def test_freezing_stops_new_requests_at_once(server: ServerProcess) -> None:
    assert server.quota("freeze", "team/engineering").stdout == "team engineering is frozen\n"
    assert server.quota("freeze", "engineering").stdout == "team engineering is frozen already\n"
    assert server.quota(*AUTHORIZE, "--user", "ada").returncode == 1
    assert server.quota_json("unfreeze", "teams/engineering")["disabled"] is False
    assert server.quota(*AUTHORIZE, "--user", "ada").returncode == 0
    nobody = server.quota("freeze", "grase")
    assert (nobody.returncode, "did you mean 'grace'?" in nobody.stderr) == (3, True)


def test_an_id_that_several_have_is_not_guessed(server: ServerProcess) -> None:
    server.quota("apply", "-f", "-", stdin="organization: acme\nteams: {ada: {}}\n")
    ambiguous = server.quota("freeze", "ada")
    assert ambiguous.returncode == 2
    assert "'ada' is several: team/ada, user/ada" in ambiguous.stderr
    assert server.quota("freeze", "user/ada").returncode == 0
