"""Server reflection with the contract's JSON names.

The descriptors inside generated Python code leave `json_name` out, and grpcurl would then print `cost_micros`
where every other client's JSON says `costMicros`. So reflection answers from copies that have it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import grpc.aio
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection


def enable(server: grpc.aio.Server, services: Iterable[str], files: Iterable[FileDescriptor]) -> None:
    """Answers reflection for the services, which the files (and what they import) define."""
    reflection.enable_server_reflection(tuple(services), server, _pool(tuple(files)))


@cache
def _pool(files: tuple[FileDescriptor, ...]) -> DescriptorPool:
    """The same for all servers of a process, of which tests have many."""
    pool = DescriptorPool()
    added: set[str] = set()
    for file in files:
        _add(pool, file, added)
    return pool


def _add(pool: DescriptorPool, file: FileDescriptor, added: set[str]) -> None:
    """Imports first: a pool takes a file only when it has them."""
    if file.name in added:
        return
    added.add(file.name)
    for imported in file.dependencies:
        _add(pool, imported, added)
    copy = FileDescriptorProto()
    file.CopyToProto(copy)
    for message in copy.message_type:
        _name_fields(message)
    pool.AddSerializedFile(copy.SerializeToString())


def _name_fields(message: DescriptorProto) -> None:
    for field in message.field:
        if not field.json_name:
            field.json_name = json_name(field.name)
    for nested in message.nested_type:
        _name_fields(nested)


def json_name(name: str) -> str:
    """A field's name in JSON, as protoc derives it: `cost_micros` → `costMicros`."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)
