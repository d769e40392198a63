"""Runs `quota serve` and looks every millisecond of processor time at what it is doing: see `profile`.

    python -m benchmarks.profiled FILE serve …

From SIGUSR1 on it counts; when it ends it writes to FILE how often it was found where.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

from quota_service.cli.main import main

INTERVAL_S = 0.001
OWN = "quota_service."


class Samples:
    """Where the process was found. A place is the innermost module of ours, and the library that it had
    called, if any.
    """

    def __init__(self) -> None:
        self.found: Counter[tuple[str, str]] = Counter()

    def begin(self, *_: object) -> None:
        """Begins to count, anew if need be."""
        self.found.clear()
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)

    def take(self, _: int, frame: FrameType | None) -> None:
        """Counts where the process is."""
        library = ""
        while frame is not None:
            module = str(frame.f_globals.get("__name__", ""))
            if module.startswith(OWN):
                self.found[module, library] += 1
                return
            library = library or module.partition(".")[0]
            frame = frame.f_back
        self.found["", library] += 1

    def write(self, file: Path) -> None:
        """As a list, so that pairs stay pairs."""
        rows = [[module, library, count] for (module, library), count in self.found.items()]
        file.write_text(json.dumps(rows))


def profiled(file: Path) -> None:
    """Serves until SIGTERM."""
    samples = Samples()
    signal.signal(signal.SIGPROF, samples.take)
    signal.signal(signal.SIGUSR1, samples.begin)
    try:
        main()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        samples.write(file)


if __name__ == "__main__":
    given = Path(sys.argv.pop(1))
    profiled(given)
