"""Makes secrets of API keys, and recognizes them by digests that need a pepper, which no store has."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from collections.abc import Sequence

from quota_service.domain.api_key import SECRET_PREFIX, START_LENGTH, KeySecret
from quota_service.domain.errors import PepperMissing

SECRET_BYTES = 32
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_LENGTH = 43  # 62 ** 43 > 2 ** 256


class Peppers:
    """The current pepper first: new secrets get it. Those before it still recognize theirs."""

    def __init__(self, peppers: Sequence[str]) -> None:
        self._by_name = {_name(pepper): pepper.encode() for pepper in peppers}

    def new(self, now_ms: int) -> tuple[str, KeySecret]:
        """A secret, and what is to be kept of it. Raises PepperMissing."""
        name = next(iter(self._by_name), None)
        if name is None:
            raise PepperMissing(
                "The service has no pepper for secrets of API keys: set QUOTA_KEY_PEPPER, the same for all"
                " replicas."
            )
        text = SECRET_PREFIX + _written(int.from_bytes(secrets.token_bytes(SECRET_BYTES)))
        digest = _digest(self._by_name[name], text)
        return text, KeySecret(start=text[:START_LENGTH], digest=digest, pepper=name, create_ms=now_ms)

    def recognizes(self, text: str, secret: KeySecret) -> bool:
        """Whether it is that secret. Takes as long for one that differs in one place as in all."""
        pepper = self._by_name.get(secret.pepper)
        return pepper is not None and hmac.compare_digest(_digest(pepper, text), secret.digest)


def _name(pepper: str) -> str:
    """What a pepper is called where secrets are kept: nothing that it could be told from."""
    return _digest(pepper.encode(), "name")[:16]


def _digest(pepper: bytes, text: str) -> str:
    return hmac.new(pepper, text.encode(), hashlib.sha256).hexdigest()


def _written(number: int) -> str:
    digits = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(digits)
