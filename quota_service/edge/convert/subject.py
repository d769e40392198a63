"""Who spends."""

from __future__ import annotations

from functools import lru_cache

from quota.v1 import types_pb2
from quota_service.domain.subject import Subject


@lru_cache(maxsize=4_096)
def shared_subject(value: Subject) -> types_pb2.Subject:
    """As `subject`, a message that all answers share: do not change it."""
    return subject(value)


def subject(value: Subject) -> types_pb2.Subject:
    """A subject as a message. The cost center is not part of it."""
    return types_pb2.Subject(
        organization=value.organization,
        team=value.team,
        user=value.user,
        api_key=value.api_key,
        project=value.project,
        tags=dict(value.tags),
    )


def subject_of(message: types_pb2.Subject, organization: str = "") -> Subject:
    """The subject of a message; `organization`, if given, counts instead of the message's."""
    return Subject(
        organization=organization or message.organization,
        team=message.team,
        user=message.user,
        api_key=message.api_key,
        project=message.project,
        tags=tuple(sorted(message.tags.items())) if message.tags else (),
    )
