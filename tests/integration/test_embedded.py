"""The embedded servers: start, stop, what stays between starts, and what happens when things go wrong."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio

from quota_service.embedded import EmbeddedError, EmbeddedStores, binaries, process
from quota_service.embedded.valkey import EmbeddedValkey


async def sql(stores: EmbeddedStores, statement: str) -> object:
    connection = await asyncpg.connect(stores.postgres_url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def command(valkey_url: str, *words: str) -> object:
    async with contextlib.aclosing(redis.asyncio.from_url(valkey_url)) as client:
        return await client.execute_command(*words)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def run_until_killed(script: str, *arguments: str) -> dict[str, int]:
    """Run a script that prints a line of JSON and then waits; kill -9 it, and return what it printed."""
    child = subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child, child.stdout as output:
        printed: dict[str, int] = json.loads(output.readline())
        child.kill()
    return printed


async def test_both_servers_answer_and_are_gone_after_the_stop(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with EmbeddedStores(tmp_path, durable=False) as stores:
        assert await sql(stores, "SELECT 1") == 1
        assert await command(stores.valkey_url, "PING") is True
        pids = [stores.valkey.pid, stores.postgres.pid]
        assert all(pids)
    assert (stores.valkey.pid, stores.postgres.pid) == (None, None)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[1] or 0, 0)
    assert capfd.readouterr() == ("", "")


async def test_what_was_written_is_there_at_the_next_start(tmp_path: Path) -> None:
    async with EmbeddedStores(tmp_path) as stores:
        await sql(stores, "CREATE TABLE kept (value int)")
        await sql(stores, "INSERT INTO kept VALUES (7)")
        await command(stores.valkey_url, "SET", "kept", "7")
    async with EmbeddedStores(tmp_path) as stores:
        assert await sql(stores, "SELECT value FROM kept") == 7
        assert await command(stores.valkey_url, "GET", "kept") == b"7"


async def test_a_second_start_is_quick(tmp_path: Path) -> None:
    async with EmbeddedStores(tmp_path):
        pass
    begin = time.monotonic()
    async with EmbeddedStores(tmp_path):
        assert time.monotonic() - begin < 2.0


async def test_valkey_evicts_nothing_and_keeps_an_append_only_file(tmp_path: Path) -> None:
    async with EmbeddedStores(tmp_path) as stores:
        assert await command(stores.valkey_url, "CONFIG", "GET", "maxmemory-policy") == {
            b"maxmemory-policy": b"noeviction"
        }
        assert await command(stores.valkey_url, "CONFIG", "GET", "appendfsync") == {
            b"appendfsync": b"everysec"
        }
        assert await sql(stores, "SHOW fsync") == "on"


async def test_the_postgres_url_works_with_the_migration_tool(tmp_path: Path) -> None:
    async with EmbeddedStores(tmp_path, durable=False) as stores:
        dbmate = Path(sys.executable).with_name("dbmate")
        waiting = await asyncio.create_subprocess_exec(
            dbmate, "--url", stores.postgres_url, "--wait-timeout", "5s", "wait", stdout=subprocess.DEVNULL
        )
        assert await waiting.wait() == 0


async def test_the_servers_ask_for_a_password(tmp_path: Path) -> None:
    async with EmbeddedStores(tmp_path, durable=False) as stores:
        with pytest.raises(redis.AuthenticationError):
            await command(f"redis://{stores.valkey_url.rpartition('@')[2]}", "PING")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(stores.postgres_url, password="wrong")


async def test_a_deep_directory_with_a_space_will_do(tmp_path: Path) -> None:
    deep = tmp_path / "a folder" / ("d" * 120)
    async with EmbeddedStores(deep, durable=False) as stores:
        assert await sql(stores, "SELECT 1") == 1
        assert await command(stores.valkey_url, "PING") is True


async def test_a_directory_in_use_is_refused_and_its_user_undisturbed(tmp_path: Path) -> None:
    async with EmbeddedStores(tmp_path, durable=False) as stores:
        with pytest.raises(EmbeddedError, match=rf"in use by another process \(id {os.getpid()}\)"):
            await EmbeddedStores(tmp_path, durable=False).start()
        assert await sql(stores, "SELECT 1") == 1


async def test_the_servers_are_out_of_reach_of_the_terminal(tmp_path: Path) -> None:
    async with EmbeddedStores(tmp_path, durable=False) as stores:
        own = os.getsid(0)
        assert own not in {os.getsid(stores.valkey.pid or 0), os.getsid(stores.postgres.pid or 0)}


async def test_a_crashed_server_comes_back_with_its_data_at_the_same_address(tmp_path: Path) -> None:
    async with EmbeddedStores(tmp_path) as stores:
        urls = (stores.valkey_url, stores.postgres_url)
        await sql(stores, "CREATE TABLE kept AS SELECT 7 AS value")
        await command(stores.valkey_url, "SET", "kept", "7")
        stores.valkey.kill()
        stores.postgres.kill()
        await asyncio.gather(stores.valkey.start(), stores.postgres.start())
        assert (stores.valkey_url, stores.postgres_url) == urls
        assert await sql(stores, "SELECT value FROM kept") == 7
        assert await command(stores.valkey_url, "GET", "kept") == b"7"


async def test_damaged_data_is_reported_with_the_log_and_nothing_stays_running(tmp_path: Path) -> None:
    async with EmbeddedStores(tmp_path, durable=False):
        pass
    (tmp_path / "valkey/appendonlydir/appendonly.aof.manifest").write_text("nonsense")
    stores = EmbeddedStores(tmp_path, durable=False)
    with pytest.raises(EmbeddedError, match=r"(?s)valkey-server did not start.*valkey\.log.*manifest"):
        await stores.start()
    assert (stores.valkey.pid, stores.postgres.pid) == (None, None)


async def test_an_interrupted_first_start_is_begun_anew(tmp_path: Path) -> None:
    unfinished = tmp_path / "postgres.new"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    async with EmbeddedStores(tmp_path, durable=False) as stores:
        assert await sql(stores, "SELECT 1") == 1
    assert not unfinished.exists()


async def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedError, match=r"quota-service\[embedded\].*QUOTA_VALKEY_URL"):
        await EmbeddedStores(tmp_path).start()


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match=f"cannot keep data in {tmp_path}/file"):
        await EmbeddedStores(tmp_path / "file").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
async def test_root_without_user_namespaces_is_told_what_nobody_must_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_can_enter_namespace", lambda: False)
    tmp_path.chmod(0o700)
    with pytest.raises(EmbeddedError, match="as the user nobody, who must be able to read"):
        await EmbeddedStores(tmp_path, durable=False).start()


START_AND_WAIT = """
import asyncio, json, sys
from pathlib import Path
from quota_service.embedded import EmbeddedStores

