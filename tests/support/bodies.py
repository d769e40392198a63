"""Bodies of calls to models: those that were recorded, and what reading them says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from quota_service.edge.dialects.calls import Dialect, Endpoint, Kind, ModelCall
from quota_service.edge.dialects.paths import endpoint_of
from quota_service.edge.dialects.requests import read_call

CORPUS = Path(__file__).parent.parent / "corpus"

CHAT = Endpoint(Kind.CHAT)
MESSAGES = Endpoint(Kind.MESSAGES)
GENERATE = Endpoint(Kind.GENERATE, "gemini-2.5-pro")


class RecordedBody(NamedTuple):
    """A line of the corpus."""

    dialect: Dialect
    name: str
    path: str
    body: bytes
    plain_text: bool

    @property
    def endpoint(self) -> Endpoint:
        endpoint = endpoint_of("POST", self.path)
        assert endpoint is not None, f"{self.path} is not metered"
        return endpoint

    @property
    def fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.body)
        return fields


def recorded(dialect: Dialect) -> list[RecordedBody]:
    """Every recorded body of a dialect."""
    rows = [json.loads(line) for line in (CORPUS / f"{dialect}.jsonl").read_text("utf-8").splitlines()]
    return [
        RecordedBody(dialect, row["name"], row["path"], row["body"].encode(), row["plain_text"])
        for row in rows
    ]


def all_recorded() -> list[RecordedBody]:
    """Every recorded body."""
    return [body for dialect in Dialect for body in recorded(dialect)]


def read(endpoint: Endpoint, fields: object, **options: Any) -> ModelCall:
    """What a body of those fields says."""
    return read_call(endpoint, json.dumps(fields).encode(), **options)


def chat(**fields: Any) -> ModelCall:
    """What a chat of "Hi" with those fields says."""
    return read(CHAT, {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], **fields})
