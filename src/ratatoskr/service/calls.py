"""The calls of one connection, both ways: what an adapter gives its events to, and asks and answers through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, Unpack

from google.protobuf.message import Message

from ratatoskr.connection import Connection
from ratatoskr.errors import Failure
from ratatoskr.events import (
    Closed,
    Event,
    GoingAway,
    ItemReceived,
    RequestCancelled,
    RequestExpired,
    RequestFailed,
    RequestId,
    RequestReceived,
    ResponseReceived,
    SpanSealed,
    StreamEnded,
    Writable,
)
from ratatoskr.identity import VerifiedPeer
from ratatoskr.limits import Limits
from ratatoskr.messages import Kind, Receipt
from ratatoskr.service.asking import Asker
from ratatoskr.service.broadcast import Broadcast
from ratatoskr.service.dispatch import Service
from ratatoskr.service.handling import CANCELLED, EXPIRED, Handlers
from ratatoskr.service.host import Host
from ratatoskr.service.link import CallOptions
from ratatoskr.service.pending import Exchange
from ratatoskr.service.retry import RetryPolicy
from ratatoskr.service.stream import Stream

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)


class Calls:
    """Asks and answers over one connection. It is the service's ``PeerLink``.

    ``wake`` makes the connection's driver poll, soon: what is said in one turn goes out in one flight. The driver gives
    every event to :meth:`handle`, and calls :meth:`begin` when poll says ``Wait``.
    """

    def __init__(
        self,
        connection: Connection,
        service: Service,
        host: Host,
        wake: Callable[[], None],
        *,
        limits: Limits,
        retry: RetryPolicy,
    ) -> None:
        self._connection = connection
        self._asker = Asker(connection, host, wake, limits, retry)
        self._handlers = Handlers(connection, service, host, wake)
        self._departure = Broadcast(host)
        self.going_away: bool = False
        """Whether the peer has said that it takes no new requests."""

    @property
    def peer(self) -> VerifiedPeer:
        """Who is at the other end; known from ``Opened`` on."""
        peer = self._connection.peer
        assert peer is not None
        return peer

    @property
    def closed(self) -> Closed | None:
        """How the connection ended; None while it has not."""
        return self._asker.closed

    def handle(self, event: Event) -> None:
        """Take note of an event; those that concern no call are ignored."""
        match event:
            case RequestReceived():
                self._handlers.arrive(event)
            case ResponseReceived() | StreamEnded() | RequestFailed():
                self._asker.settle(event)
            case ItemReceived():
                self._asker.item(event)
            case RequestCancelled(id):
                self._handlers.stop(id, CANCELLED)
            case RequestExpired(id):
                self._handlers.stop(id, EXPIRED)
            case SpanSealed():
                self._asker.sealed.fire()
            case Writable(None):
                self._asker.turns.next()
            case Writable(RequestId() as id):
                self._handlers.has_room(id)
            case GoingAway():
                self.going_away = True
                self._departure.fire()
            case Closed():
                self._asker.close(event)
                self._handlers.close()
                self._departure.fire()

    def begin(self) -> None:
        """Begin the handlers of all that has arrived."""
        self._handlers.begin(self)

    async def departure(self) -> None:
        """Wait until the peer takes no new requests, or the connection has ended."""
        while not (self.going_away or self.closed):
            await self._departure.wait()

    # PeerLink

    def respond(self, id: RequestId, message: Message | None = None, *, replayed: bool = False) -> None:
        """Answer a request of the peer's."""
        self._handlers.respond(id, message, replayed=replayed)

    def fail(self, id: RequestId, failure: Failure, *, replayed: bool = False) -> None:
        """End a request of the peer's without an answer."""
        self._handlers.fail(id, failure, replayed=replayed)

    async def send(self, id: RequestId, item: Message) -> None:
        """Send an item of a stream that the peer asked for."""
        await self._handlers.send(id, item)

    async def exchange(self, kind: Kind[Req, Res], message: Req, **options: Unpack[CallOptions]) -> Exchange[Res]:
        """Ask, and wait for the outcome."""
        return await self._asker.exchange(kind, message, **options)

    def stream(
        self, kind: Kind[Req, Res], message: Req, *, credit: int | None = None, **options: Unpack[CallOptions]
    ) -> Stream[Res]:
        """Ask for a stream."""
        return self._asker.stream(kind, message, credit=credit, **options)

    async def receipt(self, exchange: Exchange[Any]) -> Receipt:
        """The receipt of an answer, once its seal has come."""
        return await self._asker.receipt(exchange)
