"""The port by TLS: certificates both ways, read again without a restart, and no plaintext beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from quota.client import Credentials
from quota.v1 import directory_pb2 as pb
from quota_service.config import Settings, SettingsError
from quota_service.edge.transport import TlsFault
from tests.support.callers import calling, written
from tests.support.refusals import answer, refusal
from tests.support.service import Client, running_service

SAN = "gateway.acme.internal"
LIST = pb.ListOrganizationsRequest()


class Secured(NamedTuple):
    """A server that wants certificates, the authority of all of them, and its files."""

    address: str
    authority: trustme.CA
    files: Path


def put(files: Path, name: str, issued: trustme.LeafCert) -> tuple[str, str]:
    certificate, key = files / f"{name}.pem", files / f"{name}.key"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(key))
    return str(certificate), str(key)


def credentials(authority: trustme.CA, own: trustme.LeafCert | None, token: str = "") -> Credentials:
    return Credentials(
        token=token,
        tls=True,
        ca=authority.cert_pem.bytes(),
        certificate=own.cert_chain_pems[0].bytes() if own else None,
        key=own.private_key_pem.bytes() if own else None,
    )


@pytest.fixture
async def secured(
    valkey_url: str, postgres_url: str, key_prefix: str, tmp_path: Path
) -> AsyncIterator[Secured]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate, key = put(tmp_path, "server", authority.issue_cert("127.0.0.1"))
    callers = written(
        tmp_path / "callers.yaml",
        {"ops": ("admin", "*")},
        gateway=f'{{role: viewer, organization: acme, san: "{SAN}"}}',
    )
    settings: dict[str, Any] = {
        "callers": str(callers),
        "tls_cert": certificate,
        "tls_key": key,
        "tls_client_ca": str(tmp_path / "ca.pem"),
    }
    async with running_service(valkey_url, postgres_url, key_prefix, **settings) as client:
        yield Secured(client.address, authority, tmp_path)


async def lists(address: str, given: Credentials) -> list[str]:
    async with given.channel(address) as channel:
        found = await Client(channel, address).directory.ListOrganizations(LIST, timeout=5)
        return [each.name for each in found.organizations]


async def unreachable(address: str, given: Credentials) -> None:
    async with given.channel(address) as channel:
        error = await refusal(Client(channel, address).directory.ListOrganizations(LIST, timeout=5))
        assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_says_who_calls_by_its_alternative_name(secured: Secured) -> None:
    own = secured.authority.issue_cert("127.0.0.1", SAN)
    assert await lists(secured.address, credentials(secured.authority, own)) == []
    async with credentials(secured.authority, own).channel(secured.address) as channel:
        create = pb.CreateTeamRequest(parent="organizations/acme", team_id="t", team=pb.Team())
        error = await refusal(Client(channel, secured.address).directory.CreateTeam(create))
        assert answer(error) == ("PERMISSION_DENIED", "METHOD_NOT_ALLOWED")


async def test_a_uri_is_a_name_too(secured: Secured) -> None:
    uri = "spiffe://acme/gateway"
    with (secured.files / "callers.yaml").open("a") as file:
        file.write(f'  mesh: {{role: viewer, organization: acme, san: "{uri}"}}\n')
    await asyncio.sleep(1.2)
    own = with_uri(secured.authority, uri)
    assert await lists(secured.address, own) == []


def with_uri(authority: trustme.CA, uri: str) -> Credentials:
    """A certificate for a URI, which the authority does not issue by itself."""
    signing = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True)
        .sign(signing, hashes.SHA256())  # type: ignore[arg-type]
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Credentials(
        tls=True, ca=authority.cert_pem.bytes(), certificate=certificate.public_bytes(pem), key=private
    )


async def test_a_certificate_that_is_no_caller_s_needs_a_token_and_one_that_is_takes_none(
    secured: Secured,
) -> None:
    stranger = secured.authority.issue_cert("127.0.0.1", "other.acme.internal")
    async with credentials(secured.authority, stranger).channel(secured.address) as channel:
        error = await refusal(Client(channel, secured.address).directory.ListOrganizations(LIST))
        assert answer(error) == ("UNAUTHENTICATED", "CREDENTIALS_MISSING")
    assert await lists(secured.address, credentials(secured.authority, stranger, "ops-token")) == []
    both = secured.authority.issue_cert("127.0.0.1", SAN)
    async with credentials(secured.authority, both, "ops-token").channel(secured.address) as channel:
        error = await refusal(Client(channel, secured.address).directory.ListOrganizations(LIST))
        assert answer(error) == ("UNAUTHENTICATED", "CREDENTIALS_INVALID")


async def test_without_a_certificate_of_the_right_authority_nobody_gets_in(secured: Secured) -> None:
    other = trustme.CA()
    theirs = other.issue_cert("127.0.0.1", SAN)
    await unreachable(secured.address, credentials(secured.authority, theirs))
    await unreachable(secured.address, credentials(secured.authority, None, "ops-token"))
    await unreachable(secured.address, credentials(other, secured.authority.issue_cert("127.0.0.1", SAN)))
    async with calling(secured.address, "ops-token") as plaintext:
        error = await refusal(plaintext.directory.ListOrganizations(LIST, timeout=5))
        assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_new_certificate_is_shown_without_a_restart_and_a_broken_one_is_not(secured: Secured) -> None:
    own = secured.authority.issue_cert("127.0.0.1", SAN)
    (secured.files / "server.pem").write_text("nothing")
    await lists(secured.address, credentials(secured.authority, own))
    newer = trustme.CA()
    put(secured.files, "server", newer.issue_cert("127.0.0.1"))
    await asyncio.sleep(0.05)
    trusting = Credentials(
        tls=True,
        ca=newer.cert_pem.bytes(),
        certificate=own.cert_chain_pems[0].bytes(),
        key=own.private_key_pem.bytes(),
    )
    assert await lists(secured.address, trusting) == []
    await unreachable(secured.address, credentials(secured.authority, own))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "QUOTA_CALLERS (the file of who may call) and QUOTA_TLS_CERT and QUOTA_TLS_KEY"),
        ({"callers": "c.yaml"}, "set QUOTA_TLS_CERT and QUOTA_TLS_KEY."),
        ({"tls_cert": "c", "tls_key": "k"}, "set QUOTA_CALLERS (the file of who may call)."),
        ({"tls_cert": "c"}, "QUOTA_TLS_KEY is not set"),
        ({"tls_key": "k"}, "QUOTA_TLS_CERT is not set"),
        ({"tls_client_ca": "ca"}, "QUOTA_TLS_CLIENT_CA needs QUOTA_TLS_CERT and QUOTA_TLS_KEY"),
    ],
)
def test_what_others_can_reach_must_ask_who_calls_and_speak_tls(given: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings(dev=True, address="0.0.0.0:50051", **given)  # type: ignore[arg-type]
    assert told in str(raised.value)
    for name in ("127.evil.example:50051", "quota.internal:50051", "[::]:50051"):
        with pytest.raises(SettingsError):
            Settings(dev=True, address=name, **given)  # type: ignore[arg-type]
    for own in ("127.0.0.2:50051", "[::1]:50051", "localhost:50051", "unix:/run/quota.sock"):
        assert Settings(dev=True, address=own).address == own
    whole = {"callers": "c.yaml", "tls_cert": "c", "tls_key": "k"}
    assert Settings(dev=True, address="0.0.0.0:50051", **whole).tls_cert == "c"  # type: ignore[arg-type]


@pytest.mark.parametrize("broken", ["missing", "empty", "swapped"])
async def test_a_file_that_cannot_be_used_is_named_at_the_start(
    valkey_url: str, postgres_url: str, key_prefix: str, tmp_path: Path, broken: str
) -> None:
    certificate, key = put(tmp_path, "server", trustme.CA().issue_cert("127.0.0.1"))
    if broken == "swapped":
        certificate, key = key, certificate
    elif broken == "missing":
        Path(key).unlink()
    else:
        Path(key).write_text("")
    with pytest.raises(TlsFault, match="server"):
        async with running_service(valkey_url, postgres_url, key_prefix, tls_cert=certificate, tls_key=key):
            pass
