"""MemoryStore: claims and outcomes in a dictionary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

from ratatoskr.errors import LocalProtocolError
from ratatoskr.service.store import Claim, Entry, OnceKey, StoreFull, StoreTransaction, SubjectFull


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

    ``capacity``: entries that are held for all subjects together.
    """

    transactional: bool = False
    """There are none."""

    def __init__(self, *, capacity: int = 500_000) -> None:
        self._capacity = capacity
        self._held: dict[OnceKey, _Held] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    async def claim(self, claim: Claim, *, per_subject: int | None = None) -> Entry | None:
        """Take the key unless it is taken. Raises SubjectFull or StoreFull."""
        held = self._held.get(claim.key)
        if held is not None:
            held.keep_until = max(held.keep_until, claim.keep_until)
            return held.entry
        subject = claim.key[:2]
        if per_subject is not None and self._counts[subject] >= per_subject:
            raise SubjectFull(f"{per_subject} entries are held for {claim.key.subject}")
        if len(self._held) >= self._capacity:
            raise StoreFull(f"{self._capacity} entries are held; raise capacity= or use a store on disk")
        self._held[claim.key] = _Held(_entry(claim), claim.keep_until)
        self._counts[subject] += 1
        return None

    async def take_over(self, claim: Claim, seen: Entry) -> bool:
        """Replace a claim that is still as it was seen."""
        held = self._held.get(claim.key)
        if held is None or held.entry != seen or seen.outcome is not None:
            return False
        held.entry = _entry(claim)
        held.keep_until = max(held.keep_until, claim.keep_until)
        return True

    async def complete(self, claim: Claim, outcome: bytes, *, keep_until: float) -> bool:
        """Keep the outcome, if the claim is still its owner's."""
        held = self._owned(claim.owner, claim.key)
        if held is None:
            return False
        held.entry = replace(held.entry, outcome=outcome)
        held.keep_until = max(held.keep_until, keep_until)
        return True

    async def release(self, claim: Claim) -> bool:
        """Free the key, if the claim is still its owner's."""
        if self._owned(claim.owner, claim.key) is None:
            return False
        self._forget(claim.key)
        return True

    async def renew(self, claims: Collection[Claim], lease_until: float) -> None:
        """Set leases."""
        for claim in claims:
            held = self._owned(claim.owner, claim.key)
            if held is not None:
                held.entry = replace(held.entry, lease_until=lease_until)

    async def purge(self, now: float, limit: int) -> int:
        """Forget what is too old. Looks at every entry."""
        old = [
            key
            for key, held in self._held.items()
            if held.keep_until <= now and (held.entry.outcome is not None or held.entry.lease_until <= now)
        ]
        for key in old[:limit]:
            self._forget(key)
        return min(len(old), limit)

    def begin(self, claim: Claim) -> StoreTransaction:  # noqa: ARG002 - the protocol's signature
        """There are none."""
        raise LocalProtocolError("MemoryStore has no transactions: use ratatoskr_stores.SqliteStore for begin()")

    def _owned(self, owner: bytes, key: OnceKey) -> _Held | None:
        held = self._held.get(key)
        if held is None or held.entry.owner != owner or held.entry.outcome is not None:
            return None
        return held

    def _forget(self, key: OnceKey) -> None:
        del self._held[key]
        self._counts[key[:2]] -= 1
        if not self._counts[key[:2]]:
            del self._counts[key[:2]]

    def __len__(self) -> int:
        return len(self._held)


def _entry(claim: Claim) -> Entry:
    return Entry(claim.digest, claim.owner, claim.lease_until, None, claim.atomic)
