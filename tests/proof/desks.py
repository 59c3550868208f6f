"""Desks: three ways for a client to ask a bank that dies and comes back, over lines that break.

``loop`` connects again and again by itself, as programs did before the library could. ``redial`` leaves that to the
library: its sessions go on over the next line. ``outbox`` posts, and reads what became of its posts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ratatoskr import CallError, CallFailed, CallRefused, Config, Failure, OutcomeUnknown, Status, v1
from ratatoskr.service import OutboxPolicy, PostSettled, Redial
from ratatoskr_stores import SqliteOutbox
from ratatoskr_websockets import ConnectFailed, Peer, connect
from tests.proof.bank import NO_FUNDS, TRANSFER, request
from tests.proof.evidence import LOST, How, Payment, Told
from tests.proof.fate import now

TIMEOUT = 10.0
PAUSE = 0.03
"""Seconds between two attempts to connect, or to ask."""
SESSION_TIMEOUT = 30.0
REDIAL = Redial(first_delay=0.05, growth=2.0, longest_delay=0.4, spread=0.1, session_timeout=SESSION_TIMEOUT)
"""A bank that is back in milliseconds is not kept waiting."""
OUTBOX = OutboxPolicy(timeout=TIMEOUT, first_delay=0.05, longest_delay=0.4, check_every=1.0)


class Desk(Protocol):
    """Where payments are asked for."""

    async def ask(self, payment: Payment) -> Told:
        """Ask for it, as often as the library repeats that by itself. Returns what is told."""
        ...

    async def noted(self, payment: Payment) -> None:
        """What was told is written down."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bank is, who asks, and a directory for what that needs."""

    url: str
    config: Config
    home: Path
    name: str


def answered(message: v1.PaymentAuthorized, *, replayed: bool) -> Told:
    """The server says that it was done."""
    life, _, number = message.payment_id.partition("/")
    outcome = message.SerializeToString(deterministic=True)
    return Told(now(), How.ANSWERED, "", outcome, life, int(number), replayed)


def failed(error: CallError, *, replayed: bool) -> Told:
    """The library says why there is no answer. What nobody expects comes out."""
    failure: Failure = error.failure
    match error:
        case _ if failure.status is Status.INTERNAL:
            raise error
        case CallFailed() if failure.reason == NO_FUNDS:
            outcome = f"{failure.status.name} {failure.reason} {failure.message}".encode()
            return Told(now(), How.FAILED, failure.reason, outcome, failure.message.split()[-1], 0, replayed)
        case OutcomeUnknown():
            return Told(now(), How.UNKNOWN, failure.reason)
        case CallRefused() if failure.reason != LOST:
            return Told(now(), How.REFUSED, failure.reason)
        case _:
            raise error


async def call(peer: Peer, payment: Payment) -> Told:
    """Ask, and wait."""
    try:
        answer = await peer.exchange(TRANSFER, request(payment), key=payment.key, timeout=TIMEOUT)
    except CallError as error:
        return failed(error, replayed=error.replayed)
    return answered(answer.message, replayed=answer.replayed)


class Looping:
    """The line to the bank, made again whenever it is lost."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._peer: Peer | None = None
        self._new = asyncio.Condition()

    async def ask(self, payment: Payment) -> Told:
        """Wait for a line that takes requests, and use it."""
        async with self._new:
            await self._new.wait_for(lambda: self._peer is not None and self._peer.takes_requests)
        assert self._peer is not None
        return await call(self._peer, payment)

    async def noted(self, payment: Payment) -> None:
        """Nobody else keeps it."""

    async def keep(self) -> None:
        """Connect, again and again."""
        while True:
            try:
                async with connect(self._place.url, self._place.config, proxy=None) as peer:
                    async with self._new:
                        self._peer = peer
                        self._new.notify_all()
                    await peer.wait_going_away()
            except ConnectFailed as error:
                if not error.fault.may_reconnect:
                    raise
            await asyncio.sleep(PAUSE)


@asynccontextmanager
async def looping(place: Place) -> AsyncIterator[Desk]:
    """A loop around ``connect``."""
    desk = Looping(place)
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(desk.keep())
        yield desk
        keeping.cancel()


class Redialling:
    """One peer for all lines."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def ask(self, payment: Payment) -> Told:
        """Whether there is a line or not."""
        return await call(self._peer, payment)

    async def noted(self, payment: Payment) -> None:
        """Nobody else keeps it."""


@asynccontextmanager
async def redialling(place: Place) -> AsyncIterator[Desk]:
    """``connect(…, redial=…)``."""
    async with connect(place.url, place.config, proxy=None, redial=REDIAL) as peer:
        yield Redialling(peer)


class Posting:
    """Posts, each in the lane of its account, and their outcomes."""

    def __init__(self, outbox: SqliteOutbox) -> None:
        self._outbox = outbox
        self._settled: dict[str, PostSettled] = {}
        self._news = asyncio.Condition()

    async def ask(self, payment: Payment) -> Told:
        """Post it, or find it posted; wait for its outcome."""
        await self._outbox.post(TRANSFER, request(payment), key=payment.key, lane=payment.debtor)
        async with self._news:
            await self._news.wait_for(lambda: payment.key in self._settled)
        try:
            return answered(self._settled[payment.key].answer(TRANSFER), replayed=True)
        except CallError as error:
            return failed(error, replayed=True)

    async def noted(self, payment: Payment) -> None:
        """Forget the post."""
        await self._settled.pop(payment.key).done()

    async def read(self) -> None:
        """Take every outcome, also those of earlier lives."""
        async for settled in self._outbox.outcomes():
            async with self._news:
                self._settled[settled.post.key.decode()] = settled
                self._news.notify_all()


@asynccontextmanager
async def posting(place: Place) -> AsyncIterator[Desk]:
    """``connect(…, outbox=…)``. An outbox does not say whether an outcome was told before; take it that it was."""
    path = place.home / f"{place.name}.outbox"
    with SqliteOutbox(path, kinds=[TRANSFER], policy=OUTBOX) as outbox:
        async with (
            connect(place.url, place.config, proxy=None, redial=REDIAL, outbox=outbox),
            asyncio.TaskGroup() as group,
        ):
            desk = Posting(outbox)
            reading = group.create_task(desk.read())
            yield desk
            reading.cancel()


DESKS: dict[str, Callable[[Place], AbstractAsyncContextManager[Desk]]] = {
    "loop": looping,
    "redial": redialling,
    "outbox": posting,
}
