"""The outbox: what was sent and is not yet acknowledged.

1. Every numbered message enters when it is sent, with its exact envelope.
2. An ack releases everything up to its number, and nothing else does.
3. An ack may repeat itself. It may neither go back, nor name what was never sent.
4. Requests and terminal answers always find a place: requests are bounded by their slots, and a terminal answer takes
   the place that its request reserved. Items of streams enter only where there is room.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from ratatoskr.errors import Fault, ProtocolFault
from ratatoskr.limits import Limits

T = TypeVar("T")


class Outbox(Generic[T]):
    """Unacknowledged envelopes, oldest first. ``T`` is what the owner wants back when a message is released."""

    __slots__ = ("_entries", "acked", "bytes", "sent")

    def __init__(self) -> None:
        self._entries: deque[tuple[bytes, T | None]] = deque()
        self.acked: int = 0
        """The highest number that the peer acknowledged."""
        self.sent: int = 0
        """The highest number in the outbox, ever."""
        self.bytes: int = 0
        """Bytes of all envelopes."""

    def __len__(self) -> int:
        return len(self._entries)

    def has_room(self, limits: Limits) -> bool:
        """Whether another item may enter."""
        return len(self._entries) < limits.outbox_messages and self.bytes < limits.outbox_bytes

    def add(self, envelope: bytes, owner: T | None) -> None:
        """The next message was sent."""
        self.sent += 1
        self.bytes += len(envelope)
        self._entries.append((envelope, owner))

    def acknowledge(self, number: int) -> list[T]:
        """Release up to ``number``; returns the owners of what was released. Raises ProtocolFault by rule 3."""
        if not self.acked <= number <= self.sent:
            raise ProtocolFault(
                Fault.ACK_INVALID, "flight.ack", f"ack {number}; acknowledged {self.acked}, sent {self.sent}"
            )
        owners = []
        entries = self._entries
        for _ in range(number - self.acked):
            envelope, owner = entries.popleft()
            self.bytes -= len(envelope)
            if owner is not None:
                owners.append(owner)
        self.acked = number
        return owners
