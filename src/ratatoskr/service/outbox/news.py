"""News: that something has changed, for who waits for it, and for how long at most."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from ratatoskr.service.host import Signal, Task
from ratatoskr.timers import Now


class OutboxHost(Protocol):
    """The world, as far as an outbox needs it. Every :class:`~ratatoskr.service.Host` is one."""

    def now(self) -> Now:
        """Both clocks."""
        ...

    def entropy(self, size: int, /) -> bytes:
        """Unpredictable bytes."""
        ...

    async def sleep(self, seconds: float, /) -> None:
        """Let so much time pass."""
        ...

    def signal(self) -> Signal:
        """Something to wait for."""
        ...

    def spawn(self, coroutine: Coroutine[Any, Any, None], done: Callable[[], None], /) -> Task:
        """Run a coroutine by itself. Call ``done`` when it has ended."""
        ...


class News:
    """Counts what has changed, so that nothing is missed between a look and the wait for more."""

    __slots__ = ("_host", "_waiting", "count")

    def __init__(self, host: OutboxHost) -> None:
        self._host = host
        self._waiting: set[Signal] = set()
        self.count: int = 0
        """How often something has changed."""

    def fire(self) -> None:
        """Something has changed."""
        self.count += 1
        for signal in self._waiting:
            signal.set()

    async def wait(self, seen: int, seconds: float) -> None:
        """Wait until more has changed than ``seen``, for so many seconds at most."""
        if self.count != seen or seconds <= 0:
            return
        signal = self._host.signal()
        self._waiting.add(signal)
        timer = self._host.spawn(self._ring(signal, seconds), _nothing)
        try:
            await signal.wait()
        finally:
            self._waiting.discard(signal)
            timer.cancel()

    async def _ring(self, signal: Signal, seconds: float) -> None:
        await self._host.sleep(seconds)
        signal.set()


def _nothing() -> None:
    """Nobody waits for the end of a timer."""
