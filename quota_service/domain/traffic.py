"""Which requests there can be: what some properties of a request imply, and what values a property can have.

A conclusion is drawn only where admission enforces it. A request that contradicts the directory is denied, so
a key implies its owner; a user of several teams may spend under any of them, so such a user implies none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from quota_service.domain.configuration import Configuration
from quota_service.domain.scope import Scope
from quota_service.domain.subject import Dimension, Directory

Property = tuple[Dimension, str]
"""A dimension and, with TAG, the tag's key."""

Traffic = Mapping[Property, str]
"""The requests that have these values; "" is the absence of one. Empty: every request."""

TEAM, USER, API_KEY, COST_CENTER = (
    (dimension, "")
    for dimension in (Dimension.TEAM, Dimension.USER, Dimension.API_KEY, Dimension.COST_CENTER)
)

SUBJECT_DIMENSIONS = (
    Dimension.TEAM,
    Dimension.COST_CENTER,
    Dimension.PROJECT,
    Dimension.USER,
    Dimension.API_KEY,
)
"""Those by which the directory divides an organization, the coarsest first."""


def equalities(scope: Scope) -> dict[Property, str]:
    """What a scope demands of a request."""
    plain = {
        Dimension.TEAM: scope.team,
        Dimension.USER: scope.user,
        Dimension.API_KEY: scope.api_key,
        Dimension.PROJECT: scope.project,
        Dimension.COST_CENTER: scope.cost_center,
        Dimension.PROVIDER: scope.provider,
        Dimension.MODEL: scope.model,
        Dimension.TIER: "" if scope.tier is None else str(scope.tier),
    }
    tags = {(Dimension.TAG, key): value for key, value in scope.tags}
    return {(dimension, ""): value for dimension, value in plain.items() if value} | tags


def implied(traffic: Traffic, directory: Directory) -> Traffic | None:
    """The traffic with everything that the directory says of all its requests; `None` where there can be no
    such request.
    """
    known = dict(traffic)
    return known if all(rule(known, directory) for rule in (_owner, _team, _cost_center)) else None


def includes(scope: Scope, traffic: Traffic) -> bool:
    """Whether every request of the (implied) traffic falls under the scope."""
    return all(traffic.get(property_) == value for property_, value in equalities(scope).items())


def values(dimension: Dimension, traffic: Traffic, configuration: Configuration) -> tuple[str, ...] | None:
    """The values that requests of the (implied) traffic can have on a dimension, "" first; `None` where
    callers can make up new ones.
    """
    property_ = (dimension, "")
    if property_ in traffic:
        return (traffic[property_],)
    named = _named(dimension, configuration)
    if named is None:
        return None
    possible = ({**traffic, property_: value} for value in sorted(named))
    return tuple(each[property_] for each in possible if implied(each, configuration.directory) is not None)


def _owner(known: dict[Property, str], directory: Directory) -> bool:
    key = directory.api_keys.get(known.get(API_KEY, ""))
    if key is None:
        return True
    owner, name = (USER, key.user) if key.user else (TEAM, key.team)
    return known.setdefault(owner, name) == name


def _team(known: dict[Property, str], directory: Directory) -> bool:
    user = directory.users.get(known.get(USER, ""))
    if user is None:
        return True
    teams = user.teams or ("",)
    if TEAM not in known and len(teams) == 1:
        known[TEAM] = teams[0]
    return TEAM not in known or known[TEAM] in teams


def _cost_center(known: dict[Property, str], directory: Directory) -> bool:
    if TEAM not in known:
        return True
    team = directory.teams.get(known[TEAM])
    name = team.cost_center if team is not None else ""
    return known.setdefault(COST_CENTER, name) == name


def _named(dimension: Dimension, configuration: Configuration) -> set[str] | None:
    """The values that the directory and the catalogue know, and "" where requests may do without."""
    match dimension:
        case Dimension.TEAM | Dimension.USER | Dimension.API_KEY | Dimension.PROJECT:
            if configuration.organization.create_unknown_subjects:
                return None
            return {*_ids(dimension, configuration.directory), *_absence(dimension, configuration)}
        case Dimension.COST_CENTER:
            teams = configuration.directory.teams.values()
            return {*(team.cost_center for team in teams), *_absence(dimension, configuration)}
        case Dimension.PROVIDER | Dimension.MODEL | Dimension.TIER:
            return _of_models(dimension, configuration)
        case Dimension.ORGANIZATION:
            return {configuration.organization.id}
        case Dimension.TAG:
            return None


def _ids(dimension: Dimension, directory: Directory) -> Iterable[str]:
    return {
        Dimension.TEAM: directory.teams,
        Dimension.USER: directory.users,
        Dimension.API_KEY: directory.api_keys,
        Dimension.PROJECT: directory.projects,
    }[dimension]


def _absence(dimension: Dimension, configuration: Configuration) -> tuple[str, ...]:
    return () if dimension in configuration.organization.required_dimensions else ("",)


def _of_models(dimension: Dimension, configuration: Configuration) -> set[str]:
    """Only models of the catalogue are admitted, and they count under its names."""
    models = {**configuration.imported_models, **configuration.own_models}
    if dimension is Dimension.TIER:
        return {"" if model.tier is None else str(model.tier) for model in models.values()}
    return {key[0 if dimension is Dimension.PROVIDER else 1] for key in models}
