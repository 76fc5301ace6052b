"""All families of awkward but right layers: those of the beginning, and those that were written later."""

from __future__ import annotations

from families import FAMILIES as EARLY
from families_after import FAMILIES as AFTER
from families_blind import FAMILIES as BLIND
from families_last import FAMILIES as LAST

LATE = (*AFTER, *BLIND, *LAST)
FAMILIES = (*EARLY, *LATE)
