"""How the stand-in for a model provider answers a call: said by a test, in the prompt or to the stand-in.

In a prompt it is a block such as `[[stand-in: answer-tokens=50 pieces=5 no-usage]]`. It goes wherever the
prompt goes: through gateways, and into other processes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

_BLOCK = re.compile(rb"\[\[stand-in:([^\]]*)\]\]")


class InstructionUnknown(Exception):
    """A word in a block that is no instruction, or has no value of its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """Left as it is: a good answer at once, in four pieces where it is streamed.

    The answer. `answer_tokens`: of each choice, at most what the call allows unless `over_cap`; one word is
    one token. `input_tokens`, `cached_tokens` and `reasoning_tokens` are in the usage alone, the last of
    these as a part of the answer's. `accents`: every word has characters of several bytes.

    Its pace. `headers_delay_ms`: before anything is answered. `pieces`: in which it comes; a whole JSON
    document is cut at any byte. `delay_ms`: before each of them. `split_utf8`: each in two writes, parted in
    the middle of a character if it has one of several bytes.

    What goes wrong. `error`: this status instead. `cut_after`: so many pieces (events, in a stream), then the
    connection is closed; with `reset` by a TCP reset. `gzip`: compressed, whether asked for or not.
    `no_length`: no content-length. `length_off`: content-length says so many bytes more, or less (negative),
    and then the connection is closed. `no_usage`, `usage_twice` (in streams), `negative_usage`,
    `absurd_usage`: the usage block. `no_done`: the final event is missing.
    """

    answer_tokens: int = 12
    over_cap: bool = False
    input_tokens: int = 10
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    accents: bool = False
    headers_delay_ms: int = 0
    pieces: int = 4
    delay_ms: int = 0
    split_utf8: bool = False
    error: int = 0
    cut_after: int = -1
    reset: bool = False
    gzip: bool = False
    no_length: bool = False
    length_off: int = 0
    no_usage: bool = False
    usage_twice: bool = False
    negative_usage: bool = False
    absurd_usage: bool = False
    no_done: bool = False

    def block(self) -> str:
        """What asks for it in a prompt."""
        return f"[[stand-in: {' '.join(self._words())}]]"

    def _words(self) -> list[str]:
        words = []
        for field in fields(self):
            value, name = getattr(self, field.name), field.name.replace("_", "-")
            if value != field.default:
                words.append(name if value is True else f"{name}={value}")
        return words


def behaviour_in(body: bytes) -> Behaviour | None:
    """What the last block in a request's body asks for; None: it has none."""
    blocks = _BLOCK.findall(body)
    return _parsed(blocks[-1].decode().split()) if blocks else None


def _parsed(words: list[str]) -> Behaviour:
    known = {field.name.replace("_", "-"): field for field in fields(Behaviour)}
    given: dict[str, int | bool] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in known:
            raise InstructionUnknown(f"{name!r} is no instruction")
        field = known[name]
        if isinstance(field.default, bool) != (value == ""):
            raise InstructionUnknown(f"{word!r}: a number is given to what needs one, and to nothing else")
        given[field.name] = int(value) if value else True
    return Behaviour(**given)  # type: ignore[arg-type]  # each has the type of its default
