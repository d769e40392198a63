"""What a part of the benchmarks comes to, and the file that it is written to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.targets import Figure

FOLDER = Path(__file__).with_name("results")

Told = Callable[[str], None]
"""Hears how far a run is."""

Point = Mapping[str, Any]
"""A measurement, of which charts are drawn. What it has depends on the part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The figures of a part, and the measurements that they are made of."""

    figures: Sequence[Figure]
    points: Sequence[Point] = field(default=())


def write(part: str, outcome: Outcome, machine: Mapping[str, object], folder: Path = FOLDER) -> Path:
    """Replaces the part's file, and returns it."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{part}.json"
    document = {
        "part": part,
        "machine": machine,
        "figures": [figure.document() for figure in outcome.figures],
        "points": list(outcome.points),
    }
    file.write_text(json.dumps(_rounded(document), indent=1, ensure_ascii=False) + "\n")
    return file


def read(part: str, folder: Path = FOLDER) -> Mapping[str, Any] | None:
    """What was last written of a part; `None`: nothing."""
    file = folder / f"{part}.json"
    found: Mapping[str, Any] | None = json.loads(file.read_text()) if file.exists() else None
    return found


def figure(document: Mapping[str, Any]) -> Figure:
    """As it was written."""
    return Figure(
        number=document["number"],
        value=document["value"],
        note=document["note"],
        rounds=document["rounds"],
    )


def _rounded(value: Any) -> Any:
    """With no more digits than mean something."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value
