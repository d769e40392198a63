"""The commands that the development server prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from quota_service.cli import welcome


def printed(grpcurl: Path | None) -> tuple[str, str, str]:
    return welcome.printed_commands(address="127.0.0.1:50051", grpcurl=grpcurl, idempotency_key="demo-1")


def test_each_command_is_one_line_and_shows_defaults() -> None:
    for line in printed(Path("/x/grpcurl")):
        assert "\n" not in line
        assert "/x/grpcurl -plaintext -emit-defaults" in line


def test_the_program_is_relative_where_that_is_shorter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert welcome.shown_path(tmp_path / ".venv" / "bin" / "grpcurl") == ".venv/bin/grpcurl"
    assert welcome.shown_path(tmp_path / "grpcurl") == "./grpcurl"
    assert welcome.shown_path(Path("/g")) == "/g"
    assert welcome.shown_path(tmp_path / "a b" / "grpcurl") == "'a b/grpcurl'"


def test_the_banner_warns_that_nobody_is_authenticated() -> None:
    text = welcome.banner(address="127.0.0.1:1", grpcurl=Path("/x/grpcurl"), idempotency_key="k")
    assert "NO AUTHENTICATION" in text
    assert all(
        line in text.splitlines()
        for line in welcome.printed_commands(
            address="127.0.0.1:1", grpcurl=Path("/x/grpcurl"), idempotency_key="k"
        )
    )


def test_without_grpcurl_the_banner_says_how_to_get_it() -> None:
    text = welcome.banner(address="127.0.0.1:1", grpcurl=None, idempotency_key="k")
    assert "github.com/fullstorydev/grpcurl/releases" in text
    assert "ANSWER=$(grpcurl -plaintext" in text
