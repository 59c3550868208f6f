"""A load of searches, browses and payments that goes on and on, and counts its answers."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from examples.rolling_restart.client import browse, pay, search
from examples.rolling_restart.server import LAMPS
from ratatoskr_websockets import Peer

SEARCHERS = 40
BROWSERS = 10
BUYERS = 10


class Load:
    """Workers, each of which asks again as soon as it is answered. The first call that fails ends all of them."""

    def __init__(self, server: Peer, random: random.Random) -> None:
        self._server = server
        self._random = random
        self._stopping = False
        self._answer = asyncio.Condition()
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.payments: dict[str, str] = {}
        """The id of the payment for each key that was paid under."""

    async def run(self) -> None:
        """Ask until :meth:`stop`."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(SEARCHERS):
                workers.create_task(self._search())
            for _ in range(BROWSERS):
                workers.create_task(self._browse())
            for number in range(BUYERS):
                workers.create_task(self._buy(f"buyer-{number}"))

    def stop(self) -> None:
        """Ask nothing new."""
        self._stopping = True

    async def more(self, answers: int) -> None:
        """Wait for so many more answers of each kind."""
        aims = {what: self.answered[what] + answers for what in ("search", "browse", "payment")}
        async with self._answer:
            await self._answer.wait_for(lambda: all(self.answered[what] >= aim for what, aim in aims.items()))

    async def _search(self) -> None:
        while not self._stopping:
            self.asked["search"] += 1
            found = await search(self._server)
            assert len(found.offers) == 2
            await self._count("search")

    async def _browse(self) -> None:
        while not self._stopping:
            self.asked["browse"] += 1
            items = await browse(self._server)
            assert [item.found for item in items] == list(range(1, LAMPS + 1))
            await self._count("browse")

    async def _buy(self, name: str) -> None:
        """Pay, and then ask for an earlier payment again, whichever server made it."""
        keys: list[str] = []
        while not self._stopping:
            key = f"{name}/{len(keys)}"
            self.asked["payment"] += 1
            answer = await pay(self._server, key)
            assert not answer.replayed, f"{key} was paid before"
            keys.append(key)
            self.payments[key] = answer.message.payment_id
            await self._count("payment")
            key = self._random.choice(keys)
            self.asked["repeat"] += 1
            again = await pay(self._server, key)
            assert again.replayed, f"{key} was paid again"
            assert again.message.payment_id == self.payments[key]
            await self._count("repeat")

    async def _count(self, what: str) -> None:
        async with self._answer:
            self.answered[what] += 1
            self._answer.notify_all()
