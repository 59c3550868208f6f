"""A client of the proof, which is killed again and again.

It makes payments, those of one account one after the other, and those of several at once. It writes down that it asks
before it asks, and what came of it before it goes on. A payment without a written end is asked for again, under its
key, by this process or the next. At SIGTERM it begins nothing new, and ends when all has an end.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import signal
from collections.abc import Callable, Iterator

from tests.proof import planted
from tests.proof.desks import DESKS, PAUSE, Desk, Place
from tests.proof.evidence import How, Payment, Told
from tests.proof.fate import ClientPoint, Fate, watch_writes
from tests.proof.history import History
from tests.proof.scene import Scene
from tests.proof.server import parser

AGAIN = 0.3
"""How often an earlier payment is asked for again."""
BACK = 3
"""How many payments ago that was at most."""


class Client:
    """One life."""

    def __init__(
        self, scene: Scene, name: str, desk: Desk, history: History, fate: Fate, stopping: asyncio.Event
    ) -> None:
        self._scene = scene
        self._accounts = scene.accounts(name)
        self._desk = desk
        self._history = history
        self._fate = fate
        self._random = random.Random(f"{scene.seed} {name} {history.life}")
        self._settling: set[str] = set()
        """The keys of payments that have no end yet."""
        self._stopping = stopping

    async def work(self) -> None:
        """Pay, account by account, all at once, until told to stop."""
        async with asyncio.TaskGroup() as accounts:
            for account in self._accounts:
                accounts.create_task(self._work(account))

    async def audit(self) -> None:
        """End what has no end, then ask for every payment once more. Nothing new."""
        self._stopping.set()
        await self.work()
        keys = iter([key for account in self._accounts for key in self._history.ended(account)])
        async with asyncio.TaskGroup() as askers:
            for _ in range(2 * len(self._accounts)):
                askers.create_task(self._ask_again(keys))

    async def _ask_again(self, keys: Iterator[str]) -> None:
        for key in keys:
            await self._again(key)

    async def _work(self, account: str) -> None:
        begun = self._history.open(account)
        if begun is not None:
            await self._settle(self._scene.payment_of(begun))
        while not self._stopping.is_set():
            ended = self._history.ended(account)
            if ended and self._random.random() < AGAIN:
                await self._again(self._random.choice(ended[-BACK:]))
            await self._settle(self._scene.payment(account, len(self._history.begun(account))))

    async def _settle(self, payment: Payment) -> None:
        """Ask until it is written down that there is an end."""
        self._settling.add(payment.key)
        while True:
            await self._ask(payment)
            if self._history.is_over(payment.key):
                break
            await asyncio.sleep(PAUSE)
        self._settling.discard(payment.key)

    async def _again(self, key: str) -> None:
        """Ask for a payment that has its end, and write down what is told of it now."""
        while True:
            told = await self._ask(self._scene.payment_of(key))
            if told.final:
                break
            await asyncio.sleep(PAUSE)

    async def _ask(self, payment: Payment) -> Told:
        """Ask once, and write down what is told."""
        self._history.invoke(payment)
        self._reach(ClientPoint.BEFORE_SEND, payment.key)
        told = await self._desk.ask(payment)
        if told.how in (How.ANSWERED, How.FAILED):
            self._reach(ClientPoint.AFTER_ANSWER, payment.key)
        self._history.end(payment, told)
        await self._desk.noted(payment)
        return told

    def sent(self, key: str) -> None:
        """The request for that payment was written."""
        self._reach(ClientPoint.AFTER_SEND, key)

    def _reach(self, point: ClientPoint, key: str) -> None:
        """Only what has no end yet is worth dying for."""
        if key in self._settling:
            self._fate.reach(point, key=key)


async def main(options: argparse.Namespace, ready: Callable[[str], None]) -> None:
    """Work until SIGTERM, or until the process dies."""
    scene = Scene(options.home, options.seed, options.born)
    fate = Fate(scene.home, options.name, options.life, options.die)
    history = History(scene.home, options.name, options.life)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    ready("")
    place = Place(options.url, scene.client_config(options.name), scene.home, options.name)
    async with DESKS[options.name](place) as desk:
        client = Client(scene, options.name, desk, history, fate, stopping)
        watch_writes("request", lambda kind, message, **_: message.end_to_end_id, client.sent)
        await (client.audit() if options.audit else client.work())


def run(arguments: list[str], ready: Callable[[str], None]) -> None:
    """One life. ``ready`` is told when it heeds SIGTERM."""
    made = parser()
    made.add_argument("--name", required=True, help="which client it is")
    made.add_argument("--url", required=True, help="where the bank is")
    made.add_argument("--audit", action="store_true", help="ask for every payment once more, and nothing new")
    options = made.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    planted.plant(options.bug)
    asyncio.run(main(options, ready))
