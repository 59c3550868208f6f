"""The runtime: what the core and the service are not allowed to have, on asyncio."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ratatoskr import Now
from ratatoskr.service import Level, Note

T = TypeVar("T")

_LEVELS = {Level.INFO: logging.INFO, Level.WARNING: logging.WARNING, Level.ERROR: logging.ERROR}


class AsyncioRuntime:
    """Both clocks, randomness, tasks, threads and a log. Deadlines live on the clock of the running loop."""

    def __init__(self, logger: logging.Logger) -> None:
        self._loop = asyncio.get_running_loop()
        self._mono = self._loop.time
        self._logger = logger
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself holds tasks only weakly

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

    def defer(self, callback: Callable[[], None], /) -> None:
        """Call it in the next turn of the loop."""
        self._loop.call_soon(callback)

    def alarm(self, at: float, callback: Callable[[], None], /) -> asyncio.TimerHandle:
        """Call it at that time."""
        return self._loop.call_at(at, callback)

    def spawn(self, coroutine: Coroutine[Any, Any, None], done: Callable[[], None], /) -> asyncio.Task[None]:
        """Run a coroutine: from Python 3.12 on at once, and without a turn of the loop where it waits for nothing."""
        if sys.version_info >= (3, 12):
            task = asyncio.Task(coroutine, loop=self._loop, eager_start=True)
        else:
            task = self._loop.create_task(coroutine)
        if task.done():
            done()
            return task
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            done()

        task.add_done_callback(ended)
        return task

    async def run_in_thread(self, function: Callable[[], T], /) -> T:
        """Run what blocks where it blocks nobody."""
        return await asyncio.to_thread(function)

    def log(self, note: Note, /) -> None:
        """What the service has to tell the operator."""
        reference = f" (ref {note.reference})" if note.reference else ""
        self._logger.log(_LEVELS[note.level], "%s%s: %s", note.event, reference, note.text, exc_info=note.error)
