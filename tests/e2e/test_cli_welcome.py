"""The commands that the server prints work as printed, with the real grpcurl."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from quota_service.cli.server import find_grpcurl
from tests.e2e.conftest import REPOSITORY, ServerProcess

pytestmark = pytest.mark.skipif(find_grpcurl() is None, reason="there is no grpcurl for this platform")


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh"])
def test_the_printed_commands_work_in_that_order_in_one_shell(server: ServerProcess, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell} here")
    commands = [line for line in server.greeting.splitlines() if "grpcurl -plaintext" in line]
    assert len(commands) == 3
    done = subprocess.run(
        [shell, "-e"], input="\n".join(commands), capture_output=True, text=True, check=False, cwd=REPOSITORY
    )
    assert (done.returncode, done.stderr) == (0, "")
    authorize, commit, status = done.stdout.split("\n}\n", 2)
    assert '"decision": "DECISION_ALLOW"' in authorize
    assert '"durability": "DURABILITY_LEDGER"' in commit
    assert '"source": "organizations/acme/budgets/engineering-monthly"' in status


def test_starting_again_prints_a_fresh_key_and_keeps_what_was_changed(server: ServerProcess) -> None:
    assert "NO AUTHENTICATION" in server.greeting
    assert '"idempotencyKey": "demo-' in server.greeting
