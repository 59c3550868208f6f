"""Writing: what goes to the driver, one Transmit at a time, and how long it may take.

The WRITE deadline is lazy: it is set by a write and left alone. When it finds that nothing is on loan it is forgotten,
and when the present loan is younger it sets itself again.
"""

from __future__ import annotations

from collections import deque

from ratatoskr.errors import Fault, ProtocolFault
from ratatoskr.events import Transmit
from ratatoskr.timers import Now, Timer, Timers


class Writer:
    """Records that are not flights wait here; flights are made when they can be written."""

    __slots__ = ("_records", "_timers", "_until", "on_loan")

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._records: deque[bytes] = deque()
        self._until = 0.0
        self.on_loan: bool = False
        """Whether the driver has data that it has not reported as sent."""

    def add(self, record: bytes) -> None:
        """Write this before any flight."""
        self._records.append(record)

    def take(self) -> bytes | None:
        """The next record that is not a flight."""
        return self._records.popleft() if self._records else None

    def lend(self, data: bytes) -> Transmit:
        """Give data to the driver."""
        self.on_loan = True
        return Transmit(data)

    def limit(self, until: float) -> None:
        """The driver has so long for what was lent."""
        self._until = until
        if Timer.WRITE not in self._timers:
            self._timers.set(Timer.WRITE, until)

    def expire(self, now: Now) -> None:
        """WRITE is due. Raises ProtocolFault where what is on loan has been for too long."""
        if not self.on_loan:
            return
        if now.mono >= self._until:
            raise ProtocolFault(Fault.WRITE_STALLED, "timer.write", f"not in time: {Timer.WRITE.value}")
        self._timers.set(Timer.WRITE, self._until)

    def clear(self) -> None:
        """Nothing of what waits is to be written."""
        self._records.clear()
