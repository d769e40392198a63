"""What the command prints: tables for people, one JSON document for scripts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import Console
    from rich.table import Table

WIDTH_WITHOUT_TERMINAL = 160


def console() -> Console:
    """The terminal, or a wide page where there is none: a table in a pipe should not be folded."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH_WITHOUT_TERMINAL
    return Console(width=width, highlight=False, emoji=False, markup=False)


def table(*columns: str, right: Iterable[str] = (), whole: Iterable[str] = ()) -> Table:
    """An empty table. Columns in `right` are numbers; those and the ones in `whole` are never broken."""
    from rich import box
    from rich.table import Table

    result = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    numbers = set(right)
    unbroken = numbers | set(whole)
    for column in columns:
        result.add_column(
            column,
            justify="right" if column in numbers else "left",
            overflow="fold",
            no_wrap=column in unbroken,
        )
    return result


def print_table(filled: Table) -> None:
    """Prints a table with some air around it."""
    page = console()
    page.print()
    page.print(filled)
    page.print()


def styled(text: str, **style: Any) -> str:
    """A text with a style, where colours are welcome; click strips it where stdout is no terminal."""
    return text if "NO_COLOR" in os.environ else click.style(text, **style)


def counted(number: int, singular: str) -> str:
    """A number with its noun, such as `1 window` or `3 windows`."""
    return f"{number:,} {singular}{'' if number == 1 else 's'}"


def as_dict(message: Message) -> dict[str, Any]:
    """The proto-JSON of a message, with the fields that have their default value."""
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(message, always_print_fields_with_no_presence=True)


def print_json(document: object) -> None:
    """Prints one JSON document."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """A remark beside the result: on stderr, so that it never gets into a pipe."""
    click.echo(text, err=True)


def short_id(name: str) -> str:
    """The last part of a resource name."""
    return name.rpartition("/")[2]


class ProgressLine:
    """A line on stderr that shows how far it is, where somebody watches; gone at the end."""

    def __enter__(self) -> ProgressLine:
        return self

    def show(self, text: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{text}", nl=False, err=True)

    def __exit__(self, *_: object) -> None:
        self.show("")
