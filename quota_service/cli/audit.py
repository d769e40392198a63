"""`quota audit list | verify`: who has changed what, and whether that is what was written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from quota.v1 import audit_pb2 as pb
from quota_service.cli import options, output, tables
from quota_service.cli.failures import CommandError, ExitCode
from quota_service.cli.listing import DEFAULT_LIMIT, first, instant
from quota_service.cli.session import PAGE_SIZE, Session, paged, run
from quota_service.cli.zones import fetch_zone

TAMPERED = 1
"""The exit code where something was rewritten."""

_HEAD_HINT = "a head is EVENT:HASH:SEAL:HASH, as `quota audit verify` prints it"


@click.group()
def audit() -> None:
    """List who has changed what, and verify that nobody has rewritten it, or the ledger."""


@audit.command("list")
@click.option("--of", "resource", default="", metavar="NAME", help="Only of this, such as budgets/core.")
@click.option("--actor", default="", metavar="NAME", help="Only by this caller.")
@click.option("--method", default="", metavar="NAME", help="Only by this method, such as UpdateBudget.")
@click.option("--since", metavar="TIME", help="At or after this date or time.")
@click.option("--until", metavar="TIME", help="Before this date or time.")
@click.option("--limit", type=click.IntRange(min=1), default=DEFAULT_LIMIT, show_default=True, metavar="N")
@options.globally()
def list_(
    *, resource: str, actor: str, method: str, since: str | None, until: str | None, limit: int
) -> None:
    """List changes, newest first. Dates are the organization's."""

    async def work(session: Session) -> tuple[list[pb.AuditEvent], str]:
        parent, zone = await session.parent(), await fetch_zone(session)
        query = pb.ListAuditEventsRequest(
            parent=parent,
            page_size=min(limit, PAGE_SIZE),
            resource=_full_name(resource, parent),
            actor=actor,
            method=method,
            start_time=instant("--since", since, zone) if since else None,
            end_time=instant("--until", until, zone) if until else None,
        )
        return [each async for each in first(_events(session, query), limit)], zone

    found, zone = run(work)
    if options.current().json:
        output.print_json({"auditEvents": [output.as_dict(each) for each in found]})
    elif not found:
        click.echo("no changes")
    else:
        _print_events(found, zone)
        if len(found) == limit:
            output.note(f"the newest {len(found)}; --limit shows more")


@dataclass(slots=True)
class Result:
    """What the verifier came to."""

    organization: str
    findings: list[pb.Tampering] = field(default_factory=list)
    events: int = 0
    entries: int = 0
    unnamed: int = 0
    last: pb.VerifyAuditTrailResponse = field(default_factory=pb.VerifyAuditTrailResponse)

    def as_dict(self) -> dict[str, Any]:
        return {
            "organization": f"organizations/{self.organization}",
            "findings": [output.as_dict(each) for each in self.findings],
            "unnamedFindings": self.unnamed,
            "verifiedEvents": self.events,
            "verifiedLedgerEntries": self.entries,
            "unsealedLedgerEntries": self.last.unsealed_ledger_entries,
            "head": _head_text(self.last.head),
        }


@audit.command()
@click.option("--head", metavar="HEAD", help="One that an earlier run has printed, kept elsewhere since.")
@options.globally()
def verify(head: str | None) -> int:
    """Verify that the audit trail and the ledger say what was written, event by event and entry by entry.

    All organizations that there are, unless --organization names one: a trail outlives its organization. Keep
    the head that is printed where those who run the database cannot change it: given to a later run, it shows
    that nothing was taken away or made anew.

    \b
    Exit codes:
      0  everything is as it was written
      1  something was changed, taken away or added
      5  the server or a store is unavailable
    """
    known = _head_of(head) if head else None

    async def work(session: Session) -> list[Result]:
        named = session.globals.organization
        organizations = [named] if named else await session.organizations()
        if known is not None and len(organizations) != 1:
            raise CommandError("a head is of one organization", hint="name it with --organization")
        return [await _verify(session, each, known) for each in organizations]

    results = run(work)
    if options.current().json:
        output.print_json({"organizations": [each.as_dict() for each in results]})
    else:
        for each in results:
            _print_result(each)
    return TAMPERED if any(each.findings for each in results) else ExitCode.OK


