"""MemoryStore: claims and outcomes in a dictionary."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ratatoskr.errors import LocalProtocolError, RatatoskrError
from ratatoskr.service.store import Claim, Entry, OnceKey, StoreTransaction


class StoreFull(RatatoskrError):
    """The store holds as much as it may; the request was not executed."""


@dataclass(slots=True)
class _Held:
    entry: Entry
    keep_until: float


class MemoryStore:
    """At most once for as long as the process lives; the default.

    What survives: nothing but what the process itself survives. Lost lines, reconnecting clients, restarted clients and
    concurrent duplicates are safe. After a restart of this process every key is free again, and a repeated request
    is executed again. Several processes know nothing of each other. There are no transactions, so an effect and its
    outcome are two steps. For tests, and for effects that die with the process.

    ``capacity``: entries that are held; a claim beyond it raises :class:`StoreFull`.
    """

    def __init__(self, *, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._held: dict[OnceKey, _Held] = {}

    async def claim(self, claim: Claim) -> Entry | None:
        """Take the key unless it is taken. Raises StoreFull."""
        held = self._held.get(claim.key)
        if held is not None:
            return held.entry
        if len(self._held) >= self._capacity:
            raise StoreFull(f"{self._capacity} entries are held; raise capacity= or use a store on disk")
        self._held[claim.key] = _Held(Entry(claim.digest, claim.owner, claim.lease_until), claim.keep_until)
        return None

    async def complete(self, claim: Claim, outcome: bytes, *, keep_until: float) -> bool:
        """Keep the outcome, if the claim is still its owner's."""
        held = self._owned(claim.owner, claim.key)
        if held is None:
            return False
        held.entry = Entry(claim.digest, claim.owner, held.entry.lease_until, outcome)
        held.keep_until = keep_until
        return True

    async def release(self, claim: Claim) -> bool:
        """Free the key, if the claim is still its owner's."""
        if self._owned(claim.owner, claim.key) is None:
            return False
        del self._held[claim.key]
        return True

    async def renew(self, owner: bytes, keys: Collection[OnceKey], lease_until: float) -> None:
        """Extend leases."""
        for key in keys:
            held = self._owned(owner, key)
            if held is not None:
                held.entry = Entry(held.entry.digest, owner, lease_until)

    async def purge(self, now: float, limit: int) -> int:
        """Forget what is too old. Looks at every entry."""
        old = [
            key
            for key, held in self._held.items()
            if held.keep_until <= now and (held.entry.outcome is not None or held.entry.lease_until <= now)
        ]
        for key in old[:limit]:
            del self._held[key]
        return min(len(old), limit)

    def begin(self, claim: Claim) -> StoreTransaction:  # noqa: ARG002 - the protocol's signature
        """There are none."""
        raise LocalProtocolError("MemoryStore has no transactions: use ratatoskr_stores.SqliteStore for begin()")

    def _owned(self, owner: bytes, key: OnceKey) -> _Held | None:
        held = self._held.get(key)
        if held is None or held.entry.owner != owner or held.entry.outcome is not None:
            return None
        return held

    def __len__(self) -> int:
        return len(self._held)
