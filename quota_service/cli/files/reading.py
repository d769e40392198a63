"""YAML (and JSON, its subset) read as text with positions, so that every problem says where it is.

Scalars stay text until something asks for a number: money never passes through a float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from quota_service.cli.failures import CommandError, did_you_mean

_NULL_TAG = "tag:yaml.org,2002:null"

Parsed = TypeVar("Parsed")


class Place(NamedTuple):
    """Where something stands; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(slots=True)
class Problems:
    """What is wrong with the files, and what is merely odd."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, place: Place, message: str, hint: str = "") -> None:
        """Notes an error: nothing will be applied."""
        self.errors.append(f"{place}: {message}{f'; {hint}' if hint else ''}")

    def warn(self, place: Place, message: str, hint: str = "") -> None:
        """Notes something that is allowed but probably not meant."""
        self.warnings.append(f"{place}: {message}{f'; {hint}' if hint else ''}")

    def raise_if_any(self) -> None:
        """Ends the command with every error there is."""
        if self.errors:
            many = len(self.errors)
            message = f"{many} problems" if many > 1 else "1 problem"
            raise CommandError(f"{message} in the input; nothing was applied", details=self.errors)


@dataclass(frozen=True, slots=True)
class Value:
    """A value in a file, with its path for people (`budgets.sales.limit`)."""

    node: Node
    path: str
    file: str
    problems: Problems

    @property
    def place(self) -> Place:
        return Place(self.file, self.node.start_mark.line + 1, self.node.start_mark.column + 1)

    @property
    def is_null(self) -> bool:
        """Nothing was written, as in `teams:`."""
        return isinstance(self.node, ScalarNode) and self.node.tag == _NULL_TAG

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.node, MappingNode)

    @property
    def is_scalar(self) -> bool:
        return isinstance(self.node, ScalarNode) and not self.is_null

    def problem(self, message: str, hint: str = "") -> None:
        """Notes that this value is wrong."""
        self.problems.add(self.place, f"{self.path}: {message}" if self.path else message, hint)

    def under(self, node: Node, step: str) -> Value:
        """A value inside this one."""
        path = f"{self.path}.{step}" if self.path and not step.startswith("[") else f"{self.path}{step}"
        return Value(node, path, self.file, self.problems)

    def text(self) -> str:
        """A single value as it was written."""
        if isinstance(self.node, ScalarNode) and not self.is_null:
            return _whole_characters(str(self.node.value))
        self.problem("has no value" if self.is_null else "must be a single value")
        return ""

    def parsed(self, parse: Callable[[str], Parsed], default: Parsed) -> Parsed:
        """A single value as `parse` reads it; its `ValueError` becomes a problem."""
        text = self.text()
        if not text and not self.is_scalar:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.problem(str(error))
            return default

    def choice(self, options: Iterable[str]) -> str:
        """One of a few words."""
        known = list(options)
        text = self.text()
        if text in known:
            return text
        if self.is_scalar:
            self.problem(f"{text!r} is none of {', '.join(known)}", did_you_mean(text, known))
        return ""

    def items(self) -> list[Value]:
        """The entries of a list."""
        if isinstance(self.node, SequenceNode):
            return [self.under(item, f"[{index}]") for index, item in enumerate(self.node.value)]
        if not self.is_null:
            self.problem("must be a list")
        return []

    def entries(self) -> dict[str, Value]:
        """The entries of a mapping, whatever their keys."""
        if not isinstance(self.node, MappingNode):
            if not self.is_null:
                self.problem("must be a mapping of keys to values")
            return {}
        result: dict[str, Value] = {}
        for key_node, value_node in self.node.value:
            key = self.under(key_node, "").text()
            if key in result:
                self.under(key_node, key).problem("is written twice")
            result[key] = self.under(value_node, key)
        return result

    def key_place(self, key: str) -> Place:
        """Where a key of this mapping stands."""
        if isinstance(self.node, MappingNode):
            for key_node, _ in self.node.value:
                if isinstance(key_node, ScalarNode) and key_node.value == key:
                    return self.under(key_node, key).place
        return self.place

    def fields(self, *known: str) -> dict[str, Value]:
        """The entries of a mapping whose keys are all known."""
        result = self.entries()
        for key in [key for key in result if key not in known]:
            message = f"unknown key {key!r}"
            self.problems.add(
                self.key_place(key),
                f"{self.path}: {message}" if self.path else message,
                _key_hint(key, known),
            )
            del result[key]
        return result


def _key_hint(key: str, known: tuple[str, ...]) -> str:
    if key.isdecimal():
        return "write large numbers without commas, such as 5_000_000"
    return did_you_mean(key, known) or f"known keys: {', '.join(known)}"


def _whole_characters(text: str) -> str:
    # JSON may write a character as two \u escapes, which YAML leaves as two halves.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read(text: str, file: str, problems: Problems) -> Value | None:
    """The one document in a text, or `None` when it cannot be read; the reason is among the problems."""
    if text.lstrip().startswith("{"):
        # JSON allows tabs between its tokens, YAML does not; inside of its strings there are none.
        text = text.replace("\t", " ")
    try:
        node = YAML(pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
        problems.add(place, f"this is not YAML: {error.problem or error.context}")
        return None
    except (YAMLError, RecursionError) as error:
        problems.add(Place(file, 1, 1), f"this is not YAML: {str(error).splitlines()[0]}")
        return None
    if node is None:
        problems.add(Place(file, 1, 1), "the file is empty")
        return None
    return Value(node, "", file, problems)
