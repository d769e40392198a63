"""YAML written node by node, so that numbers, quotes and line breaks are as a person would write them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_STRING = "tag:yaml.org,2002:str"
_MAPPING = "tag:yaml.org,2002:map"
_SEQUENCE = "tag:yaml.org,2002:seq"
_WIDTH = 110


def plain(text: str) -> Node:
    """A number, a flag or a time: written without quotes."""
    return ScalarNode(tag=YAML(pure=True).resolver.resolve(ScalarNode, text, (True, False)), value=text)


def string(text: str) -> Node:
    """A text: quoted where YAML would take it for something else."""
    return ScalarNode(tag=_STRING, value=text)


def mapping(entries: Mapping[str, Node | None], *, in_line: bool = False) -> Node:
    """A mapping; entries that are `None` are left out."""
    pairs = [(string(key), node) for key, node in entries.items() if node is not None]
    return MappingNode(tag=_MAPPING, value=pairs, flow_style=in_line or not pairs)


def sequence(items: Iterable[Node], *, in_line: bool = False) -> Node | None:
    """A list; `None` where it is empty."""
    nodes = list(items)
    return SequenceNode(tag=_SEQUENCE, value=nodes, flow_style=in_line) if nodes else None


def empty() -> Node:
    """A list of nothing, where leaving it out would mean something else."""
    return SequenceNode(tag=_SEQUENCE, value=[], flow_style=True)


def optional(text: str) -> Node | None:
    """A text; `None` where it is empty."""
    return string(text) if text else None


def dump(node: Node) -> str:
    """The text of a document."""
    yaml = YAML(pure=True)
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = _WIDTH
    stream = io.StringIO()
    yaml.serialize(node, stream)
    return stream.getvalue()
