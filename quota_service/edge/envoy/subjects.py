"""Who spends: what Envoy's calls say of it, in the order of trust that is configured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from google.protobuf.struct_pb2 import Struct

from quota.v1.types_pb2 import Subject
from quota_service.application.resolving import KeyResolution
from quota_service.domain.api_key import SECRET_PREFIX
from quota_service.domain.errors import CredentialsInvalid, CredentialsMissing
from quota_service.edge.envoy.http_call import HttpCall
from quota_service.edge.envoy.settings import PARTS, Gateway, Jwt, Source, Who

AUTHORIZATION = "authorization"
KEY_HEADERS = (AUTHORIZATION, "x-api-key", "x-goog-api-key")
"""Where the providers' SDKs put a key."""

_SCHEME = "bearer "
_JWT_AUTHN = "envoy.filters.http.jwt_authn"


class Subjects:
    """Asks one source after the other."""

    def __init__(self, gateway: Gateway, resolution: KeyResolution) -> None:
        self._gateway = gateway
        self._resolution = resolution

    async def of(self, call: HttpCall, bound_to: str) -> Subject:
        """`bound_to`: the only organization that Envoy may ask for; "": every one. Raises CredentialsMissing,
        CredentialsInvalid, ApiKeyUnknown, ApiKeyRevoked, StoreUnavailable.
        """
        own = call.extensions.get("organization", "") or bound_to
        subject = await self._said(call, own)
        subject.organization = subject.organization or own or self._gateway.organization
        subject.project = subject.project or call.extensions.get("project", "")
        if any(only and subject.organization != only for only in (own, bound_to)):
            raise CredentialsInvalid("The credential is not known.")
        for tag, header in self._gateway.tags.items():
            if value := call.header(header):
                subject.tags[tag] = value
        return subject

    async def _said(self, call: HttpCall, own: str) -> Subject:
        for source in self._gateway.subjects:
            if not isinstance(source, Source):
                if secret := shown_secret(call):
                    resolved = await self._resolution.resolve(secret, own)
                    return Subject(organization=resolved.subject.organization, api_key=resolved.key.id)
            elif said := _subject(source, call):
                return said
        raise CredentialsMissing("The call says nothing of who makes it: send the secret of an API key.")


def shown_secret(call: HttpCall) -> str:
    """The secret of an API key that the call shows; "" where it shows none. Raises CredentialsInvalid where
    it is not clear which: the upstream might go by another than this service.
    """
    secrets = set()
    for name in KEY_HEADERS:
        shown = [_bare(value) for value in _values(call.headers.get(name, ()))]
        if len(shown) > 1:
            raise CredentialsInvalid(f"The call has several “{name}” headers. Send one.")
        secrets |= {each for each in shown if each.startswith(SECRET_PREFIX)}
    if len(secrets) > 1:
        raise CredentialsInvalid("The call shows several API keys. Send one.")
    return next(iter(secrets), "")


def secret_headers(call: HttpCall) -> tuple[str, ...]:
    """The headers that show a secret of this service's."""
    return tuple(
        name for name in KEY_HEADERS if any(_has_secret(value) for value in call.headers.get(name, ()))
    )


def _has_secret(value: str) -> bool:
    return any(_bare(each).startswith(SECRET_PREFIX) for each in _values((value,)))


def _values(sent: tuple[str, ...]) -> Iterator[str]:
    """Envoy may have joined headers of one name; no credential has a comma."""
    for value in sent:
        yield from value.split(",")


def _bare(value: str) -> str:
    """A credential without its scheme."""
    value = value.strip()
    return value[len(_SCHEME) :].strip() if value[: len(_SCHEME)].lower() == _SCHEME else value


def _subject(source: Source, call: HttpCall) -> Subject | None:
    """What a source says; `None`: nothing."""
    if source.jwt is not None:
        claims = call.metadata.get(_JWT_AUTHN)
        return _made({} if claims is None else _claimed(source.jwt, claims))
    if source.certificates is not None:
        who = source.certificates.get(call.principal) if call.principal else None
        return _made({} if who is None else _parts(who))
    said = {} if source.headers is None else _parts(source.headers)
    return _made({part: call.header(header) for part, header in said.items()})


def _made(parts: Mapping[str, str]) -> Subject | None:
    said = {part: value for part, value in parts.items() if value}
    return Subject(**said) if said else None  # type: ignore[arg-type]  # names of its fields


def _parts(who: Who | Jwt) -> dict[str, str]:
    return {part: value for part in PARTS if (value := getattr(who, part))}


def _claimed(jwt: Jwt, found: Struct) -> dict[str, str]:
    """Raises CredentialsInvalid where a claim is there, but no text: somebody else than whoever it is for
    would pay.
    """
    if jwt.metadata not in found.fields:
        return {}
    claims, said = found.fields[jwt.metadata].struct_value.fields, {}
    for part, claim in _parts(jwt).items():
        if claim not in claims:
            continue
        if claims[claim].WhichOneof("kind") != "string_value":
            raise CredentialsInvalid(f"The token's claim “{claim}” is no text.")
        said[part] = claims[claim].string_value
    return said
