"""`make demo-envoy`, as somebody who tries it out runs it."""

from __future__ import annotations

import subprocess
import sys

from tests.support.process import ROOT, clean_environment


def test_the_demo_shows_each_outcome_and_the_ledger_and_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.envoy.demo"],
        cwd=ROOT,
        env=clean_environment({}),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for told in (
        "─ Allowed ─",
        "─ Streamed ─",
        "─ Downgraded ─",
        "What reached the provider: gpt-4o-mini with max_tokens 900.",
        "─ Denied ─",
        "RateLimitError 429: Budget “Barbara's day” has no room for 1 request",
        "research/dorothy   openai/gpt-4o-mini",
    ):
        assert told in done.stdout, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
