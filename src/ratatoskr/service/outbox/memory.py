"""MemoryOutboxStore: posts in a dictionary."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ratatoskr.service.outbox.states import UNSETTLED, Posting
from ratatoskr.service.outbox.store import Head, Parcel, Settlement


@dataclass(slots=True)
class _Held:
    parcel: Parcel
    deliveries: int = 0

    @property
    def size(self) -> int:
        settlement = self.parcel.settlement
        return self.parcel.size + (sum(map(len, settlement)) if settlement else 0)


class MemoryOutboxStore:
    """Posts that end with the process: for tests, and where nothing is lost by that."""

    def __init__(self) -> None:
        self._held: dict[int, _Held] = {}
        self._posts = 0
        self._outcomes = 0
        self._sender: bytes | None = None
        self._owner: bytes | None = None

    async def add(self, parcel: Parcel, *, max_entries: int, max_bytes: int) -> Parcel:
        """Store it. Raises OutboxFull."""
        for held in self._held.values():
            if held.parcel.nonce == parcel.nonce:
                return held.parcel
        size = sum(held.size for held in self._held.values())
        parcel.check_room(len(self._held), size, max_entries=max_entries, max_bytes=max_bytes)
        self._posts += 1
        parcel = replace(parcel, id=self._posts)
        self._held[parcel.id] = _Held(parcel)
        return parcel

    async def get(self, id: int) -> Parcel | None:
        """The post."""
        held = self._held.get(id)
        return held.parcel if held else None

    async def unsettled(self) -> list[Parcel]:
        """All without an outcome."""
        return [held.parcel for held in self._held.values() if held.parcel.state in UNSETTLED]

    async def heads(self) -> list[Head]:
        """The first of each lane."""
        first: dict[str, int] = {}
        for parcel in await self.unsettled():
            first.setdefault(parcel.lane, parcel.id)
        return [Head(id, lane) for lane, id in first.items()]

    async def overdue(self, now: float, issued_until: float) -> list[Parcel]:
        """Those whose time is over."""
        return [
            parcel
            for parcel in await self.unsettled()
            if parcel.issued_at <= issued_until or (parcel.expires_at is not None and parcel.expires_at <= now)
        ]

    async def move(self, id: int, before: Posting, after: Posting, settlement: Settlement | None = None) -> bool:
        """Change the state."""
        held = self._held.get(id)
        if held is None or held.parcel.state is not before:
            return False
        if settlement is not None:
            self._outcomes += 1
        settled = self._outcomes if settlement else 0
        held.parcel = replace(held.parcel, state=after, settlement=settlement, settled=settled)
        return True

    async def settled(self, after: int, limit: int) -> list[Parcel]:
        """Outcomes behind that place."""
        behind = [held.parcel for held in self._held.values() if held.parcel.settled > after]
        return sorted(behind, key=lambda parcel: parcel.settled)[:limit]

    async def deliver(self, id: int) -> int:
        """Count a delivery."""
        held = self._held.get(id)
        if held is None:
            return 0
        held.deliveries += 1
        return held.deliveries

    async def forget(self, id: int) -> bool:
        """Forget a post that has its outcome."""
        held = self._held.get(id)
        if held is None or held.parcel.state is not Posting.SETTLED:
            return False
        del self._held[id]
        return True

    async def lock(self, sender: bytes) -> bool:
        """Become the one that sends."""
        if self._sender is not None:
            return False
        self._sender = sender
        return True

    async def unlock(self, sender: bytes) -> None:
        """Let others send."""
        if self._sender == sender:
            self._sender = None

    async def bind(self, owner: bytes) -> bytes:
        """Make it somebody's."""
        if self._owner is None or not await self.unsettled():
            self._owner = owner
        return self._owner
