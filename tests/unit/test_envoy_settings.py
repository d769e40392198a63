"""The file that says who spends behind Envoy."""

from __future__ import annotations

from pathlib import Path

import pytest

from quota_service.edge.envoy.settings import DEFAULT, GatewayFault, Jwt, Source, Who, read
from tests.support.process import ROOT

WHOLE = """
organization: acme
subjects:
- api_key
- jwt: {metadata: claims, user: sub, team: team}
- certificates:
    spiffe://acme/billing: {team: billing}
- headers: {user: x-user}
tags: {task: x-task}
remove_key: false
min_output_tokens: 64
ttl_ms: 30000
other_calls: deny
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "gateway.yaml"
    file.write_text(text)
    return file


def test_all_of_a_file_is_read(tmp_path: Path) -> None:
    gateway = read(written(tmp_path, WHOLE))
    assert gateway.subjects == (
        "api_key",
        Source(jwt=Jwt(metadata="claims", user="sub", team="team")),
        Source(certificates={"spiffe://acme/billing": Who(team="billing")}),
        Source(headers=Who(user="x-user")),
    )
    assert (gateway.organization, gateway.tags, gateway.remove_key) == ("acme", {"task": "x-task"}, False)
    assert (gateway.min_output_tokens, gateway.ttl_ms, gateway.other_calls) == (64, 30_000, "deny")


def test_the_file_to_copy_is_good() -> None:
    assert read(ROOT / "deploy" / "envoy" / "gateway.yaml").organization == "acme"


def test_an_empty_file_means_that_keys_say_who_spends(tmp_path: Path) -> None:
    assert read(written(tmp_path, "")) == DEFAULT
    assert DEFAULT.subjects == ("api_key",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("subject: []", "unknown field `subject`"),
        ("subjects: []", "subjects: name at least one"),
        ("subjects: [keys]", "Invalid enum value 'keys'"),
        ("subjects: [{}]", "subjects[0]: needs one of jwt, certificates and headers"),
        ("subjects: [{jwt: {metadata: m, user: sub}, headers: {user: x-u}}]", "subjects[0]: needs one of"),
        ("subjects: [{jwt: {metadata: m}}]", "subjects[0].jwt: needs a claim for one of organization, team"),
        ("subjects: [{jwt: {metadata: '', user: sub}}]", "subjects[0].jwt: metadata is the name"),
        ("subjects: [{certificates: {}}]", "subjects[0].certificates: name at least one"),
        ("subjects: [{certificates: {a: {}}}]", "subjects[0].certificates.a: says nobody"),
        ("subjects: [{certificates: {a: {user: 'a b'}}}]", "subjects[0].certificates.a.user: 'a b' is no id"),
        ("subjects: [{headers: {}}]", "subjects[0].headers: needs a header for one of"),
        ("subjects: [{headers: {user: X-User}}]", "subjects[0].headers.user: 'X-User' is no header"),
        ("subjects: [{headers: {user: x-quota-user}}]", "headers x-quota-… are never trusted"),
        ("tags: {task: x-quota-task}", "tags.task: headers x-quota-… are never trusted"),
        ("tags: {'a b': x-task}", "tags: 'a b' is no name of a tag"),
        ("organization: 'a/b'", "organization: 'a/b' is no id"),
        ("ttl_ms: 4999", "ttl_ms must be 5,000–86,400,000"),
        ("min_output_tokens: -1", "min_output_tokens must be 0–1,000,000,000"),
        ("other_calls: maybe", "Invalid enum value 'maybe'"),
        ("a: [", "is not YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(GatewayFault) as fault:
        read(file)
    assert str(fault.value).startswith(str(file))
    assert told in str(fault.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(GatewayFault, match="cannot be read"):
        read(tmp_path / "none.yaml")
