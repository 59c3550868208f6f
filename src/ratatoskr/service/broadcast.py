"""Broadcast: something that happens again and again."""

from __future__ import annotations

from ratatoskr.service.host import Host, Signal


class Broadcast:
    """Wakes all who wait at that moment."""

    __slots__ = ("_host", "_signal")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._signal: Signal | None = None

    def fire(self) -> None:
        """Wake them."""
        signal, self._signal = self._signal, None
        if signal is not None:
            signal.set()

    async def wait(self) -> None:
        """Until the next :meth:`fire`."""
        if self._signal is None:
            self._signal = self._host.signal()
        await self._signal.wait()
