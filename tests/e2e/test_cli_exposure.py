"""The worst-case bill and a budget watched, by the command, against a real server."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from tests.e2e.conftest import Server
from tests.support.process import QUOTA, clean_environment

AUTHORIZE = ("authorize", "--model", "openai/gpt-5-mini", "--input-tokens", "1200", "--user", "ada")


@contextmanager
def watching(server: Server, *arguments: str) -> Iterator[tuple[IO[str], subprocess.Popen[str]]]:
    """A `quota budget status … --watch` under way, and what it prints."""
    options = ("--address", server.address, "--organization", "acme")
    process = subprocess.Popen(
        [QUOTA, *options, "budget", "status", *arguments, "--watch"],
        env=clean_environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout, process
    finally:
        process.kill()
        process.communicate()


def test_the_worst_case_is_one_number_with_its_parts(server: Server) -> None:
    found = server.quota_json("exposure")
    assert int(found["totalMicros"]) == sum(int(part["amountMicros"]) for part in found["parts"])
    shown = server.quota("exposure")
    assert shown.code == 0
    dollars = int(found["totalMicros"]) / 1_000_000
    assert f"${dollars:,.2f}" in shown.out
    for part in found["parts"]:
        assert part["explanation"][:40] in shown.out
        assert part["source"].rpartition("/")[2] in shown.out


def test_a_watched_budget_is_told_again_when_it_has_changed(server: Server) -> None:
    with watching(server, "engineer-allowance", "--each-value", "ada", "--json") as (lines, process):
        first = json.loads(lines.readline())["statuses"][0]
        assert server.quota(*AUTHORIZE, "--key", "key-ada-laptop").code == 0
        second = json.loads(lines.readline())["statuses"][0]
        assert int(second["held"]) > int(first["held"])
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    with watching(server, "engineer-allowance", "--each-value", "ada") as (lines, _):
        assert "engineer-allowance [ada]  spent $" in lines.readline()


def test_what_cannot_be_watched_says_how_it_could(server: Server) -> None:
    many = server.quota("budget", "status", "engineer-allowance", "--watch")
    assert (many.code, "--each-value" in many.err) == (2, True)
    nothing = server.quota("budget", "status", "--watch")
    assert (nothing.code, "--watch needs a budget" in nothing.err) == (2, True)
    assert server.quota("budget", "status", "nowhere", "--watch").code == 3
