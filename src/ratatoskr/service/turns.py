"""Turns: who waits for a place among the requests that wait to be sent. Who came first goes first.

A place may be for one alone, so one is woken at a time; who has got its place wakes the next one, and who has not goes
back to the front. A turn that nobody takes, because who was woken has given up, goes to the next one too.
"""

from __future__ import annotations

from collections import deque

from ratatoskr.service.host import Host, Signal


class Turns:
    """A line of those who wait."""

    __slots__ = ("_host", "_line")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._line: deque[Signal] = deque()

    def __len__(self) -> int:
        return len(self._line)

    async def wait(self, *, first: bool) -> None:
        """Wait for a turn, behind all others or before them."""
        signal = self._host.signal()
        if first:
            self._line.appendleft(signal)
        else:
            self._line.append(signal)
        try:
            await signal.wait()
        except BaseException:
            if signal in self._line:
                self._line.remove(signal)
            else:
                self.next()
            raise

    def next(self) -> None:
        """There may be a place: wake who is first."""
        if self._line:
            self._line.popleft().set()

    def end(self) -> None:
        """There will be no places: wake all."""
        while self._line:
            self.next()
