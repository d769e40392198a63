"""SQL lives in `queries/*.sql`.

Each statement stands under a line `-- name: …`, with a comment that says what it is for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def load(name: str) -> Mapping[str, str]:
    """The statements of `queries/{name}.sql` by their names."""
    text = (files(__package__) / "queries" / f"{name}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    return dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))
