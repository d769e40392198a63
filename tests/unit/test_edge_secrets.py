"""Secrets are recognized in the bytes of a request, and what is none is left alone."""

from __future__ import annotations

import time

import jwt
import pytest

from quota.v1 import types_pb2
from quota_service.cli.token import new_token
from quota_service.edge.secrets import has_secret
from tests.support.service import authorize_request

HEX = "0123456789abcdef" * 4


def sent(text: str) -> bytes:
    """A request with that text for a tag."""
    subject = types_pb2.Subject(organization="acme", user="ada", tags={"key": text})
    return authorize_request("k", subject=subject).SerializeToString()


SECRETS = {
    "of an API key": "qk_" + "aZ9" * 14 + "b",
    "JSON Web Token": jwt.encode({"sub": "ada"}, "k" * 32),
    "32 digits": f"sk-{HEX[:32]}",
    "48 letters and digits": f"sk-{'aZ9' * 16}",
    "with a word": f"sk-proj-{HEX}",
    "with two": f"sk-or-v1-{HEX}",
    "with other characters": f"sk-ant-api03-{'aZ-_' * 24}",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_recognized_alone_and_inside_of_a_text(kind: str) -> None:
    secret = SECRETS[kind]
    for text in (secret, f"Bearer {secret}", f"key={secret};", f"{secret}\n"):
        assert has_secret(sent(text)), text


def test_a_service_token_is_recognized_as_it_is_made() -> None:
    for _ in range(100):  # they are random
        assert has_secret(sent(new_token()[0]))


def test_a_provider_s_key_is_recognized_whatever_its_length() -> None:
    """The byte before it says how long it is, and may be a letter. A vowel is taken for the end of a word."""
    unknown = [length for length in range(43, 200) if not has_secret(sent(f"sk-{'a1' * 100}"[:length]))]
    assert unknown == [ord(vowel) for vowel in "aeiou"]


@pytest.mark.parametrize(
    "text",
    [
        "qk_" + "a" * 42,
        "qt_short",
        "eyJhbGciOiJIUzI1NiJ9.payload.signature",
        "acme.eyJ",
        "sk-learn-experiments-of-the-spring",
        "sk-01930000-0000-7000-8000-000000000001",
        f"task-{HEX}",
        f"ask-{HEX}",
        f"desk-{HEX}",
        f"the-gdansk-{HEX}",
        "risk-assessment-and-compliance-of-everything-in-europe",
        HEX,
    ],
)
def test_what_is_no_secret_may_be_sent(text: str) -> None:
    assert not has_secret(sent(text))


@pytest.mark.parametrize(
    "part", ["qt_", ".eyJ", ".eyJa.", ".eyJ.", "sk-", "sk-a_", "-", f"qt_{'a' * 42}.", ".eyJa.b."]
)
def test_the_largest_request_is_searched_in_no_time_whatever_it_holds(part: str) -> None:
    raw = (part * (4 * 1024 * 1024 // len(part))).encode()
    begun_s = time.process_time()
    has_secret(raw)
    assert time.process_time() - begun_s < 1
