"""Every key in Valkey, and nothing else knows them.

`{organization}` is the hash tag: all of an organization's keys share a slot, so that one script may touch
them in a Cluster. Ids contain no `/` and no braces, so the parts cannot run into each other; what may contain
anything (an idempotency key, an `each` value) comes last.
"""

from __future__ import annotations

import re

from quota_service.domain.ratelimit import RateTerm
from quota_service.domain.reservation import WindowRef
from quota_service.stores.places import name_of

LAYOUT = 2
"""Of what is kept under the keys. Those of another layout are made anew from the ledger."""


class Keys:
    """The keys of one installation. `prefix` keeps several apart in one database."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def common(self, organization: str) -> tuple[str, str, str]:
        """What every script gets first: meta, live holds by expiry, events."""
        base = self._base(organization)
        return f"{base}meta", f"{base}holds", f"{base}events"

    def holds(self, organization: str) -> str:
        return f"{self._base(organization)}holds"

    def events(self, organization: str) -> str:
        return f"{self._base(organization)}events"

    def hold(self, organization: str, reservation: str) -> str:
        return f"{self.holds_start(organization)}{reservation}"

    def holds_start(self, organization: str) -> str:
        """What the keys of all reservations begin with."""
        return f"{self._base(organization)}hold:"

    def idempotency(self, organization: str, idempotency_key: str) -> str:
        return f"{self._base(organization)}key/{idempotency_key}"

    def record(self, organization: str, ledger_key: str) -> str:
        return f"{self._base(organization)}record/{ledger_key}"

    def window(self, organization: str, window: WindowRef) -> str:
        return f"{self.windows_start(organization)}{name_of(window)}"

    def windows_start(self, organization: str) -> str:
        """What the keys of all windows begin with."""
        return f"{self._base(organization)}window/"

    def windows_pattern(self, organization: str) -> str:
        """What SCAN finds the keys of all windows by."""
        return re.sub(r"([*?\[\]\\])", r"\\\1", self.windows_start(organization)) + "*"

    def values(self, organization: str, window: WindowRef) -> str:
        """The set of `each` values that have a counter in a window."""
        return f"{self.values_start(organization)}{window.budget}/{window.start_ms}"

    def values_start(self, organization: str) -> str:
        """What the keys of all those sets begin with."""
        return f"{self._base(organization)}values/"

    def left(self, organization: str) -> str:
        """Holds that were live when the keys were made anew, to be looked at and forgotten."""
        return f"{self._base(organization)}left"

    def gauge(self, organization: str, rate: RateTerm) -> str:
        """Where a rate limit stands for a value. Another meter or rate has another key: its debt has another
        unit.
        """
        return f"{self._base(organization)}rate/{_rule(rate)}/{rate.each_value}"

    def rate_values(self, organization: str, rate: RateTerm) -> str:
        """The values of a rate limit that are in use."""
        return f"{self._base(organization)}rate-values/{_rule(rate)}"

    def _base(self, organization: str) -> str:
        return f"{self._prefix}{{{organization}}}/"


def _rule(rate: RateTerm) -> str:
    return f"{rate.limit}/{rate.meter.name.lower()}/{rate.leak}:{rate.scale}"
