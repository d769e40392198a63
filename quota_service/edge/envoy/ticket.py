"""What Check tells the filters behind it of a call that it has let pass. It travels in Envoy's dynamic
metadata, which no caller can write to, and any replica can read it.
"""

from __future__ import annotations

import msgspec
from google.protobuf.struct_pb2 import Struct

from quota_service.domain.errors import FieldProblem, InvalidRequest
from quota_service.domain.subject import Subject
from quota_service.edge import names
from quota_service.edge.dialects.calls import Kind
from quota_service.edge.envoy.api.envoy.config.core.v3.base_pb2 import Metadata

NAMESPACE = "envoy.filters.http.ext_authz"
_TICKET = "ticket"


class Ticket(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`provider`, `model`: what was granted. `input_tokens`, `granted_output_tokens`: what is held, of all
    choices together. `ttl_ms`: how long the hold lives without anybody's doing. `rewrite_model`,
    `rewrite_output_tokens`: what is to be written into the request; "" and -1: it stays as it is.
    """

    organization: str
    reservation: str
    kind: Kind
    provider: str
    model: str
    input_tokens: int
    granted_output_tokens: int
    ttl_ms: int
    rewrite_model: str = ""
    rewrite_output_tokens: int = -1
    team: str = ""
    user: str = ""
    api_key: str = ""
    project: str = ""
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def rewrites(self) -> bool:
        return bool(self.rewrite_model) or self.rewrite_output_tokens >= 0

    @property
    def subject(self) -> Subject:
        return Subject(
            organization=self.organization,
            team=self.team,
            user=self.user,
            api_key=self.api_key,
            project=self.project,
            tags=self.tags,
        )


def metadata_of(ticket: Ticket) -> Struct:
    """With the reservation's name, the provider and the model in the clear, for access logs, say; `rewrite`,
    where something is to be written, for filters that only run then.
    """
    metadata = Struct()
    metadata.update(
        {
            "reservation": names.resource_name(ticket.organization, names.RESERVATIONS, ticket.reservation),
            "provider": ticket.provider,
            "model": ticket.model,
            **({"rewrite": True} if ticket.rewrites else {}),
            _TICKET: msgspec.json.encode(ticket).decode(),
        }
    )
    return metadata


def ticket_of(metadata: Metadata) -> Ticket | None:
    """`None`: Check let it pass without holding anything, denied it, or never heard of it. Raises
    InvalidRequest for one that cannot be read, such as a newer replica's.
    """
    if NAMESPACE not in metadata.filter_metadata:
        return None
    fields = metadata.filter_metadata[NAMESPACE].fields
    if _TICKET not in fields:
        return None
    try:
        return _decoder.decode(fields[_TICKET].string_value)
    except msgspec.DecodeError:
        raise InvalidRequest(FieldProblem("", "the ticket of this call cannot be read")) from None


_decoder = msgspec.json.Decoder(Ticket)
