"""`quota health`, `quota doctor`, `quota reconcile` and `quota deadletter`, against real servers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import msgspec
import redis
from grpc_health.v1 import health, health_pb2_grpc

from quota_service.embedded.ports import free_port
from tests.e2e.conftest import Server
from tests.support.process import clean_environment, serving

CHECKS = [
    "service.circuit_breaker",
    "valkey.reachable",
    "valkey.version",
    "valkey.role",
    "valkey.eviction_policy",
    "valkey.persistence",
    "valkey.last_write",
    "valkey.replicas",
    "valkey.memory",
    "postgres.reachable",
    "postgres.version",
    "postgres.role",
    "postgres.durability",
    "postgres.connections",
    "postgres.schema",
    "postgres.partitions",
    "postgres.append_only",
    "postgres.seals",
    "clocks.valkey",
    "clocks.postgres",
    "organizations.epoch",
    "organizations.pending",
    "organizations.lag",
    "organizations.buffer",
    "organizations.dead_letters",
]


@contextmanager
def serving_on(valkey_url: str, postgres_url: str, *arguments: str) -> Iterator[Server]:
    """A server over given stores."""
    address = f"127.0.0.1:{free_port()}"
    urls = {"QUOTA_VALKEY_URL": valkey_url, "QUOTA_POSTGRES_URL": postgres_url}
    with serving(*arguments, "--address", address, **urls) as process:
        process.wait_for("is ready on")
        yield Server(address=address)


def test_a_server_that_serves_says_so_and_little_is_loaded_to_hear_it(server: Server) -> None:
    assert server.quota_json("health") == {"status": "SERVING"}

    heavy = ("quota.v1", "quota.client", "rich", "ruamel.yaml", "quota_service.domain")
    code = (
        "import sys; from quota_service.__main__ import main; code = main(['health']); "
        f"print([name for name in {heavy!r} if name in sys.modules]); sys.exit(code)"
    )
    # An address to listen on everywhere is asked on this machine.
    environment = clean_environment({"QUOTA_ADDRESS": f"0.0.0.0:{server.address.rpartition(':')[2]}"})
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("serving\n[]\n", "")


def test_a_server_that_stops_is_not_healthy() -> None:
    stopping = grpc.server(ThreadPoolExecutor(max_workers=1))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, stopping)
    servicer.enter_graceful_shutdown()
    server = Server(address=f"127.0.0.1:{stopping.add_insecure_port('127.0.0.1:0')}")
    stopping.start()
    try:
        done = server.quota("health")
        assert (done.code, done.out) == (1, "not serving\n")
        assert json.loads(server.quota("health", "--json").out) == {"status": "NOT_SERVING"}
    finally:
        stopping.stop(None).wait()


def test_no_server_is_not_healthy() -> None:
    address = f"127.0.0.1:{free_port()}"
    done = Server(address=address).quota("health", "--json")
    assert (done.code, f"no server answers at {address}" in done.err, done.out) == (5, True, "")


def test_a_server_in_order_is_well(server: Server) -> None:
    done = server.quota("doctor")
    assert done.code == 0, done.out
    for check in CHECKS:
        assert check in done.out
    assert "all is well" in done.out
    assert "✓" in done.out
    assert "✗" not in done.out

    document = server.quota_json("doctor")
    assert document["level"] == "LEVEL_OK"
    assert [finding["check"] for finding in document["findings"]] == CHECKS
    assert {tuple(finding) for finding in document["findings"]} == {
        ("check", "level", "found", "advice", "organization")
    }


def test_settings_that_lose_data_are_a_warning_in_development_and_a_failure_otherwise(
    store_urls: dict[str, str], postgres_url: str, key_prefix: str
) -> None:
    prefix = ("--key-prefix", f"{key_prefix}/")
    with serving_on(store_urls["valkey"], postgres_url, *prefix) as production:
        done = production.quota("doctor", organization="")
        document = json.loads(production.quota("doctor", "--json", organization="").out)
    assert done.code == 2
    assert "✗" in done.out
    [durability] = [each for each in document["findings"] if each["check"] == "postgres.durability"]
    assert durability == {
        "check": "postgres.durability",
        "level": "LEVEL_FAILURE",
        "found": "fsync, full_page_writes, synchronous_commit are off: a crash can lose what was committed.",
        "advice": "Switch on what is off.",
        "organization": "",
    }
    with serving_on(store_urls["valkey"], postgres_url, *prefix, "--dev") as development:
        assert development.quota("doctor").code == 1


def test_a_store_that_is_away_is_a_finding(postgres_url: str) -> None:
    with serving_on(f"redis://:secret@127.0.0.1:{free_port()}", postgres_url) as server:
        done = server.quota("doctor", organization="")
    assert done.code == 2
    assert "valkey.reachable" in done.out
    assert "valkey.version" not in done.out
    assert "postgres.version" in done.out
    assert "secret" not in done.out + done.err


def test_no_server_is_unknown() -> None:
    done = Server(address=f"127.0.0.1:{free_port()}").quota("doctor")
    assert (done.code, "no server answers" in done.err, done.out) == (3, True, "")


def test_stores_that_agree_are_told_so(server: Server) -> None:
    done = server.quota("reconcile", organization="")
    assert done.code == 0, done.out + done.err
    assert "acme: " in done.out
    assert "nothing differs" in done.out

    [compared] = server.quota_json("reconcile", "--repair", "--search")["organizations"]
    assert compared["organization"] == "organizations/acme"
    assert compared["drifts"] == compared["repairedDrifts"] == []
    assert compared["summary"]["repaired"] is False

    assert server.quota("reconcile", organization="nobody").code == 3


def test_what_differs_is_shown_and_set_right(
    store_urls: dict[str, str], postgres_url: str, key_prefix: str
) -> None:
    prefix = ("--key-prefix", f"{key_prefix}/")
    with serving_on(store_urls["valkey"], postgres_url, *prefix, "--dev") as server:
        spend(server)
        tamper(store_urls["valkey"], key_prefix, "engineering-monthly")
        done = server.quota("reconcile")
        assert done.code == 1
        assert "engineering-monthly" in done.out
        assert "spent, cost" in done.out
        assert "$0.007000  $0.006000   $0.001000" in done.out
        assert "1 difference" in done.out
        document = json.loads(server.quota("reconcile", "--json").out)
        [drift] = document["organizations"][0]["drifts"]
        assert (drift["quantity"], drift["meter"], drift["difference"]) == (
            "QUANTITY_SPENT",
            "METER_COST",
            "1000",
        )

        mended = server.quota("reconcile", "--repair")
        assert mended.code == 0, mended.out
        assert "was set from the ledger; before that there differed" in mended.out
        assert "nothing differs" in mended.out
        assert server.quota("reconcile").code == 0


def spend(server: Server) -> None:
    """Charges something to every budget of the demo that applies to ada."""
    model = ("--model", "anthropic/claude-sonnet-4-5")
    granted = server.quota_json("authorize", "--user", "ada", *model, "--input-tokens", "1000")
    usage = ("--input-tokens", "1000", "--output-tokens", "200")
    assert server.quota("commit", granted["reservation"]["name"], *usage).code == 0


def tamper(valkey_url: str, key_prefix: str, budget: str) -> None:
    """Adds 1,000 micro-USD to what is spent in a budget's window."""
    with redis.Redis.from_url(valkey_url) as valkey:
        [key] = valkey.scan_iter(match=f"{key_prefix}/*window/{budget}/*", count=1000)
        raw = valkey.get(key)
        assert isinstance(raw, bytes)
        window = msgspec.msgpack.decode(raw)
        window[0][0] += 1_000
        valkey.set(key, msgspec.msgpack.encode(window), keepttl=True)


def test_without_dead_letters_there_is_nothing_to_replay(server: Server) -> None:
    assert server.quota("deadletter", "list").out == "no dead letters\n"
    assert server.quota_json("deadletter", "list") == {"deadLetters": []}
    assert (server.quota("deadletter", "replay", "--all").out) == "no dead letters\n"
    assert server.quota("deadletter", "replay").code == 2
    unknown = server.quota("deadletter", "replay", "--id", "77")
    assert (unknown.code, "There is no dead letter 77" in unknown.out) == (1, True)
