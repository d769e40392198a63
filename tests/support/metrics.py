"""Asks a server for its metrics, as Prometheus does."""

from __future__ import annotations

import asyncio
import urllib.request

from prometheus_client.parser import text_string_to_metric_families


class Metrics:
    """The samples of one answer."""

    def __init__(self, text: str) -> None:
        self.types = {}
        self._samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in text_string_to_metric_families(text):
            self.types[family.name] = family.type
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self._samples, "a sample is told once"
                self._samples[key] = sample.value

    def value(self, name: str, **labels: str) -> float:
        """One sample; 0 where it is not told, as nothing has been counted yet."""
        return self._samples.get((name, frozenset(labels.items())), 0.0)

    def growing(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Every sample that must not become less."""
        endings = ("_total", "_bucket", "_count", "_sum")
        return {key: value for key, value in self._samples.items() if key[0].endswith(endings)}


async def metrics_of(address: str) -> Metrics:
    """What a server tells at its metrics address right now."""
    return Metrics(await asyncio.to_thread(_read, f"http://{address}/metrics"))


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text
