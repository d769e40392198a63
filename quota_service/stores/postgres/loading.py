"""A configuration from what is known and what has changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import asyncpg

from quota_service.domain.configuration import Configuration, ModelKey
from quota_service.domain.pricing import Model
from quota_service.domain.subject import Directory, Organization
from quota_service.stores.postgres import documents


def assemble(
    version: int,
    organization: Organization,
    known: Configuration | None,
    changed: Iterable[asyncpg.Record],
    imported: Mapping[ModelKey, Model],
) -> Configuration:
    """`known` with the rows (kind, id, document) of `changed` applied; a row without a document removes."""
    resources = _resources(known)
    for kind, id_, document in changed:
        if document is None:
            resources[kind].pop(_key(kind, id_), None)
        else:
            resources[kind][_key(kind, id_)] = documents.decode(documents.CLASSES[kind], document)
    return Configuration(
        version=version,
        organization=organization,
        directory=Directory(
            teams=resources["team"],
            users=resources["user"],
            api_keys=resources["api_key"],
            projects=resources["project"],
        ),
        budgets=resources["budget"],
        rate_limits=resources["rate_limit"],
        model_policies=resources["model_policy"],
        own_models=resources["model"],
        imported_models=imported,
    )


def _resources(known: Configuration | None) -> dict[str, dict[Any, Any]]:
    """Copies, by kind: configurations are immutable."""
    if known is None:
        return {kind: {} for kind in documents.CLASSES}
    return {
        "team": dict(known.directory.teams),
        "user": dict(known.directory.users),
        "api_key": dict(known.directory.api_keys),
        "project": dict(known.directory.projects),
        "budget": dict(known.budgets),
        "rate_limit": dict(known.rate_limits),
        "model_policy": dict(known.model_policies),
        "model": dict(known.own_models),
    }


def _key(kind: str, id_: str) -> str | ModelKey:
    if kind != "model":
        return id_
    provider, _, model = id_.partition("/")
    return provider, model
