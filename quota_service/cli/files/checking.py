"""Everything that can be known to be wrong before the first change is made."""

from __future__ import annotations

from quota.client import Connection
from quota_service.cli.failures import CommandError, ExitCode, did_you_mean
from quota_service.cli.files.changes import Action, Change, Plan
from quota_service.cli.files.limits import ANY_MODEL
from quota_service.cli.files.reading import Place, Problems
from quota_service.cli.files.server import find_model, list_models
from quota_service.cli.files.state import Desired, Key, Kind, Reference, State


async def check_references(
    desired: Desired, state: State, *, prune: bool, connection: Connection, problems: Problems
) -> None:
    """Every mention must name something that the files or the server have."""
    known = set(desired.resources) if prune else set(desired.resources) | set(state)
    # Every organization has its own catalogue: that of a new one cannot be asked before it is there.
    has_catalogue = bool(state)
    for reference in desired.references:
        if reference.key in known:
            continue
        if reference.key[0] is not Kind.MODEL:
            _report(reference, [key[1] for key in known if key[0] is reference.key[0]], problems)
        elif has_catalogue:
            await _check_model(reference, known, desired.organization, connection, problems)


async def _check_model(
    reference: Reference, known: set[Key], organization: str, connection: Connection, problems: Problems
) -> None:
    provider, _, model = reference.key[1].partition("/")
    if model == ANY_MODEL:
        await _check_provider(reference, known, organization, connection, problems)
        return
    if await find_model(connection, organization, provider, model):
        return
    candidates = [f"{m.provider}/{m.model}" async for m in list_models(connection, organization, provider)]
    _report(reference, candidates, problems)


async def _check_provider(
    reference: Reference, known: set[Key], organization: str, connection: Connection, problems: Problems
) -> None:
    """`openai/*` needs a model of the provider, in the files or on the server."""
    models = {key[1] for key in known if key[0] is Kind.MODEL}
    models |= {f"{m.provider}/{m.model}" async for m in list_models(connection, organization)}
    candidates = {f"{name.partition('/')[0]}/{ANY_MODEL}" for name in models}
    if reference.key[1] not in candidates:
        _report(reference, sorted(candidates), problems)


def _report(reference: Reference, candidates: list[str], problems: Problems) -> None:
    kind, identifier = reference.key
    note = problems.add if reference.required else problems.warn
    note(
        reference.place,
        f"{reference.path}: there is no {kind.label} {identifier!r}",
        did_you_mean(identifier, candidates),
    )


async def check_changes(plan: Plan, state: State, *, connection: Connection, problems: Problems) -> None:
    """Checks what will be sent against the rules that the API documents, and what it leads to, as the server
    will.
    """
    from quota_service.cli.files.rules import Rules

    rules = Rules(plan, state, connection)
    for change in plan.changes:
        if change.action is Action.DELETED:
            continue
        # What a message must not say at all comes first: the rules go by messages that can be read.
        wrong = _violations(change) or [
            f"{fault.field}: {fault.description}" async for fault in rules.faults(change)
        ]
        for description in wrong:
            problems.add(change.place or Place("", 1, 1), f"{_title(change.key)}: {description}")


def _violations(change: Change) -> list[str]:
    import protovalidate

    found = protovalidate.collect_violations(change.resource)
    return [f"{_path(violation)}{violation.proto.message}" for violation in found]


def _path(violation: object) -> str:
    elements = violation.proto.field.elements  # type: ignore[attr-defined]
    path = ".".join(element.field_name for element in elements)
    return f"{path}: " if path else ""


def _title(key: Key) -> str:
    return f"{key[0].label} {key[1]}"


def check_prune(desired: Desired) -> None:
    """Refuses to delete everything that a file about one team does not mention."""
    if (Kind.ORGANIZATION, desired.organization) not in desired.resources:
        raise CommandError(
            "--prune needs a file that describes the whole organization",
            hint="give it an `organization` section with its settings, as `quota export` writes it",
        )


def check_exists(desired: Desired, state: State | None) -> State:
    """The state, or nothing for an organization that the files create."""
    if state is not None:
        return state
    if (Kind.ORGANIZATION, desired.organization) in desired.resources:
        return {}
    raise CommandError(
        f"there is no organization {desired.organization!r}",
        code=ExitCode.NOT_FOUND,
        hint="an `organization` section with an id and settings creates it",
    )
