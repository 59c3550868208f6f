"""What a run leaves behind, as data: who asked for what, what was told, what the ledgers hold, who was killed when.

Times are nanoseconds of the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property


class How(StrEnum):
    """How an invocation ended, as the library said it."""

    ANSWERED = "answered"
    FAILED = "failed"
    """Processed, and the answer is a failure: too little money."""
    REFUSED = "refused"
    """Surely not processed."""
    UNKNOWN = "unknown"


LOST = "OUTCOME_UNKNOWN"
"""The reason of an unknown outcome that stays unknown. With every other one the client asks again."""


@dataclass(frozen=True, slots=True)
class Payment:
    """One line of the work list: the ``place``-th payment of its debtor, counted from 0."""

    key: str
    debtor: str
    creditor: str
    amount: int
    place: int


@dataclass(frozen=True, slots=True)
class Told:
    """The end of an invocation.

    ``outcome``: the bytes of what the server stored, for answers and failures. ``life`` and ``number``: which ledger's
    which row the answer names; a failure names a ledger.
    """

    at: int
    how: How
    reason: str = ""
    outcome: bytes = b""
    life: str = ""
    number: int = 0
    replayed: bool = False

    @property
    def final(self) -> bool:
        """Whether the client is done with the payment."""
        return self.how in (How.ANSWERED, How.FAILED) or (self.how is How.UNKNOWN and self.reason == LOST)


@dataclass(frozen=True, slots=True)
class Invocation:
    """A client asked for a payment. ``told`` is None where it was killed before it could write down what came of it."""

    payment: Payment
    client: str
    life: int
    began: int
    told: Told | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A transfer that was made; rows of a ledger are numbered in the order in which they were made."""

    number: int
    key: str
    debtor: str
    creditor: str
    amount: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the server holds. In a file it outlives the server's processes; in memory each process has its own.

    ``atomic``: a transfer and its outcome are one transaction. ``recovers``: what became of an execution whose process
    died is found out.
    """

    life: str
    rows: tuple[Row, ...]
    balances: Mapping[str, int]
    atomic: bool = False
    recovers: bool = False


@dataclass(frozen=True, slots=True)
class Death:
    """A process was killed: at a point of its own choice, on the way of the payment ``key``, or at any moment."""

    who: str
    life: int
    point: str
    at: int
    key: str | None = None


@dataclass(frozen=True)
class Run:
    """All of it. ``ledgers`` in the order of their births, ``counted`` the kills that the run is proud of."""

    opening: Mapping[str, int]
    ledgers: tuple[Ledger, ...]
    invocations: tuple[Invocation, ...]
    deaths: tuple[Death, ...] = ()
    counted: tuple[Death, ...] = field(default=())

    @cached_property
    def by_key(self) -> dict[str, list[Invocation]]:
        """The invocations of each payment, in their order."""
        found: dict[str, list[Invocation]] = {}
        for each in sorted(self.invocations, key=lambda each: each.began):
            found.setdefault(each.payment.key, []).append(each)
        return found

    @cached_property
    def rows(self) -> dict[tuple[str, str], list[Row]]:
        """The rows of each payment in each ledger, by (life, key)."""
        found: dict[tuple[str, str], list[Row]] = {}
        for ledger in self.ledgers:
            for row in ledger.rows:
                found.setdefault((ledger.life, row.key), []).append(row)
        return found

    @cached_property
    def told(self) -> dict[tuple[str, str], list[Told]]:
        """The answers and failures of each payment by each ledger, by (life, key)."""
        found: dict[tuple[str, str], list[Told]] = {}
        for key, invocations in self.by_key.items():
            for each in invocations:
                if each.told is not None and each.told.how in (How.ANSWERED, How.FAILED):
                    found.setdefault((each.told.life, key), []).append(each.told)
        return found

    def ended_by(self, key: str) -> str | None:
        """Which ledger told the first end of the payment; "" where none knew it, None where it has no end."""
        ends = (each.told for each in self.by_key.get(key, ()) if each.told and each.told.final)
        return next((each.life for each in ends), None)

    def in_flight(self, death: Death) -> bool:
        """Whether a payment was on its way at that moment: asked for, and its end not yet written down.

        One that was asked for by a client that is dead by then is on its way only where the server was at it.
        """
        if death.key is not None:
            return self._pending(death.key, death.at)
        ends = {(each.who, each.life): each.at for each in self.deaths}
        for each in self.invocations:
            who = (each.client, each.life)
            alive = death.who == each.client or ends.get(who, death.at) >= death.at
            mine = death.who == "server" or who == (death.who, death.life)
            if alive and mine and each.began < death.at and (each.told is None or each.told.at > death.at):
                return True
        return False

    def _pending(self, key: str, at: int) -> bool:
        """Whether the payment was asked for, and no client had written down its end."""
        asked = [each for each in self.by_key.get(key, ()) if each.began < at]
        return bool(asked) and not any(each.told and each.told.final and each.told.at <= at for each in asked)
