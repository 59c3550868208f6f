"""The calls of one peer, both ways: what an adapter gives its events to, and asks and answers through.

They outlive connections. A line that is lost leaves them on their session, where they wait for the next line. A session
that ends fails what it must; who *lasts*, because another connection is coming, goes on with a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, Unpack

from google.protobuf.message import Message

from ratatoskr.connection import Connection, State
from ratatoskr.errors import Failure
from ratatoskr.events import (
    Closed,
    Event,
    GoingAway,
    ItemReceived,
    Opened,
    RequestCancelled,
    RequestExpired,
    RequestFailed,
    RequestId,
    RequestReceived,
    ResponseReceived,
    SessionEnded,
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
from ratatoskr.service.footing import Footing
from ratatoskr.service.handling import CANCELLED, EXPIRED, Handlers
from ratatoskr.service.host import Host
from ratatoskr.service.link import CallOptions
from ratatoskr.service.pending import Exchange
from ratatoskr.service.retry import RetryPolicy
from ratatoskr.service.stream import Stream
from ratatoskr.session import ResumableSession

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)


class Calls:
    """Asks and answers. It is the service's ``PeerLink``.

    Begins with :meth:`stand` on a connection, or with :meth:`wait` on a session that has none yet. The driver of a
    connection gives every event to the ``handle`` of the footing that this returns, and calls :meth:`begin` when poll
    says ``Wait``.

    ``renew`` makes it last: it makes the session for what is asked from then on where one ends, or goes away.
    ``on_rest`` is told of a session without a line when what it holds may have changed, ``on_end`` when all is over.
    """

    def __init__(
        self,
        service: Service,
        host: Host,
        *,
        limits: Limits,
        retry: RetryPolicy,
        renew: Callable[[], ResumableSession] | None = None,
        on_rest: Callable[[ResumableSession], None] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self._host = host
        self._renew = renew
        self._on_rest = on_rest
        self._on_end = on_end
        self._asker = Asker(host, limits, retry, self._move_on)
        self._handlers = Handlers(service, host)
        self._departure = Broadcast(host)
        self._vacancy = Broadcast(host)
        self._peer: VerifiedPeer | None = None
        self._lost: Closed | None = None
        self._given_up = False
        self._opened_at: float | None = None
        self.going_away: bool = False
        """Whether the peer has said that it takes no new requests."""
        self.retention: float | None = None
        """For how many seconds the server keeps outcomes, as it said last; None where it has said nothing."""
        self.on_open: Callable[[], None] | None = None
        """Called whenever a connection has been opened."""

    @property
    def peer(self) -> VerifiedPeer:
        """Who is at the other end; known from the first ``Opened`` on."""
        assert self._peer is not None
        return self._peer

    @property
    def closed(self) -> Closed | None:
        """How it ended, which is how the last connection did; None while it has not."""
        return self._asker.closed

    @property
    def takes_requests(self) -> bool:
        """Whether a call that is made now may still be sent, over this connection or another one that is to come."""
        lasts = self._renew is not None
        return self.closed is None and (lasts or self._asker.footing.at.takes_requests)

    @property
    def connected(self) -> bool:
        """Whether there is an open connection on which requests are made."""
        standing = bool(self._asker.sessions) and self.waiting is None
        return standing and self._asker.footing.connection.state is State.OPEN

    @property
    def waiting(self) -> ResumableSession | None:
        """The session for the next connection, while there is none."""
        return self._asker.footing.waiting

    # Connections come and go

    def stand(self, connection: Connection, wake: Callable[[], None]) -> Footing:
        """Go on over that connection. ``wake`` makes its driver poll, soon: what is said in one turn goes out in one
        flight.
        """
        self._peer = connection.peer or self._peer
        footing = self._asker.footing if self._asker.sessions else self._new_footing()
        footing.stand(connection, wake)
        return footing

    def wait(self) -> None:
        """Make the session for the first connection. For who lasts."""
        assert self._renew is not None
        self._new_footing().wait(self._renew())

    def take_opened(self) -> float | None:
        """When a connection was opened, in seconds of the monotonic clock; None where none was since this was asked."""
        opened_at, self._opened_at = self._opened_at, None
        return opened_at

    def wake(self) -> None:
        """Poll, soon, what the calls stand on."""
        self._asker.footing.wake()

    async def vacancy(self) -> None:
        """Wait until another connection is wanted, or all is over."""
        while self.waiting is None and self.closed is None:
            await self._vacancy.wait()

    def give_up(self, why: Closed) -> None:
        """There will be no other connection, and this is why: where there is none now, tell what becomes of calls."""
        self._renew, self._lost, self._given_up = None, why, True
        self._abandon(self._asker.footing)

    def _abandon(self, footing: Footing) -> None:
        session = footing.waiting
        if session is not None:
            session.abandon()
            footing.wake()

    def _new_footing(self) -> Footing:
        footing = Footing(self._host, self._handle, self._on_rest)
        self._asker.footing = footing
        self._asker.sessions.add(footing)
        return footing

    def _leave(self, footing: Footing) -> None:
        """A session has ended, and its footing with it."""
        footing.end()
        self._handlers.leave(footing)
        self._asker.leave(footing)
        if footing is not self._asker.footing:
            return
        if self._renew is not None:
            self._move_on()
            return
        assert self._lost is not None
        self._asker.close(self._lost)
        self._departure.fire()
        self._vacancy.fire()
        if self._on_end is not None:
            self._on_end()

    # Events

    def _handle(self, footing: Footing, event: Event) -> None:
        match event:
            case RequestReceived():
                self._handlers.arrive(event, footing)
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
            case Opened(peer):
                self._peer = peer
                self._opened_at = self._host.now().mono
                self.retention = footing.connection.retention
                if self.on_open is not None:
                    self.on_open()
            case GoingAway():
                self._depart(footing)
            case Closed() | SessionEnded():
                self._end(footing, event)

    def _depart(self, footing: Footing) -> None:
        """The peer takes no new requests."""
        if footing is not self._asker.footing:
            return
        if self._renew is not None:
            self._move_on()
        else:
            self.going_away = True
            self._departure.fire()

    def _move_on(self) -> None:
        """No new requests are made there. Who lasts makes them in another session, while this one completes."""
        if self._renew is not None:
            self.wait()
            self._vacancy.fire()

    def _end(self, footing: Footing, event: Closed | SessionEnded) -> None:
        if isinstance(event, Closed):
            self._lost = event
            session = footing.connection.session
            if session is not None:
                footing.wait(session)
                self._vacancy.fire()
                if self._given_up or footing is not self._asker.footing:
                    self._abandon(footing)
                return
        elif footing.waiting is None:  # the connection goes on with a new session
            footing.session += 1
            self._handlers.leave(footing)
            self._asker.sealed.fire()
            return
        self._leave(footing)

    def begin(self) -> None:
        """Begin the handlers of all that has arrived."""
        self._handlers.begin(self)

    async def departure(self) -> None:
        """Wait until the peer takes no new requests, or there is no connection any more."""
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