async def _verify(session: Session, organization: str, known: pb.TrailHead | None) -> Result:
    result = Result(organization)
    with output.ProgressLine() as line:
        while True:
            request = pb.VerifyAuditTrailRequest(
                parent=f"organizations/{organization}",
                known_head=known,
                page_token=result.last.next_page_token,
            )
            page = await session.connection.call(session.connection.audit.VerifyAuditTrail, request)
            result.last = page
            result.findings += page.findings
            result.unnamed += page.unnamed_findings
            result.events += page.verified_events
            result.entries += page.verified_ledger_entries
            if not page.next_page_token:
                return result
            line.show(f"{organization}: {_looked_at(result)}")


def _events(session: Session, query: pb.ListAuditEventsRequest) -> AsyncIterator[pb.AuditEvent]:
    async def page(token: str) -> pb.ListAuditEventsResponse:
        request = pb.ListAuditEventsRequest()
        request.CopyFrom(query)
        request.page_token = token
        return await session.connection.call(session.connection.audit.ListAuditEvents, request)

    return paged(page, lambda answer: answer.audit_events)


def _full_name(resource: str, parent: str) -> str:
    if not resource or resource.startswith("organizations/"):
        return resource
    return f"{parent}/{resource}"


def _print_events(found: Sequence[pb.AuditEvent], zone: str) -> None:
    columns = ("when", "who", "did", "to", "change", "why")
    table = output.table(*columns, whole=columns[:1])
    for each in found:
        table.add_row(
            tables.local_time(each.create_time, zone, form="%b %d %H:%M:%S"),
            each.actor or "-",
            output.short_id(each.method),
            each.resource.partition("/")[2].partition("/")[2] or each.resource,
            "\n".join(_differences(each)),
            each.reason,
        )
    output.print_table(table)


def _differences(event: pb.AuditEvent) -> list[str]:
    """What differs, a line each; of what is new or gone there is only that to say."""
    if not event.HasField("before"):
        return ["new"] if event.HasField("after") else []
    if not event.HasField("after"):
        return ["gone"]
    before, after = _flat(output.as_dict(event.before)), _flat(output.as_dict(event.after))
    names = [*before, *(name for name in after if name not in before)]
    return [
        f"{name.partition('.')[2]}: {before.get(name, '-')} → {after.get(name, '-')}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _flat(value: Any, name: str = "") -> Mapping[str, str]:
    """The leaves of a document by their paths, without those that say nothing."""
    if isinstance(value, dict):
        parts = {f"{name}.{key}" if name else key: part for key, part in value.items()}
    elif isinstance(value, list):
        parts = {f"{name}[{index}]": part for index, part in enumerate(value)}
    else:
        return {name: str(value)} if value not in (None, "", "0", 0, False) else {}
    return {leaf: text for path, part in parts.items() for leaf, text in _flat(part, path).items()}


def _print_result(result: Result) -> None:
    for each in result.findings:
        click.echo(f"{each.name}: {each.message}")
    verdict = "as they were written"
    if result.findings:
        number = len(result.findings) + result.unnamed
        verdict = output.styled(output.counted(number, "finding"), fg="red", bold=True)
    click.echo(f"{result.organization}: {_looked_at(result)}: {verdict}")
    if unsealed := result.last.unsealed_ledger_entries:
        output.note(f"ledger entries too new to be sealed: {unsealed:,}")
    click.echo(f"head {_head_text(result.last.head)}")


def _looked_at(result: Result) -> str:
    return f"{output.counted(result.events, 'change')}, {result.entries:,} ledger entries"


def _head_text(head: pb.TrailHead) -> str:
    return f"{head.event}:{head.event_hash}:{head.seal}:{head.seal_hash}"


def _head_of(text: str) -> pb.TrailHead:
    parts = text.split(":")
    if len(parts) != 4 or not (parts[0].isdecimal() and parts[2].isdecimal()):
        raise CommandError(f"{text!r} is no head", hint=_HEAD_HINT)
    return pb.TrailHead(event=int(parts[0]), event_hash=parts[1], seal=int(parts[2]), seal_hash=parts[3])
