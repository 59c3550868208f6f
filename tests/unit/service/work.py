"""Handlers that work until a test lets them end, and who asks for that."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from ratatoskr import v1
from ratatoskr.service import Call, Router
from tests.unit.service.lines import COUNT, PAY, Lines, Strand
from tests.unit.service.support import NOTE, REDEEM, Cancelled, Gate, ask, say


class Work:
    """Handlers that wait for the gate, and remember who began and how each ended."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.cleaned = Gate()
        """What a handler that is stopped waits for before it ends."""
        self.cleaned.open = True
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.router = Router()

        @self.router.on(NOTE)
        async def note(message: v1.Search, call: Call) -> v1.GoAway:
            return await self._work(message)

        @self.router.on(PAY)
        async def pay(message: v1.Search, call: Call) -> v1.GoAway:
            return await self._work(message)

        @self.router.on(REDEEM)
        async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
            return await self._work(message)

        @self.router.on(COUNT)
        async def count(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
            yield say("first")
            yield await self._work(message)

    async def _work(self, message: v1.Search) -> v1.GoAway:
        self.begun.append(message.query)
        try:
            await self.gate
        except Cancelled:
            await self.cleaned
            self.ended.append(f"{message.query} stopped")
            raise
        self.ended.append(f"{message.query} done")
        return say(message.query)


def started(lines: Lines, *texts: str, kind: Any = NOTE, **options: Any) -> list[Strand]:
    calls = lines.client.calls
    return [lines.client.start(calls.exchange(kind, ask(text), **options)) for text in texts or [""]]


def streamed(lines: Lines, text: str = "s") -> Strand:
    async def read() -> list[str]:
        async with lines.client.calls.stream(COUNT, ask(text)) as items:
            return [item.reason async for item in items]

    return lines.client.start(read())
