"""Counts calls and how long they took. Told of each, it adds to a few numbers and does nothing else."""

from __future__ import annotations

from bisect import bisect_left

import grpc

from quota_service.edge.calls import Answer, Call, Observer
from quota_service.metrics.families import BUCKETS_S
from quota_service.metrics.readings import Series


class CallMetrics:
    """Implements `Observer`. Methods and statuses are few, so what it remembers is."""

    def __init__(self) -> None:
        self._ended: dict[tuple[str, grpc.StatusCode], int] = {}
        self._seconds: dict[str, list[float]] = {}

    def call_ended(self, call: Call, answer: Answer, code: grpc.StatusCode, seconds: float) -> None:
        name = call.method.name
        self._ended[name, code] = self._ended.get((name, code), 0) + 1
        numbers = self._seconds.get(name)
        if numbers is None:
            numbers = self._seconds[name] = [0.0] * (len(BUCKETS_S) + 2)  # the last bucket, and the sum
        numbers[bisect_left(BUCKETS_S, seconds)] += 1
        numbers[-1] += seconds

    def ended(self) -> Series:
        """How many calls have ended, by method and status."""
        return {(method, code.name): [float(count)] for (method, code), count in self._ended.items()}

    def seconds(self) -> Series:
        """How long they took, by method."""
        return {(method,): list(numbers) for method, numbers in self._seconds.items()}


class Both:
    """Implements `Observer`: tells two others."""

    def __init__(self, first: Observer, second: Observer) -> None:
        self._first = first
        self._second = second

    def call_ended(self, call: Call, answer: Answer, code: grpc.StatusCode, seconds: float) -> None:
        self._first.call_ended(call, answer, code, seconds)
        self._second.call_ended(call, answer, code, seconds)
