"""What an adapter supplies: a clock, entropy, threads, a log, and the way back to the caller."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar

from ratatoskr.timers import Now

T = TypeVar("T")


class Level(Enum):
    """How much a note matters."""

    INFO = "a peer was refused; nothing to do here"
    WARNING = "worth a look"
    ERROR = "a fault in a handler or a store"


@dataclass(frozen=True, slots=True)
class Note:
    """Something for the log. It holds no payload, no key and no token.

    ``event`` is a stable word for programs, ``text`` a sentence for people. ``reference`` is what the peer was told in
    place of ``error``, which is an exception of a handler or a store, for its traceback.
    """

    level: Level
    event: str
    text: str
    reference: str = ""
    error: BaseException | None = None


class Signal(Protocol):
    """Something that happens once. ``asyncio.Event`` and ``trio.Event`` are such."""

    def set(self) -> object:
        """It happens: everybody who waits goes on."""
        ...

    async def wait(self) -> object:
        """Wait until it has happened."""
        ...


class Task(Protocol):
    """A coroutine that runs by itself."""

    def cancel(self) -> object:
        """Stop it: what it waits for raises what the runtime raises to stop a task."""
        ...


class Host(Protocol):
    """The world, as far as the service needs it. One for a process."""

    def now(self) -> Now:
        """Both clocks."""
        ...

    def entropy(self, size: int, /) -> bytes:
        """Unpredictable bytes."""
        ...

    async def sleep(self, seconds: float, /) -> None:
        """Let so much time pass. Also for 0 seconds this lets others run, and a cancellation come."""
        ...

    def signal(self) -> Signal:
        """Something to wait for."""
        ...

    def spawn(self, coroutine: Coroutine[Any, Any, None], done: Callable[[], None], /) -> Task:
        """Run a coroutine by itself, at once or soon. Call ``done`` when it has ended, however it did, and also where
        it was cancelled before it began.
        """
        ...

    async def run_in_thread(self, function: Callable[[], T], /) -> T:
        """Run a blocking function elsewhere. Its exceptions come out."""
        ...

    def log(self, note: Note, /) -> None:
        """Take a note. Must not raise."""
        ...
