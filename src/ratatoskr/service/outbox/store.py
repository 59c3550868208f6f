"""What a store of posts must do. It decides nothing: :mod:`ratatoskr.service.outbox` does.

Payloads, outcomes and receipts are opaque bytes to it. Times are seconds since the epoch, and are handed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ratatoskr.errors import RatatoskrError
from ratatoskr.service.outbox.states import Posting

PARCEL_OVERHEAD = 256
"""What a parcel is charged beside its content, in bytes."""


class OutboxFull(RatatoskrError):
    """The outbox holds as much as it may. Nothing was stored."""


class OutboxInUse(RatatoskrError):
    """Somebody else sends from this outbox, in this process or in another one."""


class Settlement(NamedTuple):
    """What a post ended with."""

    outcome: bytes
    """As :func:`~ratatoskr.service.outcome.encode_outcome` makes it."""
    receipt: bytes = b""
    """The receipt of an answer; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A post as it is stored. All but the last four never changes."""

    nonce: bytes
    type: int
    operation: int
    key: bytes
    """The business key that the nonce follows from."""
    payload: bytes
    metadata: tuple[tuple[str, str], ...]
    lane: str
    issued_at: float
    expires_at: float | None
    id: int = 0
    """Its place in the order of posts, from 1; never used again."""
    state: Posting = Posting.WAITING
    settlement: Settlement | None = None
    settled: int = 0
    """The place of its outcome in the order of outcomes, from 1; never used again."""

    @property
    def size(self) -> int:
        """Bytes that it is charged before it has an outcome."""
        texts = sum(len(name.encode()) + len(value.encode()) for name, value in self.metadata)
        return PARCEL_OVERHEAD + len(self.payload) + len(self.key) + len(self.lane.encode()) + texts

    def check_room(self, count: int, size: int, *, max_entries: int, max_bytes: int) -> None:
        """Raise OutboxFull where a store that holds ``count`` posts of ``size`` bytes has no room for this one."""
        if count >= max_entries:
            raise OutboxFull(f"{count} posts wait, or their outcomes do; OutboxPolicy.entries is {max_entries}")
        if size + self.size > max_bytes:
            raise OutboxFull(f"{size} bytes wait, and {self.size} more are too many; OutboxPolicy.bytes is {max_bytes}")


class Head(NamedTuple):
    """The oldest post of a lane that has no outcome."""

    id: int
    lane: str


class OutboxStore(Protocol):
    """Posts and their outcomes, for one sender and any number of others.

    What a method has changed is durable when it returns. Any exception that it raises means that nobody knows whether
    it had its effect, except for OutboxFull.
    """

    async def add(self, parcel: Parcel, *, max_entries: int, max_bytes: int) -> Parcel:
        """Store it behind all others, and return it with its id; or what is there under its nonce, untouched.

        Raises OutboxFull where there would be more posts or bytes than that; outcomes count too.
        """
        ...

    async def get(self, id: int) -> Parcel | None:
        """The post; None where it is forgotten."""
        ...

    async def unsettled(self) -> list[Parcel]:
        """All without an outcome, in their order."""
        ...

    async def heads(self) -> list[Head]:
        """The first of each lane that has no outcome, in the order of posts."""
        ...

    async def overdue(self, now: float, issued_until: float) -> list[Parcel]:
        """Those without an outcome that expire at ``now`` or before, or were issued at ``issued_until`` or before."""
        ...

    async def move(self, id: int, before: Posting, after: Posting, settlement: Settlement | None = None) -> bool:
        """Change the state, and store the outcome with SETTLED. False, with no effect, where it is not ``before``."""
        ...

    async def settled(self, after: int, limit: int) -> list[Parcel]:
        """Outcomes behind that place in the order of outcomes, at most ``limit`` of them."""
        ...

    async def deliver(self, id: int) -> int:
        """Count a delivery of the outcome. How many there were, this one included; 0 where it is forgotten."""
        ...

    async def forget(self, id: int) -> bool:
        """Forget a post that has its outcome. False, with no effect, where there is none."""
        ...

    async def lock(self, sender: bytes) -> bool:
        """Make ``sender`` the one that sends. False where somebody alive is; who dies is not any more."""
        ...

    async def unlock(self, sender: bytes) -> None:
        """Let others send. No-op where ``sender`` is not the one that does."""
        ...

    async def bind(self, owner: bytes) -> bytes:
        """Make it ``owner``'s, where it is nobody's or all posts have their outcome. Returns whose it is then."""
        ...
