"""How many workers there are, what they are told, and how their port is kept for them."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from quota_service import config
from quota_service.addresses import AddressInUse, Reservation
from quota_service.config import Settings, SettingsError, cores_of_quota
from quota_service.workers.messages import Begin, Link, Measured, Message
from quota_service.workers.pauses import STEADY_S, Pauses

STORES = {"QUOTA_VALKEY_URL": "redis://:secret@localhost", "QUOTA_POSTGRES_URL": "postgresql://localhost"}


def test_there_are_as_many_workers_as_cores_unless_something_else_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(config, "cores", lambda: 6)
    assert Settings.read(STORES).worker_count == 6
    assert Settings.read(STORES | {"QUOTA_WORKERS": "3"}).worker_count == 3
    assert Settings.read(STORES, workers=2).worker_count == 2
    assert Settings.read(STORES, dev=True).worker_count == 1
    assert Settings.read(STORES, dev=True, workers=2).worker_count == 2
    assert Settings.read(STORES, address="unix:/run/quota.sock").worker_count == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"QUOTA_WORKERS": "many"}, "QUOTA_WORKERS"),
        ({"QUOTA_WORKERS": "129"}, "at most 128"),
        ({"QUOTA_WORKERS": "2", "QUOTA_ADDRESS": "unix:/run/quota.sock"}, "unix socket"),
        ({"QUOTA_METRICS_ADDRESS": "9464"}, "HOST:PORT"),
        ({"QUOTA_METRICS_ADDRESS": ":9464"}, "HOST:PORT"),
        ({"QUOTA_METRICS_ADDRESS": "localhost:99999"}, "HOST:PORT"),
        ({"QUOTA_METRICS_ADDRESS": "localhost:0"}, "HOST:PORT"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.read(STORES | wrong)


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("1000 100000\n", 1),
        ("max 100000\n", None),
        ("", None),
    ],
)
def test_a_containers_share_of_the_cores_counts(text: str, cores: int | None, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cores_of_quota(tmp_path / "cpu.max") == (cores or config.WORKERS_MAX)


def test_workers_have_together_about_as_many_connections_as_one_alone() -> None:
    assert [Settings.read(STORES, workers=count).postgres_connections for count in (1, 2, 8)] == [10, 5, 4]


def test_what_keeps_ending_is_started_again_ever_later_until_it_has_lived() -> None:
    pauses = Pauses()
    assert [pauses.after(1.0) for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert [pauses.after(STEADY_S), pauses.after(0.0)] == [0.1, 0.2]


def test_a_reserved_port_is_free_for_those_who_share_it_and_for_nobody_else() -> None:
    with Reservation("127.0.0.1:0") as reserved:
        port = int(reserved.address.rpartition(":")[2])
        assert port > 0
        with pytest.raises(AddressInUse, match=reserved.address):
            Reservation(reserved.address)
        with socket.socket() as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                stranger.bind(("127.0.0.1", port))
        with socket.socket() as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(("127.0.0.1", port))
        with socket.socket() as caller:
            assert caller.connect_ex(("127.0.0.1", port)) != 0, "nobody listens yet"
    Reservation(reserved.address).close()


def test_where_workers_of_another_service_listen_nothing_is_reserved() -> None:
    with socket.socket() as worker:
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        worker.bind(("127.0.0.1", 0))
        worker.listen()
        with pytest.raises(AddressInUse):
            Reservation(f"127.0.0.1:{worker.getsockname()[1]}")


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0", "[::]", "ipv4:127.0.0.1"])
def test_hosts_are_reserved_as_they_are_listened_on(host: str) -> None:
    with Reservation(f"{host}:0") as reserved:
        assert reserved.address.rpartition(":")[0] == host
        with pytest.raises(AddressInUse):
            Reservation(f"127.0.0.1:{reserved.address.rpartition(':')[2]}")


@pytest.mark.parametrize("address", ["no.such.host.invalid:1", "127.0.0.1:99999", "127.0.0.1:x", "127.0.0.1"])
def test_an_address_that_cannot_be_is_told(address: str) -> None:
    with pytest.raises(AddressInUse, match="cannot be listened on"):
        Reservation(address)


async def passed_on(*messages: Message) -> list[Message | None]:
    """What the other end of a link hears, to its end."""
    ours, theirs = socket.socketpair()
    here = Link(*await asyncio.open_connection(sock=ours))
    there = Link(*await asyncio.open_connection(sock=theirs))
    for message in messages:
        here.tell(message)
    await here.told()
    here.close()
    heard: list[Message | None] = []
    while not heard or heard[-1] is not None:
        heard.append(await there.hear())
    here.tell(messages[0])  # nobody minds
    there.close()
    return heard


async def test_settings_and_readings_arrive_as_they_were_sent() -> None:
    settings = Settings.read(STORES, data_dir=Path("elsewhere"), key_pepper="p" * 32)
    begin = Begin(7, settings)
    measured = Measured({"quota_calls": {("a", "OK"): [1.0]}, "quota_ledger_waiting": {(): [2.0]}})
    assert await passed_on(begin, measured) == [begin, measured, None]
    assert "secret" not in repr(begin)
