"""What a mutant leaves out of the simulated Valkey."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Switches:
    """What a mutant leaves out. `adds_on_rebuild`: amounts are added to what is there, not set.
    `keeps_ended`: what has ended is taken for what it was before the keys were made anew.
    """

    fenced: bool = True
    keeps_ended: bool = False
    adds_on_rebuild: bool = False
    forgets_keys: bool = False
