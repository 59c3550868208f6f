"""Signals: SIGTERM and SIGINT end what serves; a second one does not wait for anybody."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol


class Close(Protocol):
    """Ends what serves. With ``drain``, what is open completes first."""

    def __call__(self, *, drain: bool) -> Awaitable[None]:
        """Wait until it has ended."""
        ...


async def until_signalled(close: Close, told: Callable[[signal.Signals], None], again: Callable[[], None]) -> None:
    """Wait for a signal, then close with draining, and without it at a second signal.

    ``told`` is called with the first one, before anything is closed, ``again`` at the second. In the main thread.
    """
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    with _caught(signals.put_nowait):
        told(await signals.get())
        draining = asyncio.ensure_future(close(drain=True))
        second = asyncio.create_task(signals.get())
        await asyncio.wait([draining, second], return_when=asyncio.FIRST_COMPLETED)
        second.cancel()
        if not draining.done():
            again()
            await close(drain=False)
        await draining


@contextmanager
def _caught(on_signal: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call ``on_signal`` at SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT)
    with suppress(NotImplementedError):  # Windows: Ctrl-C cancels the main task instead, and the block drains
        for each in caught:
            loop.add_signal_handler(each, on_signal, each)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            for each in caught:
                loop.remove_signal_handler(each)
