"""Files into what they want: one `Desired` per organization."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from quota.v1 import directory_pb2
from quota_service.cli.failures import CommandError, ExitCode
from quota_service.cli.files.budgets import read_budgets
from quota_service.cli.files.directory import Declarations, read_organization, read_section
from quota_service.cli.files.limits import read_model_policies, read_rate_limits
from quota_service.cli.files.models import read_models
from quota_service.cli.files.reading import Problems, Value, read
from quota_service.cli.files.state import Desired, Kind
from quota_service.cli.files.teambudget import is_team_budget, read_team_budget

SECTIONS = (
    "organization",
    "teams",
    "users",
    "projects",
    "keys",
    "models",
    "model_policies",
    "rate_limits",
    "budgets",
)
LARGEST_FILE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a file, and what to call it."""

    file: str
    text: str


def load(path: str) -> Source:
    """Reads a file, or standard input for `-`."""
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        code = ExitCode.NOT_FOUND if isinstance(error, FileNotFoundError) else ExitCode.BAD_INPUT
        raise CommandError(f"cannot read {path}: {error.strerror}", code=code) from None
    if len(data) > LARGEST_FILE_BYTES:
        raise CommandError(f"{path} is larger than {LARGEST_FILE_BYTES // 2**20} MiB")
    file = "<stdin>" if path == "-" else path
    try:
        return Source(file, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise CommandError(f"{file}:{line}: this is not UTF-8 text") from None


def parse(sources: Iterable[Source], organization: str, problems: Problems) -> list[Desired]:
    """What the files want, one entry per organization.

    `organization` is that of files that name none. Where it is empty, they belong to the only organization
    that other files name; otherwise the entry has none either.
    """
    read_ones = [read(source.text, source.file, problems) for source in sources]
    documents = [document for document in read_ones if document is not None]
    # Those that name an organization first: the others may belong to it.
    documents.sort(key=lambda document: not _names_organization(document))
    by_organization: dict[str, Desired] = {}
    for document in documents:
        named = list(by_organization)
        default = organization or (named[0] if len(named) == 1 else "")
        _parse_document(document, default, by_organization)
        _check_named(document, organization, by_organization)
    return list(by_organization.values())


def _names_organization(document: Value) -> bool:
    return document.is_mapping and "organization" in document.entries()


def _check_named(document: Value, organization: str, by_organization: dict[str, Desired]) -> None:
    for named in by_organization:
        if organization and named not in ("", organization):
            document.problem(f"is about {named!r}, but --organization says {organization!r}")


def _parse_document(document: Value, organization: str, by_organization: dict[str, Desired]) -> None:
    if is_team_budget(document, SECTIONS):
        read_team_budget(document, _target(organization, by_organization))
        return
    sections = document.fields(*SECTIONS)
    own = Declarations(Desired(organization=organization))
    zone = ""
    if "organization" in sections:
        read_organization(sections["organization"], own)
        zone = _zone_of(own)
    into = _target(own.desired.organization, by_organization, zone)
    for key, declared in own.desired.resources.items():
        into.declare(key, declared, sections["organization"])
    for kind, name in (
        (Kind.TEAM, "teams"),
        (Kind.USER, "users"),
        (Kind.PROJECT, "projects"),
        (Kind.KEY, "keys"),
    ):
        if name in sections:
            read_section(kind, sections[name], into)
    if "models" in sections:
        read_models(sections["models"], zone, into)
    if "model_policies" in sections:
        read_model_policies(sections["model_policies"], into)
    if "rate_limits" in sections:
        read_rate_limits(sections["rate_limits"], into)
    if "budgets" in sections:
        read_budgets(sections["budgets"], zone, into)


def _target(organization: str, by_organization: dict[str, Desired], zone: str = "") -> Declarations:
    return Declarations(by_organization.setdefault(organization, Desired(organization=organization)), zone)


def _zone_of(declarations: Declarations) -> str:
    for declared in declarations.desired.resources.values():
        if isinstance(declared.message, directory_pb2.Organization):
            return declared.message.time_zone
    return ""
