"""Wires Envoy's two doors to the calls that spend."""

from __future__ import annotations

from pathlib import Path

from quota_service.application.resolving import KeyResolution
from quota_service.application.tracking import Tracked
from quota_service.edge.envoy import settings
from quota_service.edge.envoy.asking import Asking
from quota_service.edge.envoy.attempts import Attempts
from quota_service.edge.envoy.check import AuthorizationServicer
from quota_service.edge.envoy.process import ProcessorServicer
from quota_service.edge.envoy.settings import Gateway
from quota_service.edge.envoy.settling import Settling
from quota_service.edge.envoy.subjects import Subjects
from quota_service.edge.quota import QuotaUseCases
from quota_service.stores.valkey.holds import ValkeyHoldStore


def gateway(file: str) -> Gateway:
    """What the file says; without one, that keys say who spends. Raises GatewayFault."""
    return settings.read(Path(file)) if file else settings.DEFAULT


def authorization(
    known: Gateway,
    use_cases: QuotaUseCases,
    resolution: KeyResolution,
    holds: ValkeyHoldStore,
    tracked: Tracked,
) -> AuthorizationServicer:
    """The door before a call."""
    return AuthorizationServicer(
        known,
        Subjects(known, resolution),
        Asking(known, use_cases.configurations),
        Attempts(use_cases.authorization, use_cases.releases, tracked),
        holds,
    )


def processor(use_cases: QuotaUseCases, tracked: Tracked) -> ProcessorServicer:
    """The door around a call."""
    return ProcessorServicer(Settling(use_cases.commits, use_cases.releases, use_cases.extension, tracked))
