"""A replay's plan: read from a trace and decided by a seed."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from quota_service.cli.failures import CommandError
from quota_service.cli.replay.outcomes import percentile_ns
from quota_service.cli.replay.plan import (
    Call,
    Directory,
    Fate,
    Model,
    Shares,
    Spender,
    estimated_output,
    make_plan,
)
from quota_service.cli.replay.trace import TraceRequest, read_trace

SHIPPED = Path(__file__).parents[2] / "examples" / "traces" / "azure-llm-2023-conversation.csv.gz"
HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
MODELS = [Model(provider="openai", model="a"), Model(provider="openai", model="b")]
DIRECTORY = Directory(
    spenders=(Spender(api_key="k1"), Spender(api_key="k2"), Spender(user="u1"), Spender(user="u2")),
    projects=("p",),
)
TRACE = [
    TraceRequest(line=number + 1, arrival_us=number, input_tokens=number, output_tokens=number)
    for number in range(1, 2_001)
]


def planned(*, seed: int = 1, requests: int = 2_000, directory: Directory = DIRECTORY) -> list[Call]:
    return make_plan(TRACE[:requests], directory, MODELS, seed=seed, shares=Shares())


def test_the_shipped_trace_is_whole() -> None:
    trace = read_trace(SHIPPED)
    assert len(trace) == 19_366
    assert trace[0] == TraceRequest(line=2, arrival_us=0, input_tokens=374, output_tokens=44)
    assert max(request.output_tokens for request in trace) == 1_000
    assert 3_400_000_000 < trace[-1].arrival_us < 3_600_000_000


def test_only_the_first_requests_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{HEADER}2023-11-16 18:15:46.68,1,2\nnonsense")
    assert len(read_trace(path, requests=1)) == 1


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("2023-11-16 18:15:46,1", "has 2 columns, not 3"),
        ("yesterday,1,2", "TIMESTAMP 'yesterday' is not a time"),
        ("2023-11-16 18:15:46,-1,2", "ContextTokens '-1' is not a number"),
        ("2023-11-16 18:15:46,1,1.5", "GeneratedTokens '1.5' is not a number"),
        ("2023-11-16 18:15:46,1,99999999999", "is not a number between 0 and 1,000,000,000"),
        ("2023-11-16 18:15:46,1,²", "is not a number"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, error: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{HEADER}2023-11-16 18:15:46.68,1,2\n{line}\n")
    with pytest.raises(CommandError, match=error) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}:3: ")


@pytest.mark.parametrize("content", [b"", b"a,b,c\n1,2,3\n", gzip.compress(b"x", mtime=0)[:-4], b"\xff\xfe"])
def test_what_is_no_trace_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(CommandError, match=r"t\.csv"):
        read_trace(path)


def test_the_same_seed_gives_the_same_plan_and_another_one_another() -> None:
    assert planned() == planned()
    assert planned() != planned(seed=2)


def test_the_first_requests_are_the_same_however_many_are_sent() -> None:
    assert planned()[:100] == planned(requests=100)


def test_the_order_of_the_directory_does_not_matter() -> None:
    backwards = Directory(spenders=DIRECTORY.spenders[::-1], projects=DIRECTORY.projects)
    assert planned(directory=backwards) == planned()


def test_few_spenders_cause_most_requests() -> None:
    [first, *_, last] = Counter(call.spender for call in planned()).most_common()
    assert first[1] > 3 * last[1]


def test_the_shares_are_kept_about() -> None:
    fates = Counter(call.fate for call in planned())
    assert 30 <= fates[Fate.FAILS] <= 90
    assert 50 <= fates[Fate.CANCELLED] <= 110
    assert 5 <= fates[Fate.ABANDONED] <= 40


def test_abandoned_holds_are_short_and_cancelled_calls_use_a_part() -> None:
    for call in planned():
        assert (call.ttl_s in (1, 2)) == (call.fate is Fate.ABANDONED)
        assert call.used_output_tokens <= call.output_tokens <= call.max_output_tokens
        if call.fate is Fate.COMPLETES:
            assert call.used_output_tokens == call.output_tokens


@pytest.mark.parametrize(("actual", "estimate"), [(0, 256), (1, 256), (256, 256), (257, 512), (1_000, 1_024)])
def test_the_output_is_estimated_as_a_power_of_two(actual: int, estimate: int) -> None:
    assert estimated_output(actual) == estimate


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (100, 100), (0, 1)])
def test_percentiles_are_values_that_occurred(percent: int, expected: int) -> None:
    assert percentile_ns(list(range(1, 101)), percent) == expected
    assert percentile_ns([], percent) == 0
