"""A handler that counts, and who reads what it counts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from ratatoskr import v1
from ratatoskr.errors import Fail
from ratatoskr.service import Call, Router
from tests.unit.service.lines import COUNT, Lines, Strand
from tests.unit.service.support import Gate, ask, say


class Counter:
    """Counts up to what is asked for, and remembers how far it came and how it ended."""

    def __init__(self) -> None:
        self.begun = 0
        self.made = 0
        self.ended: list[str] = []
        self.then: Fail | None = None
        self.gates: dict[int, Gate] = {}
        """Before which item to wait."""
        self.router = Router()

        @self.router.on(COUNT)
        async def count(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
            self.begun += 1
            try:
                for n in range(int(message.query)):
                    if n in self.gates:
                        await self.gates[n]
                    self.made += 1
                    yield say(str(n))
            except BaseException as error:
                self.ended.append(type(error).__name__)
                raise
            self.ended.append("the end")
            if self.then is not None:
                raise self.then


class Reader:
    """Reads a stream, all of it or so many items, at a pace that a gate sets."""

    def __init__(self, lines: Lines, text: str, *, stop: int | None = None, **options: Any) -> None:
        self.stream = lines.client.calls.stream(COUNT, ask(text), **options)
        self.gate = Gate()
        self.gate.open = True
        self.read: list[str] = []
        self.strand: Strand = lines.client.start(self._read(stop))

    async def _read(self, stop: int | None) -> str:
        async with self.stream as items:
            async for item in items:
                self.read.append(item.reason)
                if len(self.read) == stop:
                    return "left"
                await self.gate
        return "the end"


def numbers(count: int) -> list[str]:
    return [str(n) for n in range(count)]
