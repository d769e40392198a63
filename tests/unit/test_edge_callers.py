"""The file of callers: what it may say, and what is told where it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from quota_service.domain.caller import Caller, Role
from quota_service.edge.access import tokens
from quota_service.edge.access.callers import CallersFault, read, token_hash

HASH, OTHER = token_hash("a"), token_hash("b")


def put(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def test_a_caller_is_known_by_each_of_its_tokens_or_names(tmp_path: Path) -> None:
    known = read(
        put(
            tmp_path / "callers.yaml",
            f"""\
callers:
  envoy-eu: {{role: gateway, organization: acme, token_sha256: {HASH}}}
  finance: {{role: finance, organization: acme, token_sha256: [{OTHER}, "{"0" * 64}"]}}
  ops: {{role: admin, organization: "*", san: [ops.internal, "spiffe://acme/ops"]}}
""",
        )
    )
    assert known.by_token[HASH] == Caller("envoy-eu", Role.GATEWAY, "acme")
    assert known.by_token[OTHER] == known.by_token["0" * 64]
    assert known.by_san["spiffe://acme/ops"] == known.by_san["ops.internal"]
    assert not known.by_san["ops.internal"].is_bound


def test_a_file_without_callers_lets_nobody_in(tmp_path: Path) -> None:
    known = read(put(tmp_path / "callers.yaml", "callers: {}"))
    assert not any(known)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Expected `object`, got `null`"),
        ("callers: [", "is not YAML"),
        ("{}", "missing required field `callers`"),
        (f"callers: {{x: {{role: boss, organization: acme, token_sha256: {HASH}}}}}", "Invalid enum value"),
        (f"callers: {{x: {{role: admin, token_sha256: {HASH}}}}}", "missing required field `organization`"),
        (
            "callers: {x: {role: admin, organization: acme}}",
            "callers.x: needs one of token_sha256, san and jwt",
        ),
        (
            f"callers: {{x: {{role: admin, organization: acme, token_sha256: {HASH}, san: y}}}}",
            "callers.x: needs one of token_sha256, san and jwt",
        ),
        (
            "callers: {x: {role: admin, organization: acme, token_sha256: abc}}",
            ".x: token_sha256 must",
        ),
        (f"callers: {{x: {{role: admin, organization: a/b, token_sha256: {HASH}}}}}", "'a/b' is no organ"),
        (
            f"callers: {{a b: {{role: admin, organization: a, token_sha256: {HASH}}}}}",
            ".a b: is no id",
        ),
        ("callers: {x: {role: admin, organization: a, san: ''}}", "callers.x: "),
        (
            f"callers: {{x: {{role: admin, organization: a, token_sha256: {HASH}}},"
            f" y: {{role: viewer, organization: b, token_sha256: {HASH}}}}}",
            "callers.y: has a credential that another caller has",
        ),
        (f"callers: {{x: {{role: admin, organization: a, token: {HASH}}}}}", "unknown field `token`"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    file = put(tmp_path / "callers.yaml", text)
    with pytest.raises(CallersFault) as raised:
        read(file)
    assert told in str(raised.value)
    assert str(file) in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CallersFault, match=r"nowhere\.yaml cannot be read"):
        read(tmp_path / "nowhere.yaml")


def test_made_up_keys_cause_no_more_than_one_fetch_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    def content(source: str) -> bytes:
        fetched.append(source)
        return b"{}"

    monkeypatch.setattr(tokens, "_content", content)
    issuer = tokens.Issuer("i", "quota", tokens.KeySource("https://i/keys"), ["RS256"])
    for number in range(50):
        with pytest.raises(tokens.TokenFault):
            issuer.claims("a.b.c", {"kid": str(number)})
        issuer._keys.wait()
    assert fetched == ["https://i/keys"]


ISSUER = "issuers: [{issuer: i, audience: quota, jwks: %s, algorithms: %s}]\ncallers: %s"
TWICE = (
    "issuers: [{issuer: i, audience: a, jwks: k, algorithms: [ES256]},"
    " {issuer: i, audience: b, jwks: k, algorithms: [ES256]}]\ncallers: {}"
)
CLAIMS = "{x: {role: admin, organization: a, jwt: {issuer: %s, claims: %s}}}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (ISSUER % ("k.json", "[HS256]", "{}"), "algorithms must be some of ES256, "),
        (ISSUER % ("k.json", "[none]", "{}"), "algorithms must be some of"),
        (ISSUER % ("k.json", "[]", "{}"), "algorithms must be some of"),
        (ISSUER % ("http://login.example/keys", "[RS256]", "{}"), "jwks must be a file or an https URL"),
        (ISSUER % ("file:///etc/passwd", "[RS256]", "{}"), "jwks must be a file or an https URL"),
        (ISSUER % ("k.json", "[RS256]", CLAIMS % ("j", "{sub: x}")), "callers.x: there is no issuer 'j'"),
        (TWICE, "issuers, 'i': stands here twice"),
        (ISSUER % ("k.json", "[RS256]", CLAIMS % ("i", "{}")), "callers.x: needs claims"),
    ],
)
def test_an_issuer_that_could_be_deceived_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(CallersFault) as raised:
        read(put(tmp_path / "callers.yaml", text))
    assert told in str(raised.value)
