"""The outbox: what was sent and is not yet acknowledged.

1. Every numbered message enters when it is sent, with its exact envelope.
2. An ack releases everything up to its number, and nothing else does.
3. An ack may repeat itself. It may neither go back, nor name what was never sent.
4. The outbox needs no limit of its own: requests are bounded by their slots, and a terminal answer takes the place
   that its request reserved.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from ratatoskr.errors import Fault, ProtocolFault

T = TypeVar("T")


class Outbox(Generic[T]):
    """Unacknowledged envelopes, oldest first. ``T`` is what the owner wants back when a message is released."""

    __slots__ = ("_entries", "acked", "sent")

    def __init__(self) -> None:
        self._entries: deque[tuple[int, bytes, T | None]] = deque()
        self.acked: int = 0
        """The highest number that the peer acknowledged."""
        self.sent: int = 0
        """The highest number in the outbox, ever."""

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, envelope: bytes, owner: T | None) -> None:
        """The next message was sent."""
        self.sent += 1
        self._entries.append((self.sent, envelope, owner))

    def acknowledge(self, number: int) -> list[T]:
        """Release up to ``number``; returns the owners of what was released. Raises ProtocolFault by rule 3."""
        if not self.acked <= number <= self.sent:
            raise ProtocolFault(
                Fault.ACK_INVALID, "flight.ack", f"ack {number}; acknowledged {self.acked}, sent {self.sent}"
            )
        self.acked = number
        owners = []
        entries = self._entries
        while entries and entries[0][0] <= number:
            owner = entries.popleft()[2]
            if owner is not None:
                owners.append(owner)
        return owners
