"""Time, and the one table of deadlines.

Time enters the core through ``poll(now)`` alone and leaves it as ``Wait(until, timer)`` alone. Nothing else owns a
clock.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TYPE_CHECKING, NamedTuple


class Now(NamedTuple):
    """One reading of both clocks.

    ``mono``: seconds on a clock that only goes forward; deadlines live on it.
    ``wall``: seconds since the epoch; what is signed and what expires lives on it.
    """

    mono: float
    wall: float

    @property
    def wall_ms(self) -> int:
        """Milliseconds since the epoch, never negative."""
        return max(0, int(self.wall * 1000))


class Timer(Enum):
    """Every deadline of a connection."""

    if not TYPE_CHECKING:
        __hash__ = object.__hash__  # members are singletons; Enum hashes their names, which takes longer

    HANDSHAKE = "the peer's next handshake record"
    ACCEPT = "the application's decision, or the server's answer, about a connection request"
    RECORD = "the end of a record that has begun to arrive"
    HEARTBEAT = "the next ping on a quiet line"
    LIVENESS = "any byte from the peer"
    WRITE = "the driver's report that it has written what it borrowed"
    ACK = "an acknowledgement that travels alone"
    SEAL = "our seal over what we sent unsealed"
    SPAN = "the peer's seal over what it sent unsealed"
    REQUEST = "the earliest deadline of an open call"
    CANCEL = "cancels that were held back, because the peer takes only so many a minute"
    SESSION = "another transport for a session that has lost its own"
    CLOSE = "the end of the transport after the close"
    DRAIN = "the end of open calls after close() or GOAWAY"


class Timers:
    """Deadlines by name, with the earliest at hand: asking an idle table costs one comparison."""

    __slots__ = ("_deadlines", "earliest")

    def __init__(self) -> None:
        self._deadlines: dict[Timer, float] = {}
        self.earliest: float = inf
        """The earliest deadline, in seconds of the monotonic clock; infinity when none is set."""

    def set(self, timer: Timer, deadline: float) -> None:
        """Set or move a deadline."""
        deadlines = self._deadlines
        moved_later = deadlines.get(timer, inf) == self.earliest < deadline
        deadlines[timer] = deadline
        if moved_later:
            self.earliest = min(deadlines.values())
        elif deadline < self.earliest:
            self.earliest = deadline

    def stop(self, timer: Timer) -> None:
        """Forget a deadline; no-op when it is not set."""
        if self._deadlines.pop(timer, None) == self.earliest:
            self.earliest = min(self._deadlines.values(), default=inf)

    def clear(self) -> None:
        """Forget all."""
        self._deadlines.clear()
        self.earliest = inf

    def get(self, timer: Timer) -> float:
        """The deadline; infinity when it is not set."""
        return self._deadlines.get(timer, inf)

    def __contains__(self, timer: Timer) -> bool:
        return timer in self._deadlines

    def next(self) -> tuple[float, Timer | None]:
        """The earliest deadline and its name."""
        earliest = self.earliest
        for timer, deadline in self._deadlines.items():
            if deadline == earliest:
                return earliest, timer
        return inf, None

    def due(self, now: float) -> Timer | None:
        """The earliest timer that is due, which is forgotten by this; None when none is."""
        if self.earliest > now:
            return None
        _, timer = self.next()
        if timer is not None:
            self.stop(timer)
        return timer
