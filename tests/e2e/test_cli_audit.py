"""`quota audit` through the command, against a real server."""

from __future__ import annotations

import json

from tests.e2e.conftest import Server

FILE = """\
organization: {{id: audited}}
teams: {{core: {{}}}}
budgets:
  core: {{scope: {{team: core}}, limit: {{usd: {usd}}}, period: monthly, mode: hard}}
"""


def test_changes_are_listed_with_what_differs_and_why_and_are_verified(server: Server) -> None:
    for usd, reason in ((10, "first"), (25, "Q4, überarbeitet")):
        done = server.quota(
            *("--reason", reason, "apply", "-f", "-"), stdin=FILE.format(usd=usd), organization="audited"
        )
        assert done.code == 0, done.err

    listed = server.quota("audit", "list", organization="audited")
    newest = next(line for line in listed.out.splitlines() if "UpdateBudget" in line)
    assert "budgets/core" in newest
    assert "limits.costMicros: 10000000 → 25000000" in newest
    assert "Q4, überarbeitet" in newest
    assert [line.split()[4:7] for line in listed.out.splitlines() if "CreateTeam" in line] == []
    assert "new" in next(line for line in listed.out.splitlines() if "teams/core" in line)
    told = server.quota("audit", "list", "--of", "budgets/core", "--json", organization="audited")
    assert [each["reason"] for each in json.loads(told.out)["auditEvents"]] == ["Q4, überarbeitet", "first"]
    assert server.quota("audit", "list", "--actor", "eve", organization="audited").out == "no changes\n"

    verified = server.quota("audit", "verify", organization="audited")
    assert verified.code == 0
    assert "audited: 4 changes, 0 ledger entries: as they were written" in verified.out
    head = verified.out.splitlines()[-1].removeprefix("head ")
    again = server.quota("audit", "verify", "--head", head, organization="audited")
    assert (again.code, again.out) == (0, verified.out)
    other = server.quota("audit", "verify", "--head", head.replace("4:", "3:", 1), organization="audited")
    assert other.code == 1
    assert "auditEvents/3: The event 3 is not the head that was known." in other.out
    wrong = server.quota("audit", "verify", "--head", "x", organization="audited")
    assert wrong.code == 2
    assert "is no head" in wrong.err
