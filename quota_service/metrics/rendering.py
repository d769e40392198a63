"""Readings as the text that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from quota_service.metrics.families import BUCKETS_S, FAMILIES, Family, Kind
from quota_service.metrics.readings import Readings, Series

_BOUNDS = (*map(str, BUCKETS_S), "+Inf")


def rendered(readings: Readings, accepted: str) -> tuple[bytes, str]:
    """The text, and its content type: OpenMetrics where the header `Accept` asks for that."""
    encoder, content_type = choose_encoder(accepted)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Read(readings))
    return encoder(registry), content_type


class _Read(Collector):
    def __init__(self, readings: Mapping[str, Series]) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        return (_metric(family, self._readings.get(family.name, {})) for family in FAMILIES)


def _metric(family: Family, series: Series) -> Metric:
    if family.kind is Kind.HISTOGRAM:
        return _histogram(family, series)
    class_ = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = class_(family.name, family.help, labels=family.labels)
    for labels, (value,) in sorted(series.items()):
        metric.add_metric(labels, value)
    return metric


def _histogram(family: Family, series: Series) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, (*counts, total) in sorted(series.items()):
        buckets = list(zip(_BOUNDS, accumulate(counts), strict=True))
        metric.add_metric(labels, buckets=buckets, sum_value=total)
    return metric
