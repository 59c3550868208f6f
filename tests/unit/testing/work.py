"""Handlers that wait for asyncio until a test lets them end, and what is left of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from ratatoskr import v1
from ratatoskr.service import Call, Router
from ratatoskr.testing import LocalClient
from tests.unit.testing.shop import COUNT, NOTE, REDEEM


class Work:
    """Handlers that wait for a test's event, and remember how they ended."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.begun = asyncio.Event()
        self.ended: list[str] = []
        self.router = Router()
        for kind in (NOTE, REDEEM):
            self.router.on(kind)(self._work)

        @self.router.on(COUNT)
        async def count(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
            yield v1.GoAway()
            yield await self._work(message, call)

    async def _work(self, message: v1.Search, call: Call) -> v1.GoAway:
        if message.query == "at once":
            return v1.GoAway(reason="done")
        self.begun.set()
        try:
            await self.event.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # what it cleans up takes a moment
            self.ended.append("stopped")
            raise
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        self.ended.append("done")
        return v1.GoAway(reason="done")


def idle(client: LocalClient) -> bool:
    """Whether nothing is left of any call."""
    client.advance(0.1)
    sessions = [end.connection._session for end in (client.pair.client, client.pair.server)]
    return (
        not client._host.tasks._alive
        and not client._host.tasks.ready
        and all(not len(side._asker.pending) and not side._handlers._running for side in client._sides)
        and all(session._asking.calls.empty and not session._answering.calls.open for session in sessions)
    )
