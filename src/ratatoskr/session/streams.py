"""Streams that we answer: their items wait for room, each stream fairly, all of them bounded.

1. An item is taken while its stream has credit and all that wait have room. Otherwise the application is told
   ``WouldBlock``, and ``Writable`` once there is room again: a reader that takes nothing costs what it has granted.
2. Streams take turns, an item each.
3. The terminal answer of a stream goes out behind its items. One that the caller no longer wants drops them.
"""

from __future__ import annotations

from collections import deque

from ratatoskr.errors import WouldBlock
from ratatoskr.limits import Limits
from ratatoskr.session.incoming import IncomingCall


class Streams:
    """Items that wait to be sent."""

    __slots__ = ("_blocked", "_bytes", "_limits", "_waiting")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: deque[IncomingCall] = deque()
        self._bytes = 0
        self._blocked: dict[IncomingCall, int] = {}  # with the bytes of the item that was refused

    def __len__(self) -> int:
        """Streams with items that wait."""
        return len(self._waiting)

    @property
    def bytes_waiting(self) -> int:
        """Bytes of items that wait."""
        return self._bytes

    def check_room(self, call: IncomingCall, size: int) -> None:
        """Raise WouldBlock where an item of so many bytes has to wait, by rule 1."""
        place = call.sent + len(call.items)
        if place >= call.credit:
            why = f"{place} items were sent or wait, and no more are granted"
        elif not self._fits(size):
            why = f"items of {self._bytes} bytes wait to be sent"
        else:
            return
        self._blocked[call] = size
        raise WouldBlock(f"{call!r}: {why}; wait for the event Writable")

    def _fits(self, size: int) -> bool:
        """Whether an item of so many bytes may wait with the others. One may be longer than all of them, alone."""
        return not self._bytes or self._bytes + size <= self._limits.item_bytes_queued

    def put(self, call: IncomingCall, envelope: bytes) -> None:
        """Take an item."""
        if not call.items:
            self._waiting.append(call)
        call.items.append(envelope)
        self._bytes += len(envelope)

    def first_size(self) -> int:
        """Bytes of the next item. There is one."""
        return len(self._waiting[0].items[0])

    def pop(self) -> tuple[IncomingCall, bytes]:
        """The next item. There is one."""
        call = self._waiting.popleft()
        envelope = call.items.popleft()
        call.sent += 1
        self._bytes -= len(envelope)
        if call.items:
            self._waiting.append(call)
        return call, envelope

    def drop(self, call: IncomingCall) -> None:
        """Forget the items of a stream that wait."""
        if call.items:
            self._waiting.remove(call)
            self._bytes -= sum(map(len, call.items))
            call.items.clear()
        self.finish(call)

    def finish(self, call: IncomingCall) -> None:
        """No more items come: nobody waits for room in the stream any more."""
        self._blocked.pop(call, None)

    def unblocked(self) -> list[IncomingCall]:
        """Streams that have room for what was refused with ``WouldBlock``. Said when half of all room is free."""
        if not self._blocked or self._bytes * 2 > self._limits.item_bytes_queued:
            return []
        blocked = self._blocked.items()
        ready = [call for call, size in blocked if call.sent + len(call.items) < call.credit and self._fits(size)]
        for call in ready:
            del self._blocked[call]
        return ready

    def clear(self) -> None:
        """The session ended."""
        self._waiting.clear()
        self._blocked.clear()
        self._bytes = 0
