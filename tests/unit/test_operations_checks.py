"""What each check says of good and of bad facts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quota_service.application.operations import (
    doctor,
    organization_checks,
    postgres_checks,
    valkey_checks,
)
from quota_service.application.operations.doctor import Doctor
from quota_service.application.operations.findings import Finding, Level
from quota_service.application.operations.health_ports import (
    KeysSide,
    LedgerSide,
    PostgresFacts,
    ValkeyFacts,
)
from quota_service.application.operations.organization_checks import Organization
from quota_service.application.recovery_ports import Epoch, Fence
from quota_service.domain.errors import StoreUnavailable

ROOT = Path(__file__).parents[2]

VALKEY = ValkeyFacts(
    kind="valkey",
    version="8.1.0",
    role="master",
    is_loading=False,
    eviction_policy="noeviction",
    has_append_only_file=True,
    appendfsync="everysec",
    saves="",
    replicas=0,
    replicas_min=0,
    bytes_used=100,
    bytes_max=1_000,
    failed_writes=(),
    clock_ahead_ms=0,
)
POSTGRES = PostgresFacts(
    version=140_000,
    is_standby=False,
    fsync=True,
    full_page_writes=True,
    synchronous_commit="on",
    connections_max=100,
    connections_used=90,
    pool_connections=10,
    schema="20261122000004",
    schema_expected="20261122000004",
    partitions_missing=(),
    may_rewrite=False,
    sealed_ms=30_000,
    clock_ahead_ms=0,
)
LEDGER = LedgerSide(organization="acme", epoch=Epoch(7), pending=0, pending_ms=0, dead_letters=0)
KEYS = KeysSide(fence=Fence("7 run", 7, "run", "run"), events=0, events_bytes=0, events_ms=0)
OK, WARNING, FAILURE = Level.OK, Level.WARNING, Level.FAILURE


def of_valkey(development: bool = False, **facts: Any) -> dict[str, Level]:
    """What is not as it should be."""
    return _bad(valkey_checks.check(replace(VALKEY, **facts), development=development))


def of_postgres(development: bool = False, **facts: Any) -> dict[str, Level]:
    return _bad(postgres_checks.check(replace(POSTGRES, **facts), development=development))


def of_organization(ledger: LedgerSide = LEDGER, keys: KeysSide | None = KEYS) -> dict[str, Level]:
    found = organization_checks.check([Organization(ledger=ledger, keys=keys, events_bytes_max=1_000)])
    return _bad(found)


def _bad(findings: Any) -> dict[str, Level]:
    found: list[Finding] = list(findings)
    assert all(bool(each.advice) == (each.level is not OK) for each in found)
    assert all(each.found.endswith(".") for each in found)
    return {each.check: each.level for each in found if each.level is not OK}


def test_good_facts_are_well() -> None:
    assert of_valkey() == of_postgres() == of_organization() == {}
    assert of_valkey(kind="redis", version="7.0.15") == {}
    assert of_valkey(appendfsync="always", bytes_max=0) == {}
    assert of_valkey(replicas=2, replicas_min=1) == {}
    assert of_postgres(synchronous_commit="local") == {}


@pytest.mark.parametrize(
    ("facts", "check", "level"),
    [
        ({"version": "7.2.4"}, "version", FAILURE),
        ({"kind": "redis", "version": "6.2.1"}, "version", FAILURE),
        ({"kind": "redis", "version": ""}, "version", FAILURE),
        ({"kind": "dragonfly", "version": "1.2"}, "version", WARNING),
        ({"role": "replica"}, "role", FAILURE),
        ({"is_loading": True}, "role", FAILURE),
        ({"eviction_policy": "allkeys-lru"}, "eviction_policy", FAILURE),
        ({"appendfsync": "no"}, "persistence", WARNING),
        ({"appendfsync": None}, "persistence", WARNING),
        ({"has_append_only_file": False, "saves": "3600 1"}, "persistence", WARNING),
        ({"has_append_only_file": False, "saves": None}, "persistence", WARNING),
        ({"has_append_only_file": False}, "persistence", FAILURE),
        ({"has_append_only_file": False, "development": True}, "persistence", WARNING),
        ({"failed_writes": ("snapshot",)}, "last_write", FAILURE),
        ({"replicas": 1}, "replicas", WARNING),
        ({"replicas": 1, "replicas_min": None}, "replicas", WARNING),
        ({"bytes_used": 800}, "memory", WARNING),
        ({"bytes_used": 950}, "memory", FAILURE),
    ],
)
def test_bad_facts_of_valkey(facts: dict[str, Any], check: str, level: Level) -> None:
    assert of_valkey(**facts) == {f"valkey.{check}": level}


@pytest.mark.parametrize(
    ("facts", "check", "level"),
    [
        ({"version": 130_011}, "version", FAILURE),
        ({"is_standby": True}, "role", FAILURE),
        ({"fsync": False}, "durability", FAILURE),
        ({"full_page_writes": False}, "durability", FAILURE),
        ({"synchronous_commit": "off"}, "durability", FAILURE),
        ({"synchronous_commit": "off", "development": True}, "durability", WARNING),
        ({"connections_used": 91}, "connections", WARNING),
        ({"schema": "20261122000003"}, "schema", FAILURE),
        ({"schema": ""}, "schema", FAILURE),
        ({"schema": "20270101000000"}, "schema", WARNING),
        ({"partitions_missing": ("ledger_entries_2026_12",)}, "partitions", FAILURE),
        ({"may_rewrite": True}, "append_only", WARNING),
        ({"sealed_ms": 600_001}, "seals", WARNING),
    ],
)
def test_bad_facts_of_postgres(facts: dict[str, Any], check: str, level: Level) -> None:
    assert of_postgres(**facts) == {f"postgres.{check}": level}


def test_keys_of_another_epoch_or_run_are_to_be_made_anew() -> None:
    told = {"organizations.epoch": WARNING}
    assert of_organization(replace(LEDGER, epoch=Epoch(8))) == told
    assert of_organization(replace(LEDGER, epoch=Epoch(7, broken=True))) == told
    assert of_organization(keys=replace(KEYS, fence=Fence("7 run", 7, "run", "another"))) == told
    assert of_organization(keys=replace(KEYS, fence=Fence("", 0, "", "run"))) == told
    assert of_organization(replace(LEDGER, epoch=Epoch(0))) == {}  # nobody has asked yet
    assert of_organization(keys=None) == {}
    assert of_organization(replace(LEDGER, epoch=Epoch(7, broken=True)), keys=None) == told


def test_what_waits_between_the_stores_may_wait_half_a_minute() -> None:
    assert of_organization(replace(LEDGER, pending=3, pending_ms=29_999)) == {}
    assert of_organization(replace(LEDGER, pending=3, pending_ms=30_000)) == {
        "organizations.pending": WARNING
    }
    for waited_ms, level in ((30_000, WARNING), (120_000, FAILURE)):
        late = of_organization(keys=replace(KEYS, events=2, events_ms=waited_ms))
        assert late == {"organizations.lag": level}
    assert of_organization(keys=replace(KEYS, events=2, events_ms=29_999)) == {}


def test_the_buffer_is_full_where_nothing_new_is_authorized() -> None:
    assert of_organization(keys=replace(KEYS, events_bytes=499)) == {}
    assert of_organization(keys=replace(KEYS, events_bytes=500)) == {"organizations.buffer": WARNING}
    assert of_organization(keys=replace(KEYS, events_bytes=700)) == {"organizations.buffer": FAILURE}


def test_a_dead_letter_is_a_warning() -> None:
    assert of_organization(replace(LEDGER, dead_letters=1)) == {"organizations.dead_letters": WARNING}


def test_of_many_organizations_the_worst_come_first_and_the_rest_are_counted() -> None:
    many = [
        Organization(
            ledger=replace(LEDGER, organization=f"o{number:02}"),
            keys=replace(KEYS, events=1, events_ms=120_000 if number == 30 else 30_000),
            events_bytes_max=1_000,
        )
        for number in range(31)
    ]
    late = [each for each in organization_checks.check(many) if each.check == "organizations.lag"]
    assert (late[0].organization, late[0].level) == ("o30", FAILURE)
    assert [each.organization for each in late[1:3]] == ["o00", "o01"]
    assert len(late) == organization_checks.TOLD_MAX + 1
    assert late[-1].found == "The same is so for 11 other organizations."


@pytest.mark.parametrize(
    ("ahead_ms", "level"), [(0, OK), (-1_000, OK), (1_001, WARNING), (-60_000, WARNING), (60_001, FAILURE)]
)
def test_clocks_may_be_a_second_apart(ahead_ms: int, level: Level) -> None:
    found = doctor.clock("clocks.valkey", "Valkey", ahead_ms)
    assert found.level is level
    if ahead_ms == -60_000:
        assert found.found == "Valkey's clock is 60.0 s behind this replica's."


class Stores:
    """Both stores, as far as they answer."""

    def __init__(self, *, valkey: bool = True, postgres: bool = True) -> None:
        self.is_available = valkey
        self.events_bytes_max = 1_000
        self._valkey = valkey
        self._postgres = postgres

    async def facts(self) -> ValkeyFacts:
        if not self._valkey:
            raise StoreUnavailable("Valkey cannot be reached.")
        return VALKEY

    async def organizations(self, organizations: Any) -> Any:
        return dict.fromkeys(organizations, KEYS)


class Postgres(Stores):
    async def facts(self) -> Any:
        if not self._postgres:
            raise StoreUnavailable("PostgreSQL did not answer in time.")
        return POSTGRES

    async def organizations(self, organizations: Any = ()) -> Any:
        return [LEDGER]


async def diagnosed(**stores: bool) -> dict[str, Level]:
    found = await Doctor(Stores(**stores), Postgres(**stores), development=False).diagnose()
    assert len({each.check for each in found}) == len(found)
    return {each.check: each.level for each in found}


async def test_a_store_that_does_not_answer_is_a_failure_and_the_other_is_checked() -> None:
    well = await diagnosed()
    assert set(well.values()) == {OK}
    without_valkey = await diagnosed(valkey=False)
    assert {check for check, level in without_valkey.items() if level is FAILURE} == {
        "service.circuit_breaker",
        "valkey.reachable",
    }
    assert without_valkey["postgres.version"] is OK
    assert "valkey.version" not in without_valkey
    # What only Valkey could tell is not said to be well.
    assert not without_valkey.keys() & {"organizations.epoch", "organizations.lag", "organizations.buffer"}
    assert without_valkey["organizations.dead_letters"] is OK
    without_postgres = await diagnosed(postgres=False)
    assert {check for check, level in without_postgres.items() if level is not OK} == {"postgres.reachable"}
    assert "organizations.lag" not in without_postgres


async def test_every_check_is_documented() -> None:
    documented = (ROOT / "docs" / "operations.md").read_text()
    assert [check for check in await diagnosed() if f"`{check}`" not in documented] == []
