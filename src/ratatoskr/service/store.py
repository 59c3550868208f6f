"""What an at-most-once store must do. It decides nothing: :mod:`ratatoskr.service.once` does.

Outcomes are opaque bytes to it. Times are seconds since the epoch and are handed in; a store reads no clock for them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from ratatoskr.errors import RatatoskrError

T = TypeVar("T")


class StoreFull(RatatoskrError):
    """The store holds as much as it may. Nothing was stored."""


class SubjectFull(StoreFull):
    """The store holds as much for this subject as it may. Nothing was stored."""


class OnceKey(NamedTuple):
    """Under what an operation is known: never another subject's."""

    tenant: str
    subject: str
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to execute one operation, and for how long nobody may doubt it.

    ``owner`` names one execution in one process, so that whoever took the key over is never taken for its predecessor.
    ``atomic``: the handler has sworn that without a stored outcome there was no effect.
    """

    key: OnceKey
    digest: bytes
    owner: bytes
    lease_until: float
    keep_until: float
    atomic: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """What a store holds under a key. ``outcome`` is None while the operation runs, or since its owner died."""

    digest: bytes
    owner: bytes
    lease_until: float
    outcome: bytes | None = None
    atomic: bool = False


class Transaction(Protocol):
    """What a handler gets from ``call.begin()``."""

    async def run(self, function: Callable[[Any], T], /) -> T:
        """Run ``function`` with the store's handle, inside the transaction. It must not commit or roll back.

        Its exceptions come out. What the handle is says the store: for SQLite a ``sqlite3.Connection``.
        """
        ...


class StoreTransaction(Transaction, Protocol):
    """A transaction, as the service drives it: ``start``, then ``commit`` or ``abandon``."""

    async def start(self) -> None:
        """Take the locks."""
        ...

    async def commit(self, outcome: bytes, *, keep_until: float, now: float) -> bool:
        """Commit the effect together with the outcome, if at ``now`` the claim is still owned and its lease runs.

        Otherwise roll both back and return False.
        """
        ...

    def abandon(self) -> None:
        """Roll back, now or as soon as it can be. Called instead of commit, also on the way out of a cancellation."""
        ...


class OnceStore(Protocol):
    """Claims and outcomes. Any exception that a method raises means that nobody knows whether it had its effect."""

    transactional: bool
    """Whether :meth:`begin` gives transactions."""

    async def claim(self, claim: Claim, *, per_subject: int | None = None) -> Entry | None:
        """Take the key unless it is taken: None, and the claim is durable. Otherwise what is there.

        What is there stays as it is, but is kept until the claim's ``keep_until`` at least. Raises SubjectFull where
        the key is free and so many entries are held for its tenant and subject, StoreFull where the store has no room.
        """
        ...

    async def take_over(self, claim: Claim, seen: Entry) -> bool:
        """Put the claim, durably, in the place of a claim without an outcome, if it is still exactly as seen.

        False, with no effect, where anything about it has changed. Who was the owner before is none any more.
        """
        ...

    async def complete(self, claim: Claim, outcome: bytes, *, keep_until: float) -> bool:
        """Store the outcome, durably. False, with no effect, where the key is no longer held by the claim's owner."""
        ...

    async def release(self, claim: Claim) -> bool:
        """Forget the claim: surely nothing was done. False, with no effect, where it is no longer its owner's."""
        ...

    async def renew(self, claims: Collection[Claim], lease_until: float) -> None:
        """Set the leases of those of these claims that are still their owner's, and have no outcome."""
        ...

    async def purge(self, now: float, limit: int) -> int:
        """Forget entries whose ``keep_until`` has passed and that nobody's lease holds, at most ``limit``. How many."""
        ...

    def begin(self, claim: Claim) -> StoreTransaction:
        """A transaction for the claim's effect and outcome, not yet started.

        Raises LocalProtocolError where the store has none.
        """
        ...
