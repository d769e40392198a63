"""What `make run` starts, as a newcomer meets it."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import QUOTA, ROOT, ServeProcess, quota, serving

READY = "Ctrl-C stops everything"
SECOND_START_S_MAX = 3.0

has_grpcurl = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="PyPI has no grpcurl for this platform"
)


def printed_commands(process: ServeProcess) -> list[str]:
    """The three lines to paste, as they stand."""
    return [line for line in process.output.splitlines() if " -emit-defaults " in line]


def answers(shell: str, lines: list[str]) -> list[dict[str, object]]:
    """What the lines print when they are entered one after the other into one shell."""
    done = subprocess.run(
        [shell], input="\n".join(lines), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    decoder, rest, found = json.JSONDecoder(), done.stdout.strip(), []
    while rest:
        answer, end = decoder.raw_decode(rest)
        found.append(answer)
        rest = rest[end:].strip()
    return found


@has_grpcurl
@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_the_printed_commands_work_as_printed_in_one_shell(
    shell: str, tmp_path: Path, free_port: int
) -> None:
    with serving("--dev", "--address", f"127.0.0.1:{free_port}", QUOTA_DATA_DIR=str(tmp_path)) as process:
        process.wait_for(READY)
        authorized, committed, status = answers(shell, printed_commands(process))
    assert authorized["decision"] == "DECISION_ALLOW"
    assert committed["durability"] == "DURABILITY_LEDGER"
    charged = committed["charged"]
    assert isinstance(charged, dict)
    spent = {entry["meter"]: entry["spent"] for entry in status["statuses"]}  # type: ignore[attr-defined]
    assert spent == {"METER_COST": charged["costMicros"], "METER_TOKENS": charged["tokens"]}


@has_grpcurl
def test_grpcurl_reads_why_a_call_was_refused(tmp_path: Path, free_port: int) -> None:
    grpcurl = [str(Path(sys.executable).with_name("grpcurl")), "-plaintext", "-d", '{"name": "nobody"}']
    method = [f"127.0.0.1:{free_port}", "quota.v1.QuotaService/GetReservation"]
    with serving("--dev", "--address", f"127.0.0.1:{free_port}", QUOTA_DATA_DIR=str(tmp_path)) as process:
        process.wait_for(READY)
        done = subprocess.run([*grpcurl, *method], capture_output=True, text=True, check=False, timeout=60)
    assert '"field":"name"' in done.stderr.replace(" ", "")


@has_grpcurl
def test_the_secured_server_prints_commands_that_work_and_lets_nobody_else_in(
    tmp_path: Path, free_port: int
) -> None:
    address = f"127.0.0.1:{free_port}"
    data = str(tmp_path / "data dir")  # its name needs quotes
    with serving("--dev", "--secure", "--address", address, QUOTA_DATA_DIR=data) as process:
        process.wait_for(READY)
        assert "NO AUTHENTICATION" not in process.output
        authorized, committed, _ = answers("sh", printed_commands(process))
        assert authorized["decision"] == "DECISION_ALLOW"
        assert committed["durability"] == "DURABILITY_LEDGER"
        [exported] = [line for line in process.output.splitlines() if "export QUOTA_CA=" in line]
        command = f"{exported.partition(': ')[2]}; {QUOTA} --address {address} budget list --json"
        listed = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
        assert json.loads(listed.stdout)["budgets"]
        files = Path(data) / "secured"
        assert {file.stat().st_mode & 0o777 for file in files.iterdir()} == {0o600}
        trusted = {"QUOTA_ADDRESS": address, "QUOTA_CA": str(files / "ca.pem")}
        nobody = quota("budget", "list", **trusted)
        assert (nobody.returncode, nobody.stdout) == (6, "")
        assert "hint: put a service token into QUOTA_TOKEN" in nobody.stderr
        stranger = quota("budget", "list", **trusted, QUOTA_TOKEN="qt_wrong")
        assert stranger.returncode == 6
        plaintext = quota("budget", "list", QUOTA_ADDRESS=address)
        assert plaintext.returncode == 5


@has_grpcurl
def test_a_second_start_keeps_what_was_spent(tmp_path: Path, free_port: int) -> None:
    arguments = ("--dev", "--address", f"127.0.0.1:{free_port}")
    with serving(*arguments, QUOTA_DATA_DIR=str(tmp_path)) as first:
        first.wait_for(READY)
        answers("sh", printed_commands(first))
        assert first.stop() == 0
    with serving(*arguments, QUOTA_DATA_DIR=str(tmp_path)) as second:
        second.wait_for(READY)
        assert printed_commands(first)[0] != printed_commands(second)[0], "the key must be fresh"
        status = answers("sh", printed_commands(second)[2:])[0]
        assert all(int(entry["spent"]) > 0 for entry in status["statuses"])  # type: ignore[attr-defined]


def test_a_second_start_is_quick(tmp_path: Path, free_port: int) -> None:
    def start_s() -> float:
        arguments = ("--dev", "--address", f"127.0.0.1:{free_port}")
        with serving(*arguments, QUOTA_DATA_DIR=str(tmp_path)) as process:
            seconds = process.wait_for(READY)
            assert process.stop() == 0
        return seconds

    start_s()
    # The quickest of several: what else the machine is doing is not the start's time.
    assert any(start_s() < SECOND_START_S_MAX for _ in range(5))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_cleanly(number: int, tmp_path: Path, free_port: int) -> None:
    with serving("--dev", "--address", f"127.0.0.1:{free_port}", QUOTA_DATA_DIR=str(tmp_path)) as process:
        process.wait_for(READY)
        assert len(processes_on(tmp_path)) >= 2
        assert process.stop(number) == 0
        assert "Traceback" not in process.output
    assert processes_on(tmp_path) == []


def processes_on(directory: Path) -> list[str]:
    """Command lines of the servers that work on a data directory."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "args="], capture_output=True, text=True, check=True
    ).stdout
    return [line for line in listed.splitlines() if str(directory) in line]


