"""Put on PYTHONPATH, it shifts the wall clock of a Python process by `CHAOS_CLOCK_SHIFT_S` seconds.

What measures durations (`time.monotonic`, the event loop's clock) stays as it is, as on a machine whose clock
is wrong. gRPC's native part, which no Python can shift, gives deadlines as instants of the real clock: the
module that subtracts from them keeps the real one.
"""

from __future__ import annotations

import datetime as _datetime
import importlib
import os
import time as _time
import types
from typing import Any

_SHIFT_S = int(os.environ.get("CHAOS_CLOCK_SHIFT_S", "0"))
_RealDatetime = _datetime.datetime


class _IsAnyDatetime(type):
    """What C code makes is a real datetime, and counts as one of the shifted."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _RealDatetime)


class _ShiftedDatetime(_RealDatetime, metaclass=_IsAnyDatetime):
    __slots__ = ()

    @classmethod
    def now(cls, tz: _datetime.tzinfo | None = None) -> Any:
        return _RealDatetime.now(tz) + _datetime.timedelta(seconds=_SHIFT_S)

    @classmethod
    def utcnow(cls) -> Any:
        return _RealDatetime.now(_datetime.UTC).replace(tzinfo=None) + _datetime.timedelta(seconds=_SHIFT_S)

    @classmethod
    def today(cls) -> Any:
        return cls.now()


def _shift() -> None:
    real_time, real_time_ns = _time.time, _time.time_ns
    native: Any = importlib.import_module("grpc._cython.cygrpc")
    native.time = types.SimpleNamespace(time=real_time)
    setattr(_time, "time", lambda: real_time() + _SHIFT_S)  # noqa: B010 - a module's function, replaced
    setattr(_time, "time_ns", lambda: real_time_ns() + _SHIFT_S * 1_000_000_000)  # noqa: B010
    setattr(_datetime, "datetime", _ShiftedDatetime)  # noqa: B010


if _SHIFT_S:
    _shift()
