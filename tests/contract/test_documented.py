"""The contract documents itself: every service, method, message, field, enum and value has a comment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).parents[2]
BUF = Path(sys.executable).with_name("buf")
PACKAGE = "quota.v1"

# Numbers of the descriptors' fields, of which a source location's path consists.
MESSAGES, ENUMS, SERVICES = 4, 5, 6
FIELDS, NESTED, NESTED_ENUMS, VALUES, METHODS = 2, 3, 4, 2, 2

Path_ = tuple[int, ...]


@cache
def _files() -> list[FileDescriptorProto]:
    """The contract with its comments, which the shipped protoset leaves out."""
    built = subprocess.run([BUF, "build", "-o", "-#format=binpb"], cwd=ROOT, capture_output=True, check=True)
    protoset = FileDescriptorSet.FromString(built.stdout)
    return [file for file in protoset.file if file.package == PACKAGE]


def _comments(file: FileDescriptorProto) -> dict[Path_, str]:
    return {tuple(location.path): location.leading_comments for location in file.source_code_info.location}


def _parts(file: FileDescriptorProto) -> Iterator[tuple[str, Path_]]:
    for index, message in enumerate(file.message_type):
        yield from _message_parts(message, message.name, (MESSAGES, index))
    for index, enum in enumerate(file.enum_type):
        yield from _enum_parts(enum, enum.name, (ENUMS, index))
    for index, service in enumerate(file.service):
        yield service.name, (SERVICES, index)
        for number, method in enumerate(service.method):
            yield f"{service.name}.{method.name}", (SERVICES, index, METHODS, number)


def _message_parts(message, name: str, path: Path_) -> Iterator[tuple[str, Path_]]:  # type: ignore[no-untyped-def]
    if message.options.map_entry:
        return
    yield name, path
    for index, field in enumerate(message.field):
        yield f"{name}.{field.name}", (*path, FIELDS, index)
    for index, nested in enumerate(message.nested_type):
        yield from _message_parts(nested, f"{name}.{nested.name}", (*path, NESTED, index))
    for index, enum in enumerate(message.enum_type):
        yield from _enum_parts(enum, f"{name}.{enum.name}", (*path, NESTED_ENUMS, index))


def _enum_parts(enum, name: str, path: Path_) -> Iterator[tuple[str, Path_]]:  # type: ignore[no-untyped-def]
    yield name, path
    for index, value in enumerate(enum.value):
        yield f"{name}.{value.name}", (*path, VALUES, index)


def test_the_whole_contract_is_looked_at() -> None:
    assert {file.name.rsplit("/", 1)[1] for file in _files()} == {
        "alert.proto",
        "audit.proto",
        "budget.proto",
        "catalog.proto",
        "directory.proto",
        "errors.proto",
        "exposure.proto",
        "model_policy.proto",
        "money.proto",
        "operations.proto",
        "quota.proto",
        "report.proto",
        "types.proto",
    }


@pytest.mark.parametrize("file", _files(), ids=lambda file: file.name)
def test_every_part_of_the_contract_has_a_comment(file: FileDescriptorProto) -> None:
    comments = _comments(file)
    parts = list(_parts(file))
    assert parts
    assert [name for name, path in parts if not comments.get(path, "").strip()] == []


@pytest.mark.parametrize("file", _files(), ids=lambda file: file.name)
def test_every_method_says_which_errors_it_has(file: FileDescriptorProto) -> None:
    comments = _comments(file)
    methods = [(name, path) for name, path in _parts(file) if path[0] == SERVICES and len(path) == 4]
    assert [name for name, path in methods if "Errors:" not in comments[path]] == []
