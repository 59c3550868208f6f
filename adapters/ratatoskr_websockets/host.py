"""The host: what the core and the service are not allowed to have, on asyncio."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from websockets.typing import Subprotocol

from ratatoskr import Now
from ratatoskr.service import Level, Note

T = TypeVar("T")

LOGGER = logging.getLogger("ratatoskr.websockets")
"""Who connected, who was refused and why, how it ended. Never payloads, never secrets."""
HTTP_LOGGER = logging.getLogger("ratatoskr.websockets.http")
"""What the WebSocket library has to say; only its warnings, unless somebody asks for more."""
HTTP_LOGGER.setLevel(logging.WARNING)
SUBPROTOCOL = Subprotocol("ratatoskr.v1")
"""The WebSocket subprotocol that both ends insist on."""

_LEVELS = {Level.INFO: logging.INFO, Level.WARNING: logging.WARNING, Level.ERROR: logging.ERROR}


class AsyncioHost:
    """Both clocks, randomness, tasks, threads and a log. Deadlines live on the clock of the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._mono = self._loop.time
        self.tasks: set[asyncio.Task[None]] = set()
        """What was spawned and has not ended."""

    def now(self) -> Now:
        """Both clocks."""
        return Now(self._mono(), time.time())

    def entropy(self, n: int, /) -> bytes:
        """Unpredictable bytes."""
        return os.urandom(n)

    async def sleep(self, seconds: float, /) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    def signal(self) -> asyncio.Event:
        """Something to wait for."""
        return asyncio.Event()

    def spawn(self, coroutine: Coroutine[Any, Any, None], done: Callable[[], None], /) -> asyncio.Task[None]:
        """Run a handler: from Python 3.12 on at once, and without a turn of the loop where it waits for nothing."""
        if sys.version_info >= (3, 12):
            task = asyncio.Task(coroutine, loop=self._loop, eager_start=True)
        else:
            task = self._loop.create_task(coroutine)
        if task.done():
            done()
            return task
        self.tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self.tasks.discard(task)
            done()

        task.add_done_callback(ended)
        return task

    async def run_in_thread(self, function: Callable[[], T], /) -> T:
        """Run what blocks where it blocks nobody."""
        return await asyncio.to_thread(function)

    def log(self, note: Note, /) -> None:
        """What the service has to tell the operator."""
        reference = f" (ref {note.reference})" if note.reference else ""
        LOGGER.log(_LEVELS[note.level], "%s%s: %s", note.event, reference, note.text, exc_info=note.error)
