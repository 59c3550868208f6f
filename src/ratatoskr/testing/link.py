"""A transport for tests: bytes in order, in virtual time, with the faults that real ones have.

TCP loses no byte of a connection that lives, so what a lossy network does to it is delay, stall and the end. A Link can
do these, end at any byte, and change bytes as an attacker would.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf


class Link:
    """One direction. Times in seconds of the virtual clock."""

    def __init__(self, *, latency: float = 0.0, chunk: int | None = None) -> None:
        self.latency = latency
        """How long each byte travels."""
        self.chunk = chunk
        """Deliver at most so many bytes at once; None for whole writes."""
        self.stalled = False
        """While true nothing arrives; what is written waits."""
        self.lost = False
        """While true what is written disappears, as behind a dead router: the sender does not notice."""
        self.cut_after: int | None = None
        """The transport ends, for both sides, when so many bytes have been delivered."""
        self.tamper: Callable[[bytes], bytes] | None = None
        """Changes each write on its way."""
        self.delivered: int = 0
        """Bytes that arrived."""
        self.ended: bool = False
        self._in_flight: deque[tuple[float, bytes]] = deque()
        self._eof_at = inf

    def write(self, data: bytes, now: float) -> None:
        """A peer writes."""
        if self.ended or self.lost or self._eof_at < inf:
            return
        if self.tamper is not None:
            data = self.tamper(data)
        size = self.chunk or len(data)
        for at in range(0, len(data), size or 1):
            self._in_flight.append((now + self.latency, data[at : at + size]))

    def end(self, now: float) -> None:
        """A peer closes: the other learns it after everything that was written."""
        if self.lost:
            return
        self._eof_at = min(self._eof_at, now + self.latency)

    def cut(self) -> None:
        """The transport breaks here and now; what is in flight is lost."""
        self._in_flight.clear()
        self._eof_at = -inf

    @property
    def next_at(self) -> float:
        """When something arrives next."""
        if self.ended or self.stalled:
            return inf
        return self._in_flight[0][0] if self._in_flight else self._eof_at

    def read(self) -> bytes | None:
        """What arrives at ``now``: bytes, or None for the end of the transport. Call when ``next_at <= now``."""
        if not self._in_flight:
            self.ended = True
            return None
        _, data = self._in_flight.popleft()
        if self.cut_after is not None and self.delivered + len(data) >= self.cut_after:
            data = data[: self.cut_after - self.delivered]
            self.cut()
        self.delivered += len(data)
        return data
