"""What a provider's answer says that matters to its price, read while it goes by.

Nothing here raises, whatever comes; what is kept of an answer is bounded, and so is the time for each chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from quota_service.domain.pricing import Usage
from quota_service.edge.dialects.calls import Kind
from quota_service.edge.dialects.chat_answers import ChatFacts, EmbeddingsFacts
from quota_service.edge.dialects.elements import ElementReader
from quota_service.edge.dialects.endings import last_members
from quota_service.edge.dialects.events import Event, EventReader
from quota_service.edge.dialects.facts import Facts
from quota_service.edge.dialects.generate_answers import GenerateFacts
from quota_service.edge.dialects.messages_answers import MessagesFacts
from quota_service.edge.dialects.responses_answers import ResponsesFacts

WHOLE_BYTES_MAX = 1024 * 1024
"""Of a JSON answer that is read as one."""

TAIL_BYTES = 256 * 1024
"""What is kept of a longer one: its end."""

_FIRST_BYTES = b":deir\r\n\xef"
"""What a stream of events may begin with: a comment, a field's name, the end of a line, a byte order mark."""

_BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"

_FACTS: Mapping[Kind, Callable[[Callable[[str], int]], Facts]] = {
    Kind.CHAT: ChatFacts,
    Kind.COMPLETIONS: ChatFacts,
    Kind.RESPONSES: ResponsesFacts,
    Kind.EMBEDDINGS: EmbeddingsFacts,
    Kind.MESSAGES: MessagesFacts,
    Kind.GENERATE: GenerateFacts,
    Kind.EMBED: GenerateFacts,
}


class Answer(NamedTuple):
    """What is known of an answer so far.

    `usage`: the provider's own numbers, the last that were valid; `None`: none so far. Until `has_ended`
    they may be those of a beginning, with fewer output tokens than have come. `model`: who the provider says
    has answered; "": unknown. `output_tokens`: of what has come; by the tokenizer, but the provider's own
    once they are final. `has_ended`: the dialect's own end was seen, or an error, or whole JSON. `is_error`:
    it is an error or ended with one. `is_readable`: False where nothing can be known from what has come.
    """

    usage: Usage | None = None
    model: str = ""
    output_tokens: int = 0
    has_ended: bool = False
    is_error: bool = False
    is_readable: bool = False


class AnswerReader(Protocol):
    """Reads an answer's body as it comes. Not for several threads at once."""

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes. Never raises."""

    def answer(self) -> Answer:
        """What is known now. To be asked at any time, as often as one likes."""


def answer_reader(kind: Kind, content_type: str, count: Callable[[str], int]) -> AnswerReader:
    """A reader for an answer to that kind of call. `content_type`: the header of the answer, perhaps with
    parameters. `count`: how many tokens a text of at most 8,192 characters has.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    facts = _FACTS[kind](count)
    if media_type == "text/event-stream":
        return _EventAnswer(facts)
    if media_type == "application/json" or media_type.endswith("+json"):
        return _JsonAnswer(facts)
    return _UnreadableAnswer()


class _UnreadableAnswer:
    """An answer of a type that nothing is known of."""

    def feed(self, chunk: bytes) -> None:
        del chunk

    def answer(self) -> Answer:
        return Answer()


class _EventAnswer:
    """An answer in server-sent events."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._events = EventReader()
        self._understood = 0  # events
        self._has_begun = False
        self._is_foreign = False  # what came first is not of such a stream

    def feed(self, chunk: bytes) -> None:
        if chunk and not self._has_begun:
            self._has_begun = True
            self._is_foreign = chunk[0] not in _FIRST_BYTES
        for event in self._events.feed(chunk):
            if _read_event(self._facts, event):
                self._understood += 1
            elif not self._understood:
                self._is_foreign = True

    def answer(self) -> Answer:
        last = self._events.unfinished()
        if last is None:
            return self._known(self._facts, is_understood=self._understood > 0)
        facts = self._facts.fork()  # more may come of the event: then it is read again, with all of it
        return self._known(facts, is_understood=_read_event(facts, last) or self._understood > 0)

    def _known(self, facts: Facts, *, is_understood: bool) -> Answer:
        is_readable = is_understood or not self._is_foreign
        return _answer(facts, is_readable=is_readable and not _hides(facts, self._events.dropped))


class _JsonAnswer:
    """An answer in JSON: an object, or pieces in an array. Its first character says which."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._reader: AnswerReader | None = None

    def feed(self, chunk: bytes) -> None:
        if self._reader is None:
            chunk = chunk.lstrip(_BEFORE_JSON)
            if not chunk:
                return
            self._reader = _ArrayAnswer(self._facts) if chunk[:1] == b"[" else _WholeAnswer(self._facts)
        self._reader.feed(chunk)

    def answer(self) -> Answer:
        return self._reader.answer() if self._reader is not None else Answer()


class _ArrayAnswer:
    """Gemini's stream where nobody asked for events: one array with an object for each piece."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._elements = ElementReader()
        self._is_understood = False  # any element

    def feed(self, chunk: bytes) -> None:
        for element in self._elements.feed(chunk):
            if self._facts.read_event(element):
                self._is_understood = True
        if self._elements.has_ended:
            self._facts.has_ended = True

    def answer(self) -> Answer:
        hides = _hides(self._facts, self._elements.dropped)
        return _answer(self._facts, is_readable=self._is_understood and not hides)


class _WholeAnswer:
    """An answer that is one object."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._kept = bytearray()
        self._length = 0  # bytes, of all that came
        self._answer: Answer | None = None

    def feed(self, chunk: bytes) -> None:
        self._answer = None
        self._length += len(chunk)
        self._kept += chunk
        if self._length > WHOLE_BYTES_MAX and len(self._kept) > 2 * TAIL_BYTES:
            del self._kept[:-TAIL_BYTES]

    def answer(self) -> Answer:
        if self._answer is None:
            self._answer = self._read()
        return self._answer

    def _read(self) -> Answer:
        body = self._kept.rstrip()
        if not body.endswith(b"}"):
            return Answer()
        facts = self._facts.fork()
        if self._length <= WHOLE_BYTES_MAX:
            is_understood = facts.read_whole(bytes(body))
        else:
            is_understood = _read_end(facts, bytes(self._kept[-TAIL_BYTES:]))
        facts.has_ended = is_understood
        return _answer(facts, is_readable=is_understood)


def _hides(facts: Facts, dropped: int) -> bool:
    """Whether what was too long to be read may have had the usage: an image with all that it cost, say."""
    return dropped > 0 and facts.usage is None


def _read_event(facts: Facts, event: Event) -> bool:
    if event.data.startswith(b"[DONE]"):
        facts.has_ended = True
        return True
    is_understood = facts.read_event(event.data)
    if event.name == b"error":
        facts.is_error = facts.has_ended = True
        return True
    return is_understood


def _read_end(facts: Facts, tail: bytes) -> bool:
    """Reads the end of an object. It says something only with a usage or an error: its text is not there."""
    members = last_members(tail)
    document = b",".join(b'"%s":%s' % member for member in members.items())
    facts.read_whole(b"{%s}" % document)
    return facts.usage is not None or facts.is_error


def _answer(facts: Facts, *, is_readable: bool) -> Answer:
    is_final = facts.has_ended and not facts.is_error and facts.usage is not None
    output_tokens = facts.usage.output_tokens if is_final and facts.usage else facts.tally.total()
    return Answer(facts.usage, facts.model, output_tokens, facts.has_ended, facts.is_error, is_readable)
