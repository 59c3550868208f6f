"""The outbox: what was sent and is not yet acknowledged.

1. Every numbered message enters when it is sent, with its exact envelope.
2. An ack releases everything up to its number, and nothing else does.
3. An ack may repeat itself. It may neither go back, nor name what was never sent.
4. Requests and terminal answers always find a place: requests are bounded by their slots, and a terminal answer takes
   the place that its request reserved. Items of streams enter only where there is room.
5. A new transport begins behind what the peer has received over the old ones. What it lacks is sent again before
   anything else, and does not count as sent before that.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from ratatoskr.errors import Fault, ProtocolFault
from ratatoskr.limits import Limits

T = TypeVar("T")


class Outbox(Generic[T]):
    """Unacknowledged envelopes, oldest first. ``T`` is what the owner wants back when a message is released.

    ``chain``: the chain's value before the first message.
    """

    __slots__ = ("_chain", "_entries", "acked", "bytes", "sent", "unsent")

    def __init__(self, chain: bytes = b"") -> None:
        self._chain = chain  # at `acked`
        self._entries: deque[tuple[bytes, T | None, bytes]] = deque()
        self.acked: int = 0
        """The highest number that the peer acknowledged."""
        self.sent: int = 0
        """The highest number that was sent over the present transport, or that the peer had before."""
        self.unsent: int = 0
        """Messages behind these that were sent over an older transport, and are to be sent again."""
        self.bytes: int = 0
        """Bytes of all envelopes."""

    def __len__(self) -> int:
        return len(self._entries)

    def has_room(self, limits: Limits) -> bool:
        """Whether another item may enter."""
        return len(self._entries) < limits.outbox_messages and self.bytes < limits.outbox_bytes

    def add(self, envelope: bytes, owner: T | None, chain: bytes) -> None:
        """The next message was sent, and none is to be sent again; ``chain`` is the chain's value behind it."""
        self.sent += 1
        self.bytes += len(envelope)
        self._entries.append((envelope, owner, chain))

    def acknowledge(self, number: int) -> list[T]:
        """Release up to ``number``; returns the owners of what was released. Raises ProtocolFault by rule 3."""
        if not self.acked <= number <= self.sent:
            raise ProtocolFault(
                Fault.ACK_INVALID, "flight.ack", f"ack {number}; acknowledged {self.acked}, sent {self.sent}"
            )
        owners = []
        entries = self._entries
        for _ in range(number - self.acked):
            envelope, owner, self._chain = entries.popleft()
            self.bytes -= len(envelope)
            if owner is not None:
                owners.append(owner)
        self.acked = number
        return owners

    # Over another transport

    @property
    def last(self) -> int:
        """The highest number that any message has."""
        return self.acked + len(self._entries)

    def chain_at(self, number: int) -> bytes | None:
        """The chain's value behind that message; None for what is not held: long acknowledged, or never sent."""
        if number == self.acked:
            return self._chain
        at = number - self.acked - 1
        return self._entries[at][2] if 0 <= at < len(self._entries) else None

    def rewind(self, number: int) -> None:
        """The peer has received up to ``number``, which is held: all behind it is to be sent again."""
        self.unsent += self.sent - number
        self.sent = number

    def first_unsent(self) -> bytes:
        """The envelope that is to be sent again next. There is one."""
        return self._entries[self.sent - self.acked][0]

    def sent_again(self) -> None:
        """It was."""
        self.sent += 1
        self.unsent -= 1
