"""Charts as SVG: lines over an axis, readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

_SHAPES = """
text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
.title { font-size: 15px; font-weight: 600; }
.label { font-weight: 600; paint-order: stroke; stroke-width: 5px; stroke-linejoin: round; }
.line { fill: none; stroke-width: 2.25; stroke-linejoin: round; stroke-linecap: round; }
.dashed { stroke-dasharray: 5 5; stroke-width: 1.75; } .cloud { opacity: 0.4; }
"""
_COLOURS = """
.ground {{ fill: {ground}; }} .grid {{ stroke: {grid}; }} .axis {{ stroke: {quiet}; }}
.label {{ stroke: {ground}; }} text {{ fill: {ink}; }} text.quiet {{ fill: {quiet}; }}
.line.a {{ stroke: {a}; }} .dot.a, text.a {{ fill: {a}; }}
.line.b {{ stroke: {b}; }} .dot.b, text.b {{ fill: {b}; }}
.line.t {{ stroke: {quiet}; }} .dot.t, text.t {{ fill: {quiet}; }}
"""
_LIGHT = {
    "ink": "#1f2328",
    "quiet": "#656d76",
    "ground": "#ffffff",
    "grid": "#e4e8ec",
    "a": "#0a5fd0",
    "b": "#b35900",
}
_DARK = {
    "ink": "#e6edf3",
    "quiet": "#8d96a0",
    "ground": "#0d1117",
    "grid": "#262c34",
    "a": "#6cb0ff",
    "b": "#f0a04b",
}

STYLE = (
    _SHAPES
    + _COLOURS.format(**_LIGHT)
    + f"@media (prefers-color-scheme: dark) {{{_COLOURS.format(**_DARK)}}}\n"
)
"""The ground is drawn, so that the ink is readable whatever page it is on."""

LABEL_HEIGHT = 15.0
TEXT_TOP = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """`ticks` in rising order: the first and the last one are the ends. `written`: a tick in words."""

    name: str
    ticks: Sequence[float]
    is_log: bool = False
    written: Callable[[float], str] = "{:,g}".format

    def part(self, value: float) -> float:
        """Where a value is, from 0 to 1."""
        first, last, at = (self._scaled(each) for each in (self.ticks[0], self.ticks[-1], value))
        return min(1.0, max(0.0, (at - first) / (last - first)))

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1e-9)) if self.is_log else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Points in rising order. `tone`: a, b, or t for what is only compared with. `cloud`: single
    measurements around it.
    """

    name: str
    tone: str
    points: Sequence[tuple[float, float]]
    is_dashed: bool = False
    cloud: Sequence[tuple[float, float]] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One pair of axes. `left`, `top`, `width`, `height`: of the area within them."""

    left: float
    top: float
    width: float
    height: float
    x: Axis
    y: Axis
    lines: Sequence[Line]
    title: str = ""

    def drawn(self) -> Iterable[str]:
        """Its elements."""
        bottom, right = self.top + self.height, self.left + self.width
        if self.title:
            yield _text(self.left, self.top - 14, self.title, "label")
        for tick in self.y.ticks:
            y = self._y(tick)
            yield f'<line class="grid" x1="{self.left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield _text(self.left - 8, y + TEXT_TOP, self.y.written(tick), "quiet", "end")
        for tick in self.x.ticks:
            yield _text(self._x(tick), bottom + 18, self.x.written(tick), "quiet", "middle")
        yield (
            f'<line class="axis" x1="{self.left:.1f}" x2="{right:.1f}" y1="{bottom:.1f}" y2="{bottom:.1f}"/>'
        )
        yield _text(self.left + self.width / 2, bottom + 38, self.x.name, "quiet", "middle")
        yield from (element for line in self.lines for element in self._line(line))
        yield from self._labels()

    def _line(self, line: Line) -> Iterable[str]:
        places = [(self._x(x), self._y(y)) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dashed = " dashed" if line.is_dashed else ""
        for x, y in line.cloud:
            yield _dot(f"cloud {line.tone}", self._x(x), self._y(y), 2.5)
        yield f'<polyline class="line {line.tone}{dashed}" points="{path}"/>'
        if not line.is_dashed:
            for x, y in places:
                yield _dot(line.tone, x, y, 3.5)

    def _labels(self) -> Iterable[str]:
        """At the lines' ends, moved apart where they would cover each other."""
        below = -math.inf
        named = [line for line in self.lines if line.name]
        for line in sorted(named, key=lambda line: -line.points[-1][1]):
            below = max(self._y(line.points[-1][1]) + TEXT_TOP, below + LABEL_HEIGHT)
            yield _text(self._x(line.points[-1][0]) + 10, below, line.name, f"label {line.tone}")

    def _x(self, value: float) -> float:
        return self.left + self.width * self.x.part(value)

    def _y(self, value: float) -> float:
        return self.top + self.height * (1 - self.y.part(value))


def chart(title: str, subtitle: str, panels: Sequence[Panel], *, width: float, height: float) -> str:
    """An SVG document."""
    elements = [element for panel in panels for element in panel.drawn()]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
            f' height="{height:g}" role="img" aria-label="{escape(title, {chr(34): "&quot;"})}">',
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{width:g}" height="{height:g}" rx="8"/>',
            _text(24, 30, title, "title"),
            _text(24, 50, subtitle, "quiet"),
            *elements,
            "</svg>\n",
        ]
    )


def rising_ticks(largest: float, steps: int = 5) -> list[float]:
    """From 0 to at least the largest value, at round numbers."""
    rough = largest / steps
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= rough)
    return [step * number for number in range(math.ceil(largest / step) + 1)]


def _dot(classes: str, x: float, y: float, radius: float) -> str:
    return f'<circle class="dot {classes}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def _text(x: float, y: float, text: str, classes: str, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{classes}" {place}>{escape(text)}</text>'
