"""`ratatoskr call` for a stream: a line for each item as it comes, and how far it is."""

from __future__ import annotations

import asyncio
from typing import Any

from google.protobuf.message import Message

from ratatoskr import AnyKind, CallError
from ratatoskr_cli.client import Interrupted, Target, interrupted
from ratatoskr_cli.payloads import payload_to_json
from ratatoskr_cli.screen import Progress, Screen, room, to_json


class Lines:
    """Items on standard output, each in one line of JSON; on standard error how far it is, where somebody looks.

    ``wrapped``: with what is known about each beside it, and with a line at the end that says how it ended.
    """

    def __init__(self, kind: AnyKind, *, wrapped: bool) -> None:
        self._kind = kind
        self._wrapped = wrapped
        self._screen = Screen()
        self._progress = Progress()
        self._total = 0
        self.count = 0
        """How many have come."""

    async def item(self, item: Message) -> None:
        """One more. Raises BrokenPipeError where nobody reads them any more."""
        await room()
        content: dict[str, Any] = payload_to_json(item)
        self._progress.clear()
        self._screen.line(to_json(self._entry(index=self.count, item=content) if self._wrapped else content))
        self.count += 1
        self._total = _total_of(item)
        self._progress.show(self.so_far)

    def end(self, how: str, **details: Any) -> None:
        """No more come."""
        self._progress.end(self.so_far)
        if self._wrapped:
            self._screen.line(to_json(self._entry(ended=how, items=self.count, **details)))

    @property
    def so_far(self) -> str:
        """How many have come, and of how many where they say that themselves."""
        if self._total:
            return f"{self.count} of {self._total}"
        return f"{self.count} {'item' if self.count == 1 else 'items'}"

    def _entry(self, **content: Any) -> dict[str, Any]:
        return {"kind": self._kind.name, **content}


async def read(
    target: Target, kind: AnyKind, message: Message, timeout: float | None, lines: Lines
) -> CallError | BrokenPipeError | Interrupted | None:
    """Ask, and print what comes. How it ended early; None where it ended as it should. Raises ConnectFailed."""
    async with target.connect() as peer:
        try:
            async with peer.stream(kind, message, timeout=timeout) as items:
                async for item in items:
                    await lines.item(item)
        except (CallError, BrokenPipeError) as error:
            return error  # the call has ended, or is cancelled: the connection ends as it should
        except asyncio.CancelledError:
            return await interrupted(peer)
        return None


def _total_of(item: Message) -> int:
    """How many there are, where each item says which one of how many it is; otherwise 0."""
    found, total = getattr(item, "found", None), getattr(item, "total", None)
    return total if isinstance(found, int) and isinstance(total, int) else 0
