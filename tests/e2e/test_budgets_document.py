"""docs/budgets.md: its commands work as printed, one after the other, and print what it says."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from tests.e2e.conftest import Server
from tests.support.process import QUOTA, ROOT, clean_environment
from tests.support.stories import DIRECTORY, PATIENCE_S

DOCUMENT = (ROOT / "docs" / "budgets.md").read_text()
MARK = "--- the block is over ---"
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
VARIES = re.compile(
    rf"…|(?<=Try again in )\d+ s|\d+ {_MONTH} \d{{4}} \d\d:\d\d [A-Z]+"
    rf"|{_MONTH} \d\d \d\d:\d\d(?::\d\d| [A-Z]+)?"
)
"""What is another every time, or left out."""
_BLOCK = re.compile(r"```sh\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)


class Block(NamedTuple):
    """Commands, and what the document shows of their output."""

    commands: str
    shown: str


def blocks(section: str) -> list[Block]:
    return [Block(*found) for found in _BLOCK.findall(section)]


SECTIONS = {part.partition("\n")[0]: part for part in DOCUMENT.split("\n## ")[1:]}
BEGINNING = blocks(SECTIONS["Before you begin"])
STORIES = [name for name, section in SECTIONS.items() if f"examples/stories/{name}.yaml" in section]


class Shell:
    """A shell into which blocks are pasted. Error output comes with the rest."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def paste(self, commands: str) -> str:
        """What the commands print."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{commands}\nprintf '\\n%s\\n' '{MARK}'\n")
        self._process.stdin.flush()
        lines: list[str] = []
        for line in self._process.stdout:
            if line == f"{MARK}\n":
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"the shell has ended: {''.join(lines)}")


@contextmanager
def shell(server: Server) -> Iterator[Shell]:
    environment = clean_environment({"QUOTA_ADDRESS": server.address, "COLUMNS": "250"})
    environment["PATH"] = f"{QUOTA.parent}:{environment['PATH']}"
    process = subprocess.Popen(
        ["bash", "--norc"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Shell(process)
    finally:
        process.communicate()


def says(output: str, shown: str) -> bool:
    """Whether the output has what is shown, in this order, whatever the width of columns."""
    pieces = [re.escape(_plain(piece)) for piece in VARIES.split(shown)]
    return re.search(".*?".join(pieces), _plain(output), re.DOTALL) is not None


def _plain(text: str) -> str:
    return "".join(text.replace("─", "").split())


_LOOKS = ("quota alerts", "quota denials", "quota ledger", "quota exposure")


def only_looks(commands: str) -> bool:
    """Whether pasting it again does no harm."""
    return all(line.startswith(_LOOKS) for line in commands.splitlines())


def test_every_story_is_told() -> None:
    assert sorted(STORIES) == [path.stem for path in sorted(DIRECTORY.glob("*.yaml"))]
    assert all(f"](#{name})" in DOCUMENT for name in STORIES)


@pytest.mark.parametrize("name", STORIES)
def test_the_commands_of_a_story_print_what_it_says(server: Server, name: str) -> None:
    with shell(server) as pasted:
        for block in (*BEGINNING, *blocks(SECTIONS[name])):
            output = pasted.paste(block.commands)
            deadline = time.monotonic() + PATIENCE_S
            # Alerts, denials and entries of holds are written a moment after the answer.
            while not says(output, block.shown) and only_looks(block.commands):
                assert time.monotonic() < deadline, f"{output}\nis not what is shown:\n{block.shown}"
                time.sleep(0.2)
                output = pasted.paste(block.commands)
            assert says(output, block.shown), f"{output}\nis not what is shown:\n{block.shown}"
