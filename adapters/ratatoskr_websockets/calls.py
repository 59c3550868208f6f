"""The calls of one connection, both ways: who waits for which answer, and which handlers run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from google.protobuf.message import Message

from ratatoskr import (
    CallError,
    CallRefused,
    Closed,
    Connection,
    Disposition,
    Event,
    Failure,
    Kind,
    Receipt,
    ReceiptRefused,
    RequestExpired,
    RequestFailed,
    RequestId,
    RequestReceived,
    ResponseReceived,
    SpanSealed,
    Status,
    VerifiedPeer,
    WouldBlock,
    Writable,
)
from ratatoskr.service import Exchange, PendingCalls
from ratatoskr_websockets.workshop import Workshop

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)


class Signal:
    """Wakes all who wait at that moment."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        """Wake them."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Until the next :meth:`fire`."""
        await self._event.wait()


class Calls:
    """Asks and answers over one connection; ``wake`` makes its driver poll. It is the service's ``PeerLink``."""

    def __init__(self, connection: Connection, wake: Callable[[], None], workshop: Workshop) -> None:
        self._connection = connection
        self._wake = wake
        self._workshop = workshop
        self._pending: PendingCalls[asyncio.Future[Exchange[Any]]] = PendingCalls()
        self._handlers: dict[RequestId, asyncio.Task[None]] = {}
        self._writable = Signal()
        self._sealed = Signal()
        self.closed: Closed | None = None

    @property
    def peer(self) -> VerifiedPeer:
        """Who is at the other end; known from ``Opened`` on."""
        peer = self._connection.peer
        assert peer is not None
        return peer

    def handle(self, event: Event) -> None:
        """Take note of an event; those that concern no call are ignored."""
        match event:
            case RequestReceived():
                self._start(event)
            case ResponseReceived() | RequestFailed():
                self._settle(event)
            case RequestExpired(id):
                handler = self._handlers.get(id)
                if handler is not None:
                    handler.cancel()
            case SpanSealed():
                self._sealed.fire()
            case Writable():
                self._writable.fire()
            case Closed():
                self._close(event)

    # Asking

    async def exchange(
        self,
        kind: Kind[Req, Res],
        message: Req,
        *,
        timeout: float | None = None,
        key: str | bytes | None = None,
        expires_at: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Exchange[Res]:
        """Ask, and wait for the outcome."""
        request = partial(
            self._connection.request,
            kind,
            message,
            timeout=timeout,
            key=key,
            expires_at=expires_at,
            metadata=metadata,
        )
        id = await self._queue(request)
        waiter: asyncio.Future[Exchange[Res]] = asyncio.get_running_loop().create_future()
        self._pending.add(id, waiter)
        self._wake()
        return await waiter

    async def _queue(self, request: Callable[[], RequestId]) -> RequestId:
        """Make the request; where the queue is full, wait for a place in it."""
        while self.closed is None:
            try:
                return request()
            except WouldBlock:
                await self._writable.wait()
        raise CallRefused(_ended(self.closed))

    async def receipt(self, exchange: Exchange[Any]) -> Receipt:
        """The receipt of an answer, once its seal has come."""
        while True:
            receipt = exchange.receipt()
            if receipt is not None:
                return receipt
            if self.closed is not None:
                raise ReceiptRefused("receipt.unsealed", "the connection ended before the peer sealed this answer")
            await self._sealed.wait()

    def _settle(self, event: ResponseReceived | RequestFailed) -> None:
        settled = self._pending.settle(event)
        if settled is not None:
            _wake_up(settled.waiter, settled.outcome)

    # Answering

    def respond(self, id: RequestId, message: Message, *, replayed: bool = False) -> None:
        """Answer a request of the peer's."""
        self._connection.respond(id, message, replayed=replayed)
        self._wake()

    def fail(self, id: RequestId, failure: Failure, *, replayed: bool = False) -> None:
        """End a request of the peer's without an answer."""
        self._connection.fail(id, failure, replayed=replayed)
        self._wake()

    def _start(self, event: RequestReceived) -> None:
        job, task = self._workshop.start(self, event)
        if not job.once:
            self._handlers[job.id] = task
            task.add_done_callback(lambda _: self._handlers.pop(job.id))

    # The end

    def _close(self, closed: Closed) -> None:
        self.closed = closed
        for settled in self._pending.close(closed):
            _wake_up(settled.waiter, settled.outcome)
        for handler in self._handlers.values():
            handler.cancel()
        self._writable.fire()
        self._sealed.fire()


def _wake_up(waiter: asyncio.Future[Exchange[Any]], outcome: Exchange[Any] | CallError) -> None:
    if waiter.done():
        return  # it was cancelled
    if isinstance(outcome, CallError):
        waiter.set_exception(outcome)
    else:
        waiter.set_result(outcome)


def _ended(closed: Closed) -> Failure:
    message = f"the connection has ended ({closed.fault.meaning}): connect again"
    return Failure(Status.UNAVAILABLE, closed.fault.name, message, Disposition.NOT_PROCESSED)
