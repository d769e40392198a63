"""The table of figures in docs/performance.md, of what was measured last."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks import outcome
from benchmarks.targets import Figure, number

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- figures: written by benchmarks.charts -->", "<!-- end of figures -->"


class Measured(NamedTuple):
    """A figure, and when it was measured."""

    figure: Figure
    date: datetime


def measured(folder: Path) -> list[Measured]:
    """Every figure that there is, by number."""
    found = []
    for file in folder.glob("*.json"):
        document = outcome.read(file.stem, folder) or {"figures": ()}
        for each in document["figures"]:
            found.append(Measured(outcome.figure(each), datetime.fromisoformat(document["machine"]["date"])))
    return sorted(found, key=lambda each: _place(each.figure.number))


def _place(name: str) -> tuple[str, int, str]:
    first, _, rest = name.partition(" ")
    return {"P": "1", "L": "2"}[first[0]], int(first[1:]), rest


def table(folder: Path) -> str:
    """In Markdown."""
    rows = [
        "| | | target | measured | | |",
        "| --- | --- | --- | --: | --- | --- |",
        *map(_row, measured(folder)),
    ]
    return "\n".join([*rows, "", *_machines(folder)])


def _row(each: Measured) -> str:
    figure = each.figure
    verdict = {True: "met", False: "missed", None: "not measured"}[figure.is_met]
    value = "–" if figure.value is None else number(figure.value)
    short = figure.number.partition(" ")[0]
    return f"| {short} | {figure.target.what} | {figure.target} | {value} | {verdict} | {figure.note} |"


def _machines(folder: Path) -> Iterable[str]:
    """Where, and how much others took."""
    documents = [document for file in folder.glob("*.json") if (document := outcome.read(file.stem, folder))]
    machines = [document["machine"] for document in documents]
    if machines:
        last = max(machines, key=lambda machine: str(machine["date"]))
        stolen = max(machine["stolen_percent"] for machine in machines)
        yield (
            f"{last['date'][:10]}, {last['cores']} cores ({last['processor']}), CPython {last['python']};"
            " Valkey, PostgreSQL and the caller on the same cores, of which other machines took up to"
            f" {stolen:.0f} %."
        )


def written(page: str, figures: str) -> str:
    """The page with other figures. Raises ValueError where it has no place for them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there is no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{figures}\n{END}{after}"
