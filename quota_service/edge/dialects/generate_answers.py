"""What Gemini answers: a response, or a stream of responses that each have a piece of the text."""

from __future__ import annotations

from typing import Any

import msgspec

from quota_service.edge.dialects.facts import NO_JSON, Facts, Json, compact, decoded, is_something
from quota_service.edge.dialects.usage import generate_usage


class _Call(msgspec.Struct, gc=False):
    name: str | None = None
    args: Json = NO_JSON


class _Code(msgspec.Struct, gc=False):
    code: str | None = None


class _Part(msgspec.Struct, gc=False, rename="camel"):
    text: str | None = None  # also of a thought
    function_call: _Call | None = None
    executable_code: _Code | None = None


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, gc=False, rename="camel"):
    index: int | None = None
    content: _Content | None = None
    finish_reason: str | None = None


class _Feedback(msgspec.Struct, gc=False, rename="camel"):
    block_reason: str | None = None


class _Document(msgspec.Struct, gc=False, rename="camel"):
    """A document whose text is not of the shape that is known."""

    model_version: Any = None
    usage_metadata: Json = NO_JSON
    error: Json = NO_JSON


class _Response(_Document, gc=False, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    embedding: Json = NO_JSON
    embeddings: Json = NO_JSON

    @property
    def is_known(self) -> bool:
        """Whether it has any of the parts that an answer consists of."""
        is_text = self.candidates is not None or self.prompt_feedback is not None
        return is_text or is_something(self.embedding) or is_something(self.embeddings)


_RESPONSE = msgspec.json.Decoder(_Response)
_DOCUMENT = msgspec.json.Decoder(_Document)


class GenerateFacts(Facts):
    """Of generateContent, streamGenerateContent and the embeddings."""

    __slots__ = ()

    def read_event(self, document: bytes) -> bool:
        response = decoded(_RESPONSE, document)
        if response is None:
            return self._read_document(document)
        self._take(response)
        self._count(response)
        self.has_ended = self.has_ended or _is_last(response)
        return True

    def read_whole(self, document: bytes) -> bool:
        response = decoded(_RESPONSE, document)
        if response is None:
            return self._read_document(document) and self._is_told
        self._take(response)
        if not self._is_told:
            self._count(response)
        return self._is_told or response.is_known

    def _read_document(self, document: bytes) -> bool:
        rough = decoded(_DOCUMENT, document)
        if rough is not None:
            self._take(rough)
        return rough is not None

    def _take(self, document: _Document) -> None:
        self._take_model(document.model_version)
        self._take_usage(generate_usage(document.usage_metadata))
        self._take_error(document.error)

    def _count(self, response: _Response) -> None:
        for candidate in response.candidates or ():
            parts = candidate.content and candidate.content.parts
            for part in parts or ():
                self._count_part(part, candidate.index or 0)

    def _count_part(self, part: _Part, channel: int) -> None:
        if part.text:
            self.tally.add(part.text, channel)
        if part.function_call is not None:
            self.tally.add(part.function_call.name or "", channel)
            self.tally.add(compact(part.function_call.args), channel)
        if part.executable_code is not None:
            self.tally.add(part.executable_code.code or "", channel)


def _is_last(response: _Response) -> bool:
    """Whether a candidate has finished, or the prompt was refused."""
    reasons = [candidate.finish_reason for candidate in response.candidates or ()]
    if response.prompt_feedback is not None:
        reasons.append(response.prompt_feedback.block_reason)
    return any(reason and not reason.endswith("_UNSPECIFIED") for reason in reasons)
