"""Which calls are metered: what a path of a model provider's API asks for."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from quota_service.edge.dialects.calls import Endpoint, Kind

_OPENAI = re.compile(
    r".*/(?:v1|openai|endpoints/openapi)/(chat/completions|completions|responses|embeddings)",
    re.DOTALL,
)
"""OpenAI's own, whatever is in front, Azure's without a version, and Google's two imitations of it."""

_AZURE = re.compile(r".*/openai/deployments/([^/]+)/(chat/completions|completions|embeddings)", re.DOTALL)

_ANTHROPIC = re.compile(r".*/v1/messages", re.DOTALL)

_GEMINI_KINDS = {
    "generateContent": Kind.GENERATE,
    "streamGenerateContent": Kind.GENERATE,
    "embedContent": Kind.EMBED,
    "batchEmbedContents": Kind.EMBED,
}

_COLLECTIONS = re.compile(r"(?<=/)(?:models/|tunedModels/|endpoints/)")

_VERTEX = re.compile(r".*/locations/[^/]+/", re.DOTALL)
"""Where tuned models live on Vertex: beside its publishers, not below one."""

_OPENAI_KINDS = {
    "chat/completions": Kind.CHAT,
    "completions": Kind.COMPLETIONS,
    "responses": Kind.RESPONSES,
    "embeddings": Kind.EMBEDDINGS,
}


def endpoint_of(method: str, path: str) -> Endpoint | None:
    """What a call to that path asks for; `None`: it is not metered. `path` may have a query, and is read as
    the most generous server would: percent-encoding, doubled slashes, `.` and `..` hide nothing. Case counts.
    """
    return _endpoint(_plain(path)) if method == "POST" else None


def path_with_model(path: str, model: str) -> str:
    """The same call to another model of Gemini's, or to another deployment of Azure's: the query and what
    stands before the model stay. Raises ValueError where the path names no model.
    """
    bare, mark, query = path.partition("?")
    changed = _with_model(bare, model) or _with_model(_plain(bare), model)
    if changed is None:
        raise ValueError("this path names no model")
    return f"{changed}{mark}{query}"


def chooses_fields(path: str) -> bool:
    """Whether the caller of Google's asks for a part of the answer only, which need not have its usage."""
    names = {name.partition("=")[0] for name in unquote(path.partition("?")[2]).split("&")}
    return not names.isdisjoint(("fields", "$fields"))


def _with_model(path: str, model: str) -> str | None:
    if found := _AZURE.fullmatch(path):
        return f"{path[: found.start(1)]}{quote(model, safe='@')}{path[found.end(1) :]}"
    parts = _gemini_parts(path)
    if parts is None:
        return None
    collection = "" if model.startswith(("tunedModels/", "endpoints/")) else "models/"
    if collection and parts.collection == "endpoints/" and _VERTEX.fullmatch(parts.before):
        collection = "publishers/google/models/"
    return f"{parts.before}{collection}{quote(model, safe='/@')}:{parts.action}"


def _endpoint(path: str) -> Endpoint | None:
    if found := _OPENAI.fullmatch(path):
        return Endpoint(_OPENAI_KINDS[found[1]])
    if found := _AZURE.fullmatch(path):
        return Endpoint(_OPENAI_KINDS[found[2]], found[1])
    if _ANTHROPIC.fullmatch(path):
        return Endpoint(Kind.MESSAGES)
    if parts := _gemini_parts(path):
        tuned = "" if parts.collection == "models/" else parts.collection
        return Endpoint(_GEMINI_KINDS[parts.action], tuned + parts.model)
    return None


class _GeminiParts(NamedTuple):
    before: str
    collection: str
    model: str
    action: str


def _gemini_parts(path: str) -> _GeminiParts | None:
    """Split at the last colon and the last collection: no search that begins anew at every slash."""
    resource, _, action = path.rpartition(":")
    found = list(_COLLECTIONS.finditer(resource))
    if action not in _GEMINI_KINDS or not found:
        return None
    model = resource[found[-1].end() :]
    return _GeminiParts(resource[: found[-1].start()], found[-1][0], model, action) if model else None


def _plain(path: str) -> str:
    """Without its query, decoded once, without segments that are nothing, and without a slash at its end."""
    decoded = unquote(path.partition("?")[0].partition("#")[0])
    segments: list[str] = []
    for segment in decoded.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    return "/" + "/".join(segments)
