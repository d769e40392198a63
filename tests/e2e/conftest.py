"""One server process for the tests of a module, as `make run` starts it, and the command that talks to it."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from quota_service.cli.main import main
from quota_service.embedded.ports import free_port
from tests.support.process import serving

READY = "Ctrl-C stops everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command returned and printed."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server in development mode, with the demo organization."""

    address: str

    def quota(self, *arguments: str, stdin: str = "", organization: str = "acme") -> Done:
        """Runs a command against this server, in this process: an interpreter less to start."""
        out, err = io.StringIO(), io.StringIO()
        options = ["--address", self.address, *(["--organization", organization] if organization else [])]
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            patch.setenv("COLUMNS", "200")
            code = main([*options, *arguments])
        return Done(code=code, out=out.getvalue(), err=err.getvalue())

    def quota_json(self, *arguments: str, stdin: str = "") -> Any:
        """The JSON document that a command prints; the command must succeed."""
        done = self.quota(*arguments, "--json", stdin=stdin)
        assert done.code == 0, done.err
        return json.loads(done.out)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with stores of its own. Tests of a module share it: each cares for what it needs."""
    address = f"127.0.0.1:{free_port()}"
    data = str(tmp_path_factory.mktemp("data"))
    with serving("--dev", "--address", address, QUOTA_DATA_DIR=data) as process:
        process.wait_for(READY)
        yield Server(address=address)
        assert process.stop() == 0