async def main():
    async with EmbeddedStores(Path(sys.argv[1])) as stores:
        print(json.dumps({"valkey": stores.valkey.pid, "postgres": stores.postgres.pid}), flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start stops what was left, see below")
async def test_the_servers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    pids = await asyncio.to_thread(run_until_killed, START_AND_WAIT, str(tmp_path))
    assert await process.until(lambda: not any(map(is_alive, pids.values())), timeout_s=10)
    async with EmbeddedStores(tmp_path, durable=False) as stores:
        assert await sql(stores, "SELECT 1") == 1


async def test_a_start_right_after_a_kill_waits_for_the_servers_that_are_still_ending(tmp_path: Path) -> None:
    await asyncio.to_thread(run_until_killed, START_AND_WAIT, str(tmp_path))
    async with EmbeddedStores(tmp_path, durable=False) as stores:
        assert await sql(stores, "SELECT 1") == 1
        assert await command(stores.valkey_url, "PING") is True


LEAVE_BEHIND = """
import asyncio, json, sys, time
from pathlib import Path
from quota_service.embedded import process
from quota_service.embedded.valkey import EmbeddedValkey

process._launch = lambda command, **_: list(command)  # as on a system without PR_SET_PDEATHSIG
valkey = EmbeddedValkey(Path(sys.argv[1]))
asyncio.run(valkey.start())
print(json.dumps({"valkey": valkey.pid}), flush=True)
time.sleep(60)
"""


async def test_a_server_left_by_a_crashed_run_is_stopped_at_the_next_start(tmp_path: Path) -> None:
    pids = await asyncio.to_thread(run_until_killed, LEAVE_BEHIND, str(tmp_path))
    valkey = EmbeddedValkey(tmp_path)
    await valkey.start()
    try:
        assert valkey.pid != pids["valkey"]
        assert await command(valkey.url, "PING") is True
    finally:
        await valkey.stop()


async def test_a_stale_pid_file_does_not_harm_the_process_that_got_the_id(tmp_path: Path) -> None:
    (tmp_path / "valkey.pid").write_text(f"{os.getpid()}\n")
    await process.stop_leftover(
        tmp_path / "valkey.pid", marker=str(tmp_path / "valkey.conf"), stop_signal=signal.SIGKILL, timeout_s=1
    )
    assert not (tmp_path / "valkey.pid").exists()
