"""What a runtime supplies: besides a :class:`~ratatoskr.service.Host`, calls that come later, and byte streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ratatoskr.service import Host, Task


class Runtime(Host, Protocol):
    """A host whose loop calls back."""

    def defer(self, callback: Callable[[], None], /) -> None:
        """Call it soon, from the loop and not from here. What is deferred in one turn may run in the next one."""
        ...

    def alarm(self, at: float, callback: Callable[[], None], /) -> Task:
        """Call it when the monotonic clock shows ``at``, or a little later; not where the task is cancelled before."""
        ...


class TransportEnded(Exception):
    """The transport has ended. ``how`` says so for the log; the peer's words in it forge no line.

    ``code`` and ``reason``: what it is to be closed with, where the peer broke a rule of the transport; 0 for nothing.
    """

    def __init__(self, how: str, code: int = 0, reason: str = "") -> None:
        super().__init__(how)
        self.how = how
        self.code = code
        self.reason = reason


class Transport(Protocol):
    """A byte stream to one peer. Reading and writing are done by one task each, and at the same time.

    Cancelling a call of these ends the transport at the latest when :meth:`abort` is called, and loses no byte that a
    later :meth:`read` would have returned.
    """

    @property
    def address(self) -> str:
        """Where the other end is, for people."""
        ...

    async def read(self) -> bytes:
        """The next bytes, in any chunking. Raises TransportEnded where there are no more."""
        ...

    async def write(self, data: bytes, /) -> None:
        """Write all of it; returns when there is room for more. Raises TransportEnded."""
        ...

    async def close(self, code: int, reason: str, /) -> None:
        """Write what is still to be written, say why, and end. Raises nothing of the transport's."""
        ...

    def abort(self) -> None:
        """Cut it here and now. Idempotent."""
        ...
