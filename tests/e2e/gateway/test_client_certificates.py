"""Callers with client certificates: the name that Envoy has verified says who spends."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from quota.v1 import report_pb2
from tests.support.gateway import Gateway, with_client_certificates
from tests.support.libraries import CHAT
from tests.support.raw_http import ask, post
from tests.support.service import running_service

Gateways = Callable[..., Awaitable[Gateway]]
Settled = Callable[..., Awaitable[list[report_pb2.LedgerEntry]]]
BODY = json.dumps({"model": "gpt-4o", "max_tokens": 20, "messages": []}).encode()
TRUST = 'organization: acme\nsubjects: [{certificates: {"batch.acme.example": {team: engineering}}}]'


class Closed(NamedTuple):
    """A gateway for callers with certificates of an authority."""

    envoy: Gateway
    authority: trustme.CA

    def known_as(self, *names: str, by: trustme.CA | None = None) -> ssl.SSLContext:
        """A caller with a certificate for these names; without one, if there are none."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if names:
            (by or self.authority).issue_cert(*names).configure_cert(context)
        return context

    async def answer(self, tls: ssl.SSLContext, *headers: tuple[str, str]) -> int:
        reply = await ask(self.envoy.address, post(CHAT.path, BODY, *headers), tls=tls)
        if not reply.is_whole:
            raise ConnectionError("it was cut off")
        return reply.status


@pytest.fixture
async def closed(
    gateways: Gateways, secret: str, valkey_url: str, postgres_url: str, key_prefix: str, tmp_path: Path
) -> AsyncIterator[Closed]:
    authority = trustme.CA()
    certificate, key, root = (tmp_path / f"{name}.pem" for name in ("certificate", "key", "root"))
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(root)
    file = tmp_path / "gateway.yaml"
    file.write_text(TRUST)
    async with running_service(valkey_url, postgres_url, key_prefix, envoy=str(file)) as trusting:
        change = with_client_certificates(certificate, key, root)
        yield Closed(await gateways(change, service=trusting.address), authority)


async def test_a_name_in_a_verified_certificate_says_who_spends(closed: Closed, settled: Settled) -> None:
    assert await closed.answer(closed.known_as("batch.acme.example")) == 200
    [entry] = await settled()
    assert (entry.subject.organization, entry.subject.team) == ("acme", "engineering")


async def test_another_name_says_nothing_whatever_the_caller_says_of_it(closed: Closed, secret: str) -> None:
    other = closed.known_as("elsewhere.acme.example")
    lie = 'By=x;Hash=0;Subject="CN=batch.acme.example";URI=batch.acme.example;DNS=batch.acme.example'
    assert await closed.answer(other) == 401
    assert await closed.answer(other, ("x-forwarded-client-cert", lie)) == 401
    assert await closed.answer(other, ("authorization", f"Bearer {secret}")) == 401  # keys are no source here
    assert closed.envoy.upstream == []


async def test_without_a_certificate_of_the_authority_nobody_comes_in(closed: Closed) -> None:
    for stranger in (closed.known_as(), closed.known_as("batch.acme.example", by=trustme.CA())):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await closed.answer(stranger)
    assert await closed.envoy.statistic("http.gateway.downstream_rq_total") == 0
