"""The world, as far as an outbox needs it, on asyncio."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

from ratatoskr import Now


class AsyncioRuntime:
    """Clocks, randomness, tasks. It belongs to no loop before something is awaited."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> Now:
        """Both clocks."""
        return Now(time.monotonic(), time.time())

    def entropy(self, size: int, /) -> bytes:
        """Unpredictable bytes."""
        return os.urandom(size)

    async def sleep(self, seconds: float, /) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    def signal(self) -> asyncio.Event:
        """Something to wait for."""
        return asyncio.Event()

    def spawn(self, coroutine: Coroutine[Any, Any, None], done: Callable[[], None], /) -> asyncio.Task[None]:
        """Run a coroutine by itself."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            done()

        task.add_done_callback(ended)
        return task
