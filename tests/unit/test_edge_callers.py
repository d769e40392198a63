"""The file of callers: what it may say, and what is told where it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from quota_service.cli import main as command
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


def test_a_caller_may_be_bound_to_teams_or_to_those_that_a_user_leads(tmp_path: Path) -> None:
    known = read(
        put(
            tmp_path / "callers.yaml",
            f"""\
callers:
  core: {{role: team_lead, organization: acme, teams: core, token_sha256: {HASH}}}
  looks: {{role: viewer, organization: acme, teams: [sales, core, sales], token_sha256: {OTHER}}}
  ada: {{role: team_lead, organization: acme, user: ada@acme.example, san: ada.internal}}
""",
        )
    )
    assert known.by_token[HASH] == Caller("core", Role.TEAM_LEAD, "acme", teams=("core",))
    assert known.by_token[OTHER].teams == ("core", "sales")
    assert known.by_san["ada.internal"] == Caller("ada", Role.TEAM_LEAD, "acme", user="ada@acme.example")
    assert all(caller.is_of_teams for caller in (*known.by_token.values(), *known.by_san.values()))


def test_one_entry_is_for_all_whose_token_says_which_user_they_are(tmp_path: Path) -> None:
    entry = "{role: team_lead, organization: a, user_claim: email, jwt: {issuer: i, claims: {group: leads}}}"
    [leads] = read(
        put(tmp_path / "callers.yaml", ISSUER % ("k.json", "[RS256]", f"{{x: {entry}}}"))
    ).by_claims
    told = leads.said_by("i", {"group": ["leads"], "email": "ada@acme.example"})
    assert told == Caller("x", Role.TEAM_LEAD, "a", user="ada@acme.example")
    for email in (None, "", ["ada@acme.example"], 7, "no id"):
        assert leads.said_by("i", {"group": "leads", "email": email}) is None
    assert leads.said_by("i", {"group": "leads"}) is None
    assert leads.said_by("i", {"email": "ada@acme.example"}) is None
    assert leads.said_by("j", {"group": "leads", "email": "ada@acme.example"}) is None


TEAMS = f"callers: {{x: {{role: %s, organization: %s, token_sha256: {HASH}, %s}}}}"


@pytest.mark.parametrize(
    ("role", "organization", "bound", "told"),
    [
        (
            "team_lead",
            "acme",
            "san: []",
            "callers.x: a team_lead needs teams, user or user_claim: whose it is",
        ),
        ("team_lead", "acme", "teams: []", "callers.x: is bound to teams, but names none"),
        ("viewer", "acme", "teams: []", "callers.x: is bound to teams, but names none"),
        ("team_lead", "acme", "user: ''", "callers.x: '' is no team's or user's id"),
        ("team_lead", "acme", "teams: [core, a b]", "callers.x: 'a b' is no team's or user's id"),
        ("team_lead", "acme", "teams: core, user: ada", "callers.x: needs one of teams, user and user_claim"),
        (
            "team_lead",
            "acme",
            "user_claim: sub",
            "callers.x: user_claim is one of a token's claims: needs jwt",
        ),
        ("team_lead", "'*'", "teams: core", "callers.x: is bound to teams, so name their organization"),
        *(
            (role, "acme", "teams: core", f"but what role {role} may do is the organization's")
            for role in ("gateway", "finance", "admin")
        ),
    ],
)
def test_teams_that_would_bind_nobody_or_whom_they_cannot_are_refused(
    tmp_path: Path, role: str, organization: str, bound: str, told: str
) -> None:
    with pytest.raises(CallersFault) as raised:
        read(put(tmp_path / "callers.yaml", TEAMS % (role, organization, bound)))
    assert told in str(raised.value)


def test_the_line_that_quota_token_prints_is_one_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, made = ["callers:"], list[str]()
    for bound in (["--team", "core", "--team", "0815"], ["--user", "ada"], []):
        name = f"c{len(made)}"
        assert command.main(["token", "--caller", name, "--role", "viewer", "--of", "acme", *bound]) == 0
        printed = capsys.readouterr()
        lines.append(printed.err.splitlines()[-1])
        made.append(token_hash(printed.out.strip()))
    known = read(put(tmp_path / "callers.yaml", "\n".join(lines))).by_token
    assert [known[hashed] for hashed in made] == [
        Caller("c0", Role.VIEWER, "acme", teams=("0815", "core")),
        Caller("c1", Role.VIEWER, "acme", user="ada"),
        Caller("c2", Role.VIEWER, "acme"),
    ]


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
