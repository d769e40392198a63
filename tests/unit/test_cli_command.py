"""The command as a whole: quick, with exit codes, and without tracebacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from quota.client import ApiError, FieldProblem
from quota_service.cli import main as command
from quota_service.cli.failures import ExitCode, closest, from_api

HEAVY = ("grpc", "google.protobuf", "ruamel.yaml", "rich", "quota_service.domain", "asyncio")


def test_help_lists_every_command_without_importing_what_is_slow() -> None:
    code = (
        "import sys; from quota_service.__main__ import main; main(['--help']); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(f"  {name} " in shown for name in command.COMMANDS)
    assert "5  the server is unavailable" in shown
    assert shown.splitlines()[-1] == "[]"


def test_a_fault_of_the_command_is_a_sentence_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: object) -> None:
        raise ExceptionGroup("several", [KeyError("x")])

    monkeypatch.setattr(command.cli, "main", broken)
    assert command.main([]) == command.FAULT
    assert capsys.readouterr().err.startswith("error: this is a fault of the command: KeyError: 'x'\n")


@pytest.mark.parametrize("name", sorted(command.COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([name, "--help"]) == ExitCode.OK
    assert f"Usage: quota {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", sorted(command.COMMANDS.keys() - {"serve", "migrate", "audit", "budget", "deadletter", "key"})
)
def test_every_command_that_prints_can_print_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command.main([name, "--help"])
    assert "--json" in capsys.readouterr().out


def test_an_unknown_command_names_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["aply"]) == ExitCode.BAD_INPUT
    assert "there is no command 'aply'; did you mean 'apply'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["export"],
        ["budget", "list"],
        ["authorize", "--model", "openai/gpt-5", "--input-tokens", "1"],
        ["release", "x"],
        ["freeze", "ada"],
    ],
)
def test_without_a_server_commands_say_so(
    arguments: list[str], free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"127.0.0.1:{free_port}"
    assert command.main([*arguments, "--address", address]) == ExitCode.UNAVAILABLE
    error = capsys.readouterr().err
    assert error.startswith(f"error: no server answers at {address}\nhint: ")
    assert "Traceback" not in error


def test_a_file_that_is_not_there_is_not_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["apply", "-f", "nowhere.yaml"]) == ExitCode.NOT_FOUND
    assert "cannot read nowhere.yaml" in capsys.readouterr().err


def test_serving_without_stores_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("QUOTA_VALKEY_URL", "QUOTA_POSTGRES_URL", "QUOTA_DEV"):
        monkeypatch.delenv(variable, raising=False)
    assert command.main(["serve"]) == ExitCode.BAD_INPUT
    assert "--dev" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, ExitCode.BAD_INPUT),
        (grpc.StatusCode.NOT_FOUND, ExitCode.NOT_FOUND),
        (grpc.StatusCode.ALREADY_EXISTS, ExitCode.CONFLICT),
        (grpc.StatusCode.FAILED_PRECONDITION, ExitCode.CONFLICT),
        (grpc.StatusCode.UNAVAILABLE, ExitCode.UNAVAILABLE),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ExitCode.UNAVAILABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, ExitCode.UNAVAILABLE),
        (grpc.StatusCode.INTERNAL, ExitCode.UNAVAILABLE),
    ],
)
def test_statuses_become_exit_codes(code: grpc.StatusCode, exit_code: ExitCode) -> None:
    problem = FieldProblem(field="budget.limits", description="is missing")
    error = ApiError(code=code, message="no", reason="SOME_REASON", fields=(problem,))
    failure = from_api(error, "127.0.0.1:1")
    assert failure.code is exit_code
    assert failure.details == ("budget.limits: is missing",)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    executable = f"{sys.executable} -m quota_service"
    script = f"{executable} --help | head -n 1"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stderr == ""


def test_the_closest_word_ignores_case_and_is_not_forced() -> None:
    assert closest("Monthy", ["monthly", "daily"]) == "monthly"
    assert closest("zebra", ["monthly", "daily"]) == ""
