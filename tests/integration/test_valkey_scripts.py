"""The scripts as files: what their headers promise, and how they get into a server."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from quota_service.stores.valkey.scripts import ALL, ALONE, TOGETHER, Code, Script
from tests.support.commands import authorize, draft, granted, term
from tests.support.valkey import opened

_SCRIPTS = resources.files("quota_service.stores.valkey") / "scripts"
_PRELUDE = (_SCRIPTS / "_prelude.lua").read_text()

each_script = pytest.mark.parametrize("script", ALL, ids=lambda script: script.verb)


def _parts(script: Script) -> tuple[list[str], str]:
    """A script's header, line by line without the shebang, and its body."""
    lines = (_SCRIPTS / f"{script.verb}.lua").read_text().splitlines()
    header = []
    for line in lines[1:]:
        if not line.startswith("--"):
            break
        header.append(line)
    return header, "\n".join(lines[1 + len(header) :])


def test_the_codes_in_lua_are_those_in_python() -> None:
    block = re.search(r"^local CODE = \{$(.*?)^\}$", _PRELUDE, re.MULTILINE | re.DOTALL)
    assert block is not None
    found = {name: int(value) for name, value in re.findall(r"^  (\w+) = (-?\d+),", block[1], re.MULTILINE)}
    assert found == {code.name: code.value for code in Code}


def test_every_file_is_a_script_that_is_loaded() -> None:
    files = {entry.name for entry in _SCRIPTS.iterdir() if entry.name.endswith(".lua")}
    assert files == {*(f"{name}.lua" for name in TOGETHER), *(f"{script.verb}.lua" for script in ALL)}


@each_script
def test_a_script_opens_with_a_shebang_and_its_contract(script: Script) -> None:
    header, _ = _parts(script)
    assert re.match(r"#!lua( flags=[a-z,-]+)?\n", script.source)
    assert re.match(rf"-- {script.verb.replace('_', ' ').capitalize()}: .+", header[0])
    shared = "  1 meta  2 holds  3 events" if script not in ALONE else "  1 "
    assert any(line.startswith(f"-- KEYS{shared}") for line in header)
    assert any(line.startswith("-- Reply ") for line in header)


@each_script
def test_a_header_names_every_argument_that_its_script_reads(script: Script) -> None:
    header, body = _parts(script)
    described = " ".join(header)
    for array in ("KEYS", "ARGV"):
        used = {int(index) for index in re.findall(rf"{array}\[(\d+)\]", body)}
        promised = re.search(rf"-- {array} (.*?)(-- [KAR]|$)", described)
        for index in used:
            assert promised is not None
            assert re.search(rf"  ?{index} ", promised[1]), f"{array}[{index}] is not in the header"


@each_script
def test_a_header_names_every_code_that_its_script_answers(script: Script) -> None:
    header, body = _parts(script)
    answers = set(re.findall(r"CODE\.(\w+)", body))
    if "check_basis(" in body:
        answers.add("STALE")
    if "check_basis(ARGV[1], ARGV[2], ARGV[3])" in body:
        answers.add("OUTSIDE")
    promised = " ".join(header).partition("Reply ")[2]
    assert answers == set(re.findall(r"\b(" + "|".join(code.name for code in Code) + r")\b", promised))


async def test_a_server_that_forgot_the_scripts_is_given_them_again(valkey_url: str, key_prefix: str) -> None:
    async with opened(valkey_url) as stores:
        for number in range(2):
            await stores.connection.call("SCRIPT", "FLUSH")
            hold = draft(key_prefix, f"r{number}")
            answer = granted(await stores.holds.authorize(authorize(hold, term())))
            assert answer.counters[0].holds == number + 1
