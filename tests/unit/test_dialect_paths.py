"""Which calls are metered is told by their path, whichever way it is written."""

from __future__ import annotations

import time

import pytest

from quota_service.edge.dialects.calls import Endpoint, Kind
from quota_service.edge.dialects.paths import endpoint_of, path_with_model

METERED = {
    "/v1/chat/completions": Endpoint(Kind.CHAT),
    "/gateway/v1/chat/completions?trace=1": Endpoint(Kind.CHAT),
    "/openai/v1/chat/completions/": Endpoint(Kind.CHAT),
    "/v1beta/openai/chat/completions": Endpoint(Kind.CHAT),
    "/v1/projects/p/locations/l/endpoints/openapi/chat/completions": Endpoint(Kind.CHAT),
    "/v1/completions": Endpoint(Kind.COMPLETIONS),
    "/v1/responses": Endpoint(Kind.RESPONSES),
    "/v1/embeddings": Endpoint(Kind.EMBEDDINGS),
    "/openai/deployments/our-gpt/chat/completions?api-version=2025": Endpoint(Kind.CHAT, "our-gpt"),
    "/openai/deployments/our%20gpt/embeddings": Endpoint(Kind.EMBEDDINGS, "our gpt"),
    "/v1/messages": Endpoint(Kind.MESSAGES),
    "/anthropic/v1/messages": Endpoint(Kind.MESSAGES),
    "/v1beta/models/gemini-3-pro:generateContent": Endpoint(Kind.GENERATE, "gemini-3-pro"),
    "/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse": Endpoint(Kind.GENERATE, "gemini-3-pro"),
    "/v1beta/models/gemini-embedding-001:embedContent": Endpoint(Kind.EMBED, "gemini-embedding-001"),
    "/v1beta/models/gemini-embedding-001:batchEmbedContents": Endpoint(Kind.EMBED, "gemini-embedding-001"),
    "/v1beta/tunedModels/ours:generateContent": Endpoint(Kind.GENERATE, "tunedModels/ours"),
    "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:generateContent": Endpoint(
        Kind.GENERATE, "gemini-2.5-pro"
    ),
    "/v1/projects/p/locations/l/endpoints/42:generateContent": Endpoint(Kind.GENERATE, "endpoints/42"),
}

LEFT_ALONE = [
    "/",
    "",
    "/healthz",
    "/v1/models",
    "/v1/models/gpt-4o",
    "/V1/chat/completions",
    "/v1/Chat/Completions",
    "/v1/chat/completions/cc_1",
    "/v1/chat/completionsx",
    "/xv1/chat/completions",
    "/chat/completions",
    "/v1/messages/count_tokens",
    "/v1/messages/batches",
    "/v1/responses/resp_1/cancel",
    "/v1/audio/speech",
    "/v1beta/models",
    "/v1beta/models/gemini-3-pro:countTokens",
    "/v1beta/models/gemini-3-pro:generatecontent",
    "/v1beta/models/:generateContent",
    "/openai/deployments/a/b/chat/completions",
    "/v1/chat%252Fcompletions",
]


@pytest.mark.parametrize("path", METERED)
def test_a_model_s_call_is_metered(path: str) -> None:
    assert endpoint_of("POST", path) == METERED[path]


@pytest.mark.parametrize("path", LEFT_ALONE)
def test_every_other_call_is_left_alone(path: str) -> None:
    assert endpoint_of("POST", path) is None


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "post", ""])
def test_only_posts_are_metered(method: str) -> None:
    assert endpoint_of(method, "/v1/chat/completions") is None


@pytest.mark.parametrize(
    "path",
    [
        "//v1/chat/completions",
        "/v1//chat///completions",
        "/v1/./chat/completions/.",
        "/v1/models/../chat/completions",
        "/v1/chat%2Fcompletions",
        "/v1/chat%2fcompletions",
        "/v1/%63hat/%63ompletions",
        "/v1/chat/%2e%2e/chat/completions",
        "/v1/chat/completions//?x=%zz",
        "/v1/chat/completions#fragment",
    ],
)
def test_no_way_of_writing_a_path_hides_it(path: str) -> None:
    assert endpoint_of("POST", path) == Endpoint(Kind.CHAT)


def test_a_path_of_tens_of_kilobytes_takes_no_time() -> None:
    started = time.process_time()
    for part in ("models/", "/openai/deployments/", "../", "%2e/", ":generateContent"):
        endpoint_of("POST", "/" + part * 8_000)
        endpoint_of("POST", "/" + part * 8_000 + ":generateContent")
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("/v1beta/models/a:generateContent", "/v1beta/models/b-2.0:generateContent"),
        (
            "/x/v1beta/models/a:streamGenerateContent?alt=sse&k=1",
            "/x/v1beta/models/b-2.0:streamGenerateContent?alt=sse&k=1",
        ),
        ("/v1beta/models%2Fa:embedContent", "/v1beta/models/b-2.0:embedContent"),
        ("/v1beta/tunedModels/a:generateContent", "/v1beta/models/b-2.0:generateContent"),
        (
            "/v1/projects/p/locations/l/publishers/google/models/a:generateContent",
            "/v1/projects/p/locations/l/publishers/google/models/b-2.0:generateContent",
        ),
        (
            "/v1/projects/p/locations/l/endpoints/4:generateContent",
            "/v1/projects/p/locations/l/publishers/google/models/b-2.0:generateContent",
        ),
        ("/openai/deployments/a/chat/completions?v=1", "/openai/deployments/b-2.0/chat/completions?v=1"),
    ],
)
def test_a_path_gets_another_model_and_is_the_same_otherwise(path: str, changed: str) -> None:
    assert path_with_model(path, "b-2.0") == changed


def test_a_model_in_a_path_is_read_as_it_was_written() -> None:
    path = path_with_model("/v1beta/models/a:generateContent", "tunedModels/our model?")
    assert path == "/v1beta/tunedModels/our%20model%3F:generateContent"
    assert endpoint_of("POST", path) == Endpoint(Kind.GENERATE, "tunedModels/our model?")


def test_a_path_without_a_model_gets_none() -> None:
    with pytest.raises(ValueError, match="names no model"):
        path_with_model("/v1/chat/completions", "gpt-4o-mini")
