"""What holds on Valkey holds on Debian's Redis too (7.0 on Debian 12): the same tests, run on that server.

A selection; all of them run on it with `QUOTA_EMBEDDED_VALKEY=$PWD/.venv/redis/redis-server make test`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio

from quota_service.domain.errors import StoreUnavailable
from quota_service.embedded.ports import start_on_free_port
from quota_service.embedded.process import ServerProcess
from quota_service.embedded.valkey import PROGRAM_VARIABLE, EmbeddedValkey
from quota_service.stores.valkey.connection import Connection
from tests.support.process import ROOT

NOT_TO_BE_HAD = 3
FETCHED_S = 100
RUN_S = 280
EXAMPLES = "25"
"""Random runs of the agreement with the reference: a fourth of those on Valkey."""

SELECTED = {
    "the reference": ("property/test_scripts_agree.py", "property/test_openings_agree.py"),
    "the store": (
        "integration/test_valkey_scripts.py",
        "integration/test_valkey_holds.py",
        "integration/test_valkey_events.py",
        "integration/test_valkey_sentinel.py::"
        "test_the_connection_follows_the_master_to_the_replica_that_takes_over",
    ),
    "the service": (
        "contract/test_authorize.py::test_of_nested_budgets_all_hold_or_none",
        "contract/test_authorize.py::test_a_denial_names_every_limit_that_did_not_fit",
        "contract/test_authorize.py::test_many_expired_holds_block_nobody_either",
        "contract/test_commit.py::test_a_charge_that_is_answered_is_in_the_ledger_at_once",
        "contract/test_commit.py::test_of_a_commit_and_a_release_at_once_one_ends_it_and_the_charge_stays",
        "contract/test_extend.py::test_more_output_tokens_are_held_at_the_holds_price",
        "contract/test_record.py::test_concurrent_repeats_charge_once_and_all_get_the_entry",
        "contract/test_adjust.py::test_a_top_up_makes_room_at_once_on_every_server",
        "contract/test_reallocate.py::test_headroom_moves_and_the_sum_stays_on_every_server",
        "contract/test_rollover.py::test_many_first_requests_on_two_servers_carry_once",
        "contract/test_rate_limits.py::test_unused_tokens_return_when_the_call_is_settled",
        "contract/test_rate_limits.py::test_two_servers_let_no_more_pass_together_than_the_burst",
        "integration/test_recovery.py::test_an_emptied_store_is_set_from_the_ledger",
        "integration/test_recovery.py::test_an_older_copy_of_the_keys_is_not_decided_on",
    ),
}
"""What to run, below `tests/`: the scripts against the pure reference, what uses them, and every verb."""

# Fetching waits for the package archive, and each of these is a run of tests of its own.
pytestmark = pytest.mark.timeout(FETCHED_S + RUN_S)


@pytest.fixture(scope="module")
def redis_server() -> Path:
    """Debian's redis-server, fetched once into the environment that runs the tests."""
    folder = Path(sys.prefix) / "redis"
    done = subprocess.run(
        [ROOT / "scripts" / "fetch_redis.sh", folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=FETCHED_S,
    )
    if done.returncode == NOT_TO_BE_HAD:
        pytest.skip(f"Redis cannot be fetched: {done.stdout.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "redis-server"


async def test_the_server_that_the_environment_names_is_the_one_that_runs(
    redis_server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROGRAM_VARIABLE, str(redis_server))
    server = EmbeddedValkey(tmp_path / "redis", durable=False)
    await server.start()
    try:
        async with contextlib.aclosing(redis.asyncio.from_url(server.url)) as client:
            about = await client.info("server")
        assert about.get("server_name", "redis") == "redis"
        assert int(about["redis_version"].split(".")[0]) >= 7
    finally:
        await server.stop()


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
async def test_a_server_with_tls_is_reached_if_its_certificate_is_trusted(
    redis_server: Path, tmp_path: Path, scheme: str
) -> None:
    certificate = _certificate(redis_server.with_name("openssl"), tmp_path)
    async with _with_tls(redis_server, tmp_path) as port:
        trusting = Connection(f"{scheme}://127.0.0.1:{port}?ssl_ca_certs={certificate}")
        doubting = Connection(f"{scheme}://127.0.0.1:{port}")
        try:
            assert await trusting.call("PING") == b"PONG"
            with pytest.raises(StoreUnavailable):
                await doubting.call("PING")
        finally:
            await trusting.close()
            await doubting.close()


@pytest.mark.parametrize("tests", SELECTED.values(), ids=SELECTED)
async def test_what_holds_on_valkey_holds_on_redis(redis_server: Path, tests: tuple[str, ...]) -> None:
    code, output = await _run(redis_server, tests)
    assert code == 0, output
    passed = re.search(r"(\d+) passed", output)
    assert passed
    assert int(passed[1]) >= len(tests)
    assert "skipped" not in output


async def _run(server: Path, tests: tuple[str, ...]) -> tuple[int | None, str]:
    """The exit code of pytest and what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
        *(f"tests/{each}" for each in tests),
        cwd=ROOT,
        env={"QUOTA_TEST_EXAMPLES": EXAMPLES, **environment, PROGRAM_VARIABLE: str(server)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), RUN_S)
    finally:
        if process.returncode is None:
            process.terminate()  # it ends its servers
            await process.wait()
    return process.returncode, output.decode(errors="replace")


def _certificate(openssl: Path, folder: Path) -> Path:
    """A certificate for 127.0.0.1 that has signed itself, with its key beside it."""
    settings, certificate = folder / "openssl.cnf", folder / "certificate.pem"
    settings.write_text("[req]\ndistinguished_name = name\n[name]\n")
    command = f"req -x509 -config {settings} -newkey rsa:2048 -nodes -days 2 -subj /CN=test"
    own = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", certificate)
    subprocess.run([openssl, *command.split(), *own], check=True, capture_output=True)
    return certificate


@contextlib.asynccontextmanager
async def _with_tls(server: Path, folder: Path) -> AsyncIterator[int]:
    """The port of a Redis that speaks nothing but TLS, with the certificate of that folder."""
    settings = "--port 0 --bind 127.0.0.1 --tls-cert-file certificate.pem --tls-key-file key.pem"
    processes: list[ServerProcess] = []

    async def start_on(port: int) -> None:
        process = ServerProcess(
            [str(server), *settings.split(), "--tls-auth-clients", "no", "--tls-port", str(port)],
            log=folder / "redis.log",
            cwd=folder,
            stop_signal=signal.SIGTERM,
        )
        processes.append(process)
        await process.ready(lambda: "Ready to accept connections" in process.log_text(), timeout_s=30)

    try:
        yield await start_on_free_port(start_on)
    finally:
        for process in processes:
            process.kill()
