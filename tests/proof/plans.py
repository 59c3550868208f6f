"""How many kills of which kind a campaign makes."""

from __future__ import annotations

from collections import Counter

from tests.proof.bank import FORMS
from tests.proof.campaign import CLIENT, KINDS, Setting
from tests.proof.fate import RANDOM
from tests.proof.scene import SERVER

BANKS = (*(("sqlite", form) for form in FORMS), ("memory", "plain"))
"""Where the outcomes lie, and how the handlers are written; in memory there are no transactions, and no recovery."""


def evenly(store: str, form: str, kills: int, first: int = 0) -> Setting:
    """So many, of each kind as often as of any other, or once more, from the kind with the number ``first`` on."""
    counts = Counter(KINDS[(first + place) % len(KINDS)] for place in range(kills))
    return Setting(store, form, counts)


def each(store: str, form: str, *, server: int, client: int, random: int) -> Setting:
    """So many at each point of either side, and so many at any moment."""
    points = {SERVER: server, CLIENT: client}
    return Setting(store, form, {(who, point): random if point == RANDOM else points[who] for who, point in KINDS})