def test_given_stores_are_used_instead_of_embedded_ones(
    valkey_url: str, postgres_url: str, key_prefix: str, tmp_path: Path, free_port: int
) -> None:
    with serving(
        "--dev",
        "--address",
        f"127.0.0.1:{free_port}",
        QUOTA_DATA_DIR=str(tmp_path),
        QUOTA_VALKEY_URL=valkey_url,
        QUOTA_POSTGRES_URL=postgres_url,
        QUOTA_KEY_PREFIX=f"{key_prefix}/",
    ) as process:
        process.wait_for(READY)
        assert process.stop() == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ((), {}, "QUOTA_VALKEY_URL"),
        (("--dev",), {"QUOTA_VALKEY_URL": "redis://localhost"}, "QUOTA_POSTGRES_URL"),
        (("--dev", "--address", "0.0.0.0:50051"), {}, "loopback"),
        (("--dev",), {"QUOTA_GRACE_MS": "soon"}, "QUOTA_GRACE_MS"),
    ],
)
def test_wrong_settings_are_refused_with_what_to_do(
    arguments: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    with serving(*arguments, **environment) as process:
        assert process.wait() == 2
        assert said in process.output
        assert "Traceback" not in process.output


def test_an_address_in_use_is_told_in_a_sentence(
    valkey_url: str, postgres_url: str, key_prefix: str, free_port: int
) -> None:
    arguments = ("--dev", "--address", f"127.0.0.1:{free_port}")
    stores = {"QUOTA_VALKEY_URL": valkey_url, "QUOTA_POSTGRES_URL": postgres_url}
    with serving(*arguments, QUOTA_KEY_PREFIX=f"{key_prefix}/", **stores) as first:
        first.wait_for(READY)
        with serving(*arguments, QUOTA_KEY_PREFIX=f"{key_prefix}/", **stores) as second:
            assert second.wait() == 5
            assert f"127.0.0.1:{free_port}" in second.output
            assert "Traceback" not in second.output


def test_migrate_needs_no_more_than_the_database(postgres_url: str) -> None:
    done = quota("migrate", QUOTA_POSTGRES_URL=postgres_url)
    assert (done.returncode, done.stdout) == (0, "the database is up to date\n")


def test_migrate_asks_for_the_database() -> None:
    done = quota("migrate")
    assert done.returncode == 2
    assert "QUOTA_POSTGRES_URL" in done.stderr
