"""What has to change on the server for it to be as the files want."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from enum import StrEnum

from quota.v1 import budget_pb2, catalog_pb2, directory_pb2
from quota_service.cli.files.defaults import changed_fields, comparable
from quota_service.cli.files.reading import Place
from quota_service.cli.files.state import Declared, Desired, Key, Kind, Resource, State, name_of


class Action(StrEnum):
    """What happens to a resource."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One resource that changes. `resource` is what it becomes or, when it is deleted, what it was."""

    key: Key
    action: Action
    resource: Resource
    fields: tuple[str, ...] = ()
    place: Place | None = None


@dataclass(slots=True, kw_only=True)
class Plan:
    """All changes in the order in which they are made, and what stays."""

    organization: str
    changes: list[Change] = field(default_factory=list)
    unchanged: list[Key] = field(default_factory=list)
    not_in_files: list[Key] = field(default_factory=list)


def plan_changes(desired: Desired, state: State, *, prune: bool) -> Plan:
    """Compares what the files want with what the server has."""
    plan = Plan(organization=desired.organization)
    zone = zone_of(state)
    new_zone = zone_of({key: item.message for key, item in desired.resources.items()}) or zone
    for key, declared in sorted(desired.resources.items(), key=lambda entry: entry[0]):
        change = _change(desired.organization, key, declared, state.get(key), zones=(zone, new_zone))
        if change:
            plan.changes.append(change)
        else:
            plan.unchanged.append(key)
    extra = [key for key in sorted(state) if key not in desired.resources and key[0] is not Kind.ORGANIZATION]
    if prune:
        # Last and backwards: by then nothing that stays refers to them.
        plan.changes.extend(
            Change(key=key, action=Action.DELETED, resource=state[key]) for key in reversed(extra)
        )
    else:
        plan.not_in_files = extra
    return plan


def zone_of(state: State) -> str:
    """The organization's time zone, empty where its settings are not there."""
    for message in state.values():
        if isinstance(message, directory_pb2.Organization):
            return message.time_zone or "UTC"
    return ""


def _change(
    organization: str,
    key: Key,
    declared: Declared,
    present: Resource | None,
    *,
    zones: tuple[str, str],
) -> Change | None:
    wanted = copy.deepcopy(declared.message)
    if not isinstance(wanted, catalog_pb2.Model):
        wanted.name = name_of(organization, key)
    if present is None:
        return Change(key=key, action=Action.CREATED, resource=wanted, place=declared.place)
    if declared.only_if_absent:
        return None
    _adopt(wanted, present, keeps_frozen=declared.keeps_frozen)
    fields = changed_fields(comparable(present, zones[0]), comparable(wanted, zones[1]))
    if not fields:
        return None
    # The version that was compared: a change by somebody else in between is a conflict, not overwritten.
    wanted.etag = present.etag
    return Change(key=key, action=Action.UPDATED, resource=wanted, fields=tuple(fields), place=declared.place)


def _adopt(wanted: Resource, present: Resource, *, keeps_frozen: bool) -> None:
    """Takes over what the file leaves to the server."""
    if isinstance(wanted, directory_pb2.Organization | catalog_pb2.Model):
        return
    if keeps_frozen and not isinstance(present, directory_pb2.Organization | catalog_pb2.Model):
        wanted.disabled = present.disabled
    if isinstance(wanted, budget_pb2.Budget) and isinstance(present, budget_pb2.Budget):
        _adopt_start(wanted.period, present.period)


def _adopt_start(wanted: budget_pb2.Period, present: budget_pb2.Period) -> None:
    # `once` without a start begins when the budget is created, which the server then remembers.
    both_once = wanted.WhichOneof("rule") == present.WhichOneof("rule") == "once"
    if both_once and not wanted.once.HasField("start_time") and present.once.HasField("start_time"):
        wanted.once.start_time.CopyFrom(present.once.start_time)


def overlay(state: State, plan: Plan) -> State:
    """The state after the changes."""
    result = dict(state)
    for change in plan.changes:
        if change.action is Action.DELETED:
            del result[change.key]
        else:
            result[change.key] = change.resource
    return result


def compared(state: State) -> State:
    """The state with defaults filled in: two equal ones are written alike."""
    zone = zone_of(state)
    return {key: comparable(message, zone) for key, message in state.items()}
