"""What clients get: the same protos, less the validation rules."""

from pathlib import Path

import pytest
from buf.validate import validate_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    OneofDescriptorProto,
)

from quota.v1 import budget_pb2, catalog_pb2, directory_pb2, errors_pb2, quota_pb2, report_pb2, types_pb2
from scripts.strip_validation import strip_validation

PROTOSET = Path(__file__).parents[3] / "clients/quota.protoset"
MODULES = (budget_pb2, catalog_pb2, directory_pb2, errors_pb2, quota_pb2, report_pb2, types_pb2)


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("string id = 1 [(buf.validate.field).string.min_len = 1];", "string id = 1;"),
        (
            "int64 n = 1 [deprecated = true, (buf.validate.field).int64.gt = 0];",
            "int64 n = 1 [deprecated = true];",
        ),
        (
            "int64 n = 1 [(buf.validate.field).int64.gt = 0, deprecated = true];",
            "int64 n = 1 [deprecated = true];",
        ),
        ('string id = 1 [\n  (buf.validate.field).string = {in: ["a", "]"]}\n];', "string id = 1;"),
        ('import "buf/validate/validate.proto";\nimport "a.proto";\n', 'import "a.proto";\n'),
        (
            "oneof of {\n  option (buf.validate.oneof).required = true;\n  int32 a = 1;\n}",
            "oneof of {\n  int32 a = 1;\n}",
        ),
        ('option (buf.validate.message).cel = {expression: "a; b"};\n', ""),
        (
            '// see "[(buf.validate.field).x = 1]"\nint32 a = 1;',
            '// see "[(buf.validate.field).x = 1]"\nint32 a = 1;',
        ),
        (
            'string s = 1 [json_name = "(buf.validate.field)"];',
            'string s = 1 [json_name = "(buf.validate.field)"];',
        ),
    ],
)
def test_rules_go_and_everything_else_stays(text: str, stripped: str) -> None:
    assert strip_validation(text) == stripped


def test_the_protoset_equals_the_served_contract_but_for_the_rules() -> None:
    shipped = {file.name: file for file in FileDescriptorSet.FromString(PROTOSET.read_bytes()).file}
    assert "buf/validate/validate.proto" not in shipped
    for module in MODULES:
        served = FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
        assert comparable(shipped[served.name]) == comparable(served)


def comparable(file: FileDescriptorProto) -> FileDescriptorProto:
    """The file without rules, and without the JSON names, which only a descriptor set spells out."""
    if "buf/validate/validate.proto" in file.dependency:
        file.dependency.remove("buf/validate/validate.proto")
    for message in file.message_type:
        remove_rules(message)
    return file


def remove_rules(message: DescriptorProto) -> None:
    message.options.ClearExtension(validate_pb2.message)
    for field in message.field:
        field.options.ClearExtension(validate_pb2.field)
        field.ClearField("json_name")
    for oneof in message.oneof_decl:
        oneof.options.ClearExtension(validate_pb2.oneof)
    changed: list[DescriptorProto | FieldDescriptorProto | OneofDescriptorProto]
    changed = [message, *message.field, *message.oneof_decl]
    for part in changed:
        if not part.options.ByteSize():
            part.ClearField("options")
    for nested in message.nested_type:
        remove_rules(nested)
