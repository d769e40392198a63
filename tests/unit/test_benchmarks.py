"""What benchmarks make of what they have measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from benchmarks import bench, charts, k6, memory, outcome, page, profile
from benchmarks.basics import Cycle, Pace, figures
from benchmarks.caller import CallsFailed
from benchmarks.k6 import Scenario
from benchmarks.laboratory import Round
from benchmarks.outcome import Outcome
from benchmarks.scaling import BATCH, batches_figure, workers_figure
from benchmarks.svg import rising_ticks
from benchmarks.targets import TARGETS, Bound, Figure

MACHINE = {"date": "2026-11-23T01:00:00+00:00", "cores": 2, "processor": "Some <Processor>"}
COUNTED = [Scenario("authorize0", "authorize", 3)]


def a_round(
    per_second: float = 1_000, p99_ms: float = 10, cpu_us: float = 100, stores_us: float = 0
) -> Round:
    return Round(
        calls=100,
        per_second=per_second,
        p50_ms=1,
        p99_ms=p99_ms,
        server_cpu_us=cpu_us,
        stores_cpu_us=stores_us,
        caller_cpu_us=25,
    )


def a_cycle(authorize: float, trivial: float) -> Cycle:
    return Cycle(
        trivial=a_round(trivial, cpu_us=100),
        authorize=a_round(authorize),
        trivial_commit=a_round(trivial, cpu_us=150),
        commit=a_round(authorize / 2),
        pair=a_round(cpu_us=400, stores_us=100),
    )


def test_a_figure_is_the_median_of_the_cycles_own_ratios() -> None:
    cycles = [a_cycle(700, 1_000), a_cycle(70, 100), a_cycle(10, 1_000)]
    paces = [Pace(trivial=a_round(p99_ms=10), authorize=a_round(p99_ms=p99)) for p99 in (20, 40, 90)]
    found = {figure.number: figure for figure in figures(cycles, paces)}
    assert found["P1"].value == 0.7
    assert found["P2"].value == 0.35
    assert found["P3"].value == 4
    assert found["P4"].value == 2
    assert [found[number].is_met for number in ("P1", "P2", "P3", "P4")] == [True, False, False, True]


def test_without_processor_times_what_is_made_of_them_is_not_measured() -> None:
    untold = a_round(cpu_us=0)
    cycle = Cycle(trivial=untold, authorize=untold, trivial_commit=untold, commit=untold, pair=untold)
    found = {
        figure.number: figure.value for figure in figures([cycle], [Pace(trivial=untold, authorize=untold)])
    }
    assert found == {"P1": 1, "P2": 1, "P3": 1, "P4": None}
    assert workers_figure("P5", [(untold, untold)]).value == 1
    assert workers_figure("P5 by CPU", [(untold, untold)]).value is None


@pytest.mark.parametrize(
    ("bound", "below", "at", "above"),
    [
        (Bound.AT_LEAST, False, True, True),
        (Bound.AT_MOST, True, True, False),
        (Bound.BELOW, True, False, False),
    ],
)
def test_a_bound_holds_on_its_side(bound: Bound, below: bool, at: bool, above: bool) -> None:
    assert [bound.holds(figure, 1) for figure in (0.9, 1, 1.1)] == [below, at, above]


def test_a_line_begins_with_the_number_and_tells_the_target_and_the_verdict() -> None:
    line = Figure(number="P1", value=0.434, note="why").line()
    assert line.split() == [
        *("P1", "Authorize", "÷", "trivial,", "calls", "a", "second", "0.43"),
        *("(target", "≥", "0.6)", "missed", "why"),
    ]


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    figure = Figure(number="P5", value=None, note="why")
    assert figure.is_met is None
    assert "not measured" in figure.line()


def test_a_batch_counts_as_all_of_its_decisions() -> None:
    figure = batches_figure([(a_round(1_000), a_round(100))])
    assert figure.value == 100 * BATCH / 1_000


def test_two_workers_are_told_by_cpu_where_cores_are_few() -> None:
    pairs = [(a_round(1_000, cpu_us=100), a_round(1_500, cpu_us=105))]
    assert workers_figure("P5", pairs).value == 1.5
    assert workers_figure("P5 by CPU", pairs).value == 1.05


def test_growth_is_that_of_the_line_through_all_points() -> None:
    mib = 2**20
    points = [{"calls": calls, "resident_bytes": 100 * mib + 2 * calls} for calls in (0, 50_000, 100_000)]
    assert memory.growth(points).value == pytest.approx(2 * 1_000_000 / mib)


def summary(calls: int, failures: int) -> str:
    counts = {"calls": {"count": calls}, "failures": {"count": failures}, k6.WAITS: {"p(99)": 12.5}}
    return json.dumps({f"{name}{{scenario:authorize0}}": {"values": each} for name, each in counts.items()})


def test_k6s_summary_is_read_scenario_by_scenario() -> None:
    found = k6.parsed(summary(calls=600, failures=0), COUNTED)["authorize0"]
    assert (found.calls, found.per_second, found.p99_ms) == (600, 200, 12.5)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (summary(calls=600, failures=2), "2 of 600 calls"),
        (summary(calls=0, failures=0), "0 of 0 calls"),
        ("", "instead of its summary"),
    ],
)
def test_failed_calls_are_no_measurement(said: str, why: str) -> None:
    with pytest.raises(CallsFailed, match=why):
        k6.parsed(said, COUNTED)


def write_results(folder: Path) -> None:
    throughput = [
        {"in_flight": n, "trivial_per_second": 900 * n, "authorize_per_second": 300, "commit_per_second": 200}
        for n in (1, 10, 100)
    ]
    latency: list[dict[str, Any]] = [
        {
            "share": share,
            "per_second": 1_000 * share,
            **{
                f"{kind}_{part}_ms": 1 + share for kind in ("trivial", "authorize") for part in ("p50", "p99")
            },
        }
        for share in (0.1, 0.5, 0.9)
    ]
    grown = [
        {"size": size, "authorize": [0.9, 1.0, 1.1], "commit": [0.8], "ready_s": 1.0}
        for size in (0, 10, 1_000_000)
    ]
    used = [{"calls": calls, "resident_bytes": 120 * 2**20} for calls in (0, 10_000, 20_000)]
    parts = {"curves": [*throughput, *latency], "budgets": grown, "holds": grown, "ledger": grown}
    for part, points in {**parts, memory.PART: used}.items():
        outcome.write(part, Outcome(figures=[], points=points), MACHINE, folder)


def test_charts_are_well_formed_and_fit_for_light_and_dark_pages(tmp_path: Path) -> None:
    write_results(tmp_path)
    drawn = charts.charts(tmp_path)
    assert set(drawn) == {"throughput", "latency", "growth", "memory"}
    for text in drawn.values():
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "prefers-color-scheme: dark" in text
        assert "nan" not in text


def test_only_what_was_measured_is_drawn(tmp_path: Path) -> None:
    assert charts.charts(tmp_path) == {}


@pytest.mark.parametrize(("largest", "last"), [(1, 1), (7_300, 8_000), (0.9, 1), (101, 125)])
def test_ticks_are_round_and_reach_the_largest_value(largest: float, last: float) -> None:
    ticks = rising_ticks(largest)
    assert ticks[0] == 0
    assert ticks[-1] == pytest.approx(last)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    figure = Figure(number="P9", value=703.5, note="13.4 MiB", rounds=[703.5])
    outcome.write("hold-memory", Outcome(figures=[figure]), MACHINE, tmp_path)
    document = outcome.read("hold-memory", tmp_path)
    assert document is not None
    assert outcome.figure(document["figures"][0]) == figure
    (line,) = bench.lines(tmp_path)
    assert line.startswith("P9 ")
    assert "2026-11-23" in line


def test_the_table_of_figures_replaces_the_one_before(tmp_path: Path) -> None:
    figures = [Figure(number=number, value=0.5) for number in ("P12", "P2 by k6", "P2", "L1")]
    machine = {**MACHINE, "python": "3.11.7", "stolen_percent": 2.0}
    outcome.write("basics", Outcome(figures=figures), machine, tmp_path)
    table = page.table(tmp_path)
    assert [line.split()[1] for line in table.splitlines()[2:6]] == ["P2", "P2", "P12", "L1"]
    once = page.written(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n", table)
    assert once == page.written(once, table)
    assert "old" not in once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    page.written(page.PAGE.read_text(), table)


def test_unknown_numbers_are_refused_with_those_there_are() -> None:
    answer = CliRunner().invoke(bench.main, ["--only", "P99"])
    assert answer.exit_code == 2
    assert "P99 is none of" in answer.output
    assert "make bench-memory" in CliRunner().invoke(bench.main, ["--only", "P10"]).output


def test_of_a_profile_a_module_counts_for_the_work_that_it_does() -> None:
    samples = [
        ("quota_service.edge.convert.quota", "google", 3),
        ("quota_service.edge.calls", "", 2),
        ("quota_service.application.writing", "asyncpg", 1),
        ("", "grpc", 4),
    ]
    assert profile.by_group(samples) == {
        "requests to values, results to answers": 3,
        "layers around a call": 2,
        "write to the ledger": 1,
        profile.OUTSIDE: 4,
    }
    assert profile.group_of("quota_service.somewhere.new") == profile.ELSEWHERE


def test_every_target_is_measured_by_a_part() -> None:
    measured = {number for part in bench.PARTS.values() for number in part.numbers} | {"P10"}
    assert {number.partition(" ")[0] for number in TARGETS} == measured
