"""Draws what `make bench` has measured: benchmarks/results/*.json become docs/charts/*.svg, and the table of
docs/performance.md.

python -m benchmarks.charts
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks import outcome, page
from benchmarks.svg import Axis, Line, Panel, chart, rising_ticks
from benchmarks.targets import TARGETS

FOLDER = Path(__file__).parents[1] / "docs" / "charts"
WIDTH, HEIGHT = 760.0, 400.0
GROWTH_MAX = 1.4

Document = Mapping[str, Any]


@click.command()
@click.option("--results", default=outcome.FOLDER, type=click.Path(path_type=Path), help="What is drawn.")
@click.option("--folder", default=FOLDER, type=click.Path(path_type=Path), help="Where charts go.")
def main(results: Path, folder: Path) -> None:
    """Draw all charts of whose parts there are results."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawn in charts(results).items():
        (folder / f"{name}.svg").write_text(drawn)
        click.echo(folder / f"{name}.svg")
    if folder == FOLDER:
        page.PAGE.write_text(page.written(page.PAGE.read_text(), page.table(results)))
        click.echo(page.PAGE)


def charts(results: Path) -> Mapping[str, str]:
    """SVG by name."""
    found = {}
    if curves := outcome.read("curves", results):
        found["throughput"] = throughput(curves)
        found["latency"] = latency(curves)
    grown = {part: outcome.read(part, results) for part in ("budgets", "holds", "ledger")}
    if all(grown.values()):
        found["growth"] = growth({part: each for part, each in grown.items() if each})
    if memory := outcome.read("worker-memory", results):
        found["memory"] = worker_memory(memory)
    return found


def throughput(document: Document) -> str:
    """Calls a second against calls in flight."""
    points = [point for point in document["points"] if "in_flight" in point]

    def line(name: str, tone: str, kind: str) -> Line:
        rates = [(point["in_flight"], point[f"{kind}_per_second"]) for point in points]
        return Line(name=name, tone=tone, points=rates)

    lines = [
        line("trivial", "t", "trivial"),
        line("Authorize", "a", "authorize"),
        line("Commit", "b", "commit"),
    ]
    in_flight = Axis(name="calls in flight", ticks=[point["in_flight"] for point in points], is_log=True)
    rate = Axis(name="", ticks=rising_ticks(max(y for each in lines for _, y in each.points)))
    title = "Calls a second, one worker"
    return chart(title, _from(document), [_panel(in_flight, rate, lines)], width=WIDTH, height=HEIGHT)


def latency(document: Document) -> str:
    """Waits against rate."""
    points = [point for point in document["points"] if "share" in point]

    def line(name: str, tone: str, of: str, *, is_dashed: bool = False) -> Line:
        waits = [(point["per_second"], point[f"{of}_ms"]) for point in points]
        return Line(name=name, tone=tone, points=waits, is_dashed=is_dashed)

    lines = [
        line("Authorize p99", "a", "authorize_p99"),
        line("Authorize p50", "a", "authorize_p50", is_dashed=True),
        line("trivial p99", "t", "trivial_p99"),
        line("trivial p50", "t", "trivial_p50", is_dashed=True),
    ]
    found = [y for each in lines for _, y in each.points]
    ticks = [factor * 10**power for power in range(-2, 5) for factor in (1, 2, 5)]
    below = max(index for index, tick in enumerate(ticks) if tick <= min(found))
    above = min(index for index, tick in enumerate(ticks) if tick >= max(found))
    rate = Axis(name="calls a second, sent when they are due", ticks=rising_ticks(points[-1]["per_second"]))
    waits = Axis(name="", ticks=ticks[below : above + 1], is_log=True, written="{:,g} ms".format)
    title = "Until the answer, one worker"
    return chart(title, _from(document), [_panel(rate, waits, lines)], width=WIDTH, height=HEIGHT)


def growth(documents: Mapping[str, Document]) -> str:
    """What remains of the rate when there is much: P6 to P8."""
    titles = {"budgets": "P6  budgets and keys", "holds": "P7  live holds", "ledger": "P8  ledger rows"}
    width, apart = 182.0, 60.0
    panels = [
        _growth_panel(documents[part], title, left=64 + number * (width + apart), width=width)
        for number, (part, title) in enumerate(titles.items())
    ]
    title = "Calls a second of a service that has much ÷ of one that has little"
    subtitle = f"{documents['ledger']['machine']['date'][:10]}; dots: single cycles; dashed: the target"
    return chart(title, subtitle, panels, width=WIDTH, height=HEIGHT)


def _growth_panel(document: Document, title: str, *, left: float, width: float) -> Panel:
    points = document["points"]
    places = list(range(len(points)))
    names = [_short(point["size"]) for point in points]
    kinds = [("a", "authorize")] + ([("b", "commit")] if "rows" in title else [])
    lines = [
        Line(
            name="",
            tone=tone,
            points=[(place, median(points[place][kind])) for place in places],
            cloud=[(place, each) for place in places[1:] for each in points[place][kind]],
        )
        for tone, kind in kinds
    ]
    target = TARGETS["P6"].value
    lines.append(Line(name="", tone="t", points=[(0, target), (places[-1], target)], is_dashed=True))
    return Panel(
        left=left,
        top=108,
        width=width,
        height=208,
        x=Axis(
            name="Authorize, and Commit (orange)" if len(kinds) > 1 else "Authorize",
            ticks=places,
            written=lambda place: names[int(place)],
        ),
        y=Axis(name="", ticks=[0, 0.2, 0.4, 0.6, 0.8, 1, 1.2, GROWTH_MAX], written="{:.1f}".format),
        lines=lines,
        title=title,
    )


def worker_memory(document: Document) -> str:
    """A worker's memory against calls: P10."""
    points = [(point["calls"], point["resident_bytes"] / 2**20) for point in document["points"]]
    line = Line(name="", tone="a", points=points)
    calls = Axis(
        name="calls (Authorize and Commit)",
        ticks=rising_ticks(points[-1][0]),
        written=lambda n: _short(int(n)),
    )
    memory = Axis(name="", ticks=rising_ticks(max(y for _, y in points)), written="{:,g} MiB".format)
    title = "A worker's resident memory"
    return chart(title, _from(document), [_panel(calls, memory, [line])], width=WIDTH, height=HEIGHT)


def _panel(x: Axis, y: Axis, lines: Sequence[Line]) -> Panel:
    return Panel(left=76, top=76, width=560, height=262, x=x, y=y, lines=lines)


def _from(document: Document) -> str:
    """Where it was measured."""
    machine = document["machine"]
    cores = f"{machine['cores']} cores of {machine['processor']}, stores and caller on the same"
    return f"{machine['date'][:10]}, {cores}"


def _short(number: int) -> str:
    """1,000,000 as 1 M."""
    for size, unit in ((1_000_000, " M"), (1_000, " k")):
        if number >= size:
            return f"{number / size:g}{unit}"
    return str(number)


if __name__ == "__main__":
    main()
