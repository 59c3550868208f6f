"""Pair: a client's and a server's Connection, a link between them, and one clock. No thread, no socket, no sleep.

::

    pair = Pair(authority)
    pair.open()
    id = pair.client.connection.request(MARKETPLACE_SEARCH, Search(query="seeds"))
    pair.run()
    request = pair.server.take(RequestReceived)
    pair.server.connection.respond(request.id, SearchResult())
    pair.run()
    assert pair.client.take(ResponseReceived).id is id

A lost line, and a new one on which the same session goes on, where both configurations have a ``session_timeout``::

    pair.cut()
    pair.run()
    pair.reconnect()
    pair.open()
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TypeVar

from ratatoskr.config import Config
from ratatoskr.connection import Connection
from ratatoskr.events import Closed, ConnectionRequested, Disconnect, Event, Opened, Transmit, Wait
from ratatoskr.session import ResumableSession
from ratatoskr.testing.authority import SERVER_NAME, Authority
from ratatoskr.testing.clock import Clock
from ratatoskr.testing.link import Link

E = TypeVar("E")

MAX_TURNS = 1_000_000
"""More is a loop without end."""


class End:
    """One side: its connection, the link that it writes to, and the events that it saw."""

    def __init__(self, name: str, connection: Connection, link: Link) -> None:
        self.name = name
        self.connection: Connection = connection
        self.link: Link = link
        self.events: list[Event] = []
        """Events that no :meth:`take` has taken yet, in order."""
        self.on_event: Callable[[Event], bool] | None = None
        """Called with each event; returns True where it has dealt with it, and it is not kept then."""
        self.holds_writes: bool = False
        """While true, ``sent()`` is not called: the driver's write blocks."""
        self.waits_until: float = -inf
        self.unsent: bool = False
        """Whether a Transmit was written while ``holds_writes``."""
        self.closed: Closed | None = None
        """The last event, once it has come, whether or not it was taken."""
        self.waiting: ResumableSession | None = None
        """A session without a transport, that a new connection may go on with."""

    def renew(self, connection: Connection, link: Link) -> None:
        """A new transport, with nothing in it. The events that were kept stay."""
        self.waiting = self.connection.session or self.waiting
        self.connection, self.link = connection, link
        self.holds_writes = self.unsent = False
        self.waits_until = -inf
        self.closed = None

    @property
    def detached(self) -> ResumableSession | None:
        """The session, while it has no transport and is to be polled itself."""
        session = self.connection.session if self.closed is not None else self.waiting
        return session if session is not None and session.transport is None else None

    def take(self, cls: type[E]) -> E:
        """Remove and return the first kept event of that class. AssertionError names what there was instead."""
        for at, event in enumerate(self.events):
            if isinstance(event, cls):
                del self.events[at]
                return event
        raise AssertionError(f"the {self.name} saw no {cls.__name__}; it saw {self.events}")

    def seen(self, cls: type[E]) -> list[E]:
        """All kept events of that class."""
        return [event for event in self.events if isinstance(event, cls)]


class Pair:
    """Both ends and what is between them. ``accept=False`` leaves ``ConnectionRequested`` to the test."""

    def __init__(
        self,
        authority: Authority | None = None,
        *,
        client: Config | None = None,
        server: Config | None = None,
        server_name: str = SERVER_NAME,
        latency: float = 0.0,
        chunk: int | None = None,
        accept: bool = True,
        clock: Clock | None = None,
    ) -> None:
        authority = authority or Authority()
        self.clock: Clock = clock or Clock()
        self.server_name = server_name
        self.sessions: dict[bytes, ResumableSession] = {}
        """What the server goes on with where a client asks for it, by id."""
        self.replaced: list[End] = []
        """The server's ends of transports whose session went on over another one while they lived."""
        self._latency, self._chunk = latency, chunk
        self._client_config = client or authority.client_config()
        self._server_config = server or authority.server_config(server_name)
        self.client: End = End(
            "client", Connection.client(self._client_config, server_name=server_name), self._new_link()
        )
        self.server: End = End("server", Connection.server(self._server_config), self._new_link())
        if accept:
            self.server.on_event = self._accept

    def _new_link(self) -> Link:
        return Link(latency=self._latency, chunk=self._chunk)

    def _accept(self, event: Event) -> bool:
        if isinstance(event, ConnectionRequested):
            self.server.connection.accept(session=self.sessions.get(event.resume))
            return True
        return False

    def reconnect(self, *, client: Config | None = None, server: Config | None = None) -> None:
        """A new transport, on which the client asks to go on with its session, if it has one. ``open()`` follows.

        Where the server has not noticed the loss of the old one, that lives on until its session is taken from it.
        """
        client = client or self._client_config
        connection = Connection.client(client, server_name=self.server_name, session=self.client.connection.session)
        self._client_config, self._server_config = client, server or self._server_config
        if self.server.closed is None:
            left = End("server", self.server.connection, self.server.link)
            left.events = self.server.events
            self.replaced.append(left)
        self.client.renew(connection, self._new_link())
        self.server.renew(Connection.server(self._server_config), self._new_link())

    def open(self) -> None:
        """Run until both ends are open, and take their ``Opened``. No more time passes than that takes."""
        ends = (self.client, self.server)
        self.run_until(lambda: all(end.seen(Opened) or end.closed for end in ends))
        for end in ends:
            end.take(Opened)

    def run(self, seconds: float = 0.0) -> None:
        """Let everything happen that happens within ``seconds`` from now."""
        self._run(seconds, lambda: False)

    def run_until(self, done: Callable[[], object], *, within: float = 60.0) -> None:
        """Let things happen until ``done()`` is true. AssertionError where ``within`` seconds are not enough."""
        if not self._run(within, done):
            seen = "; ".join(
                f"the {end.name} is {end.connection.state.name} and saw {end.events}"
                for end in (self.client, self.server)
            )
            raise AssertionError(f"not within {within} s: {seen}")

    def _run(self, seconds: float, done: Callable[[], object]) -> bool:
        end = self.clock.now.mono + seconds
        for _ in range(MAX_TURNS):
            if done():
                return True
            if self._turn():
                continue
            ahead = self._next_at()
            if ahead > end:
                self.clock.advance(max(0.0, end - self.clock.now.mono))
                return False
            self.clock.advance(max(0.0, ahead - self.clock.now.mono))
        raise AssertionError(f"the pair did not come to rest in {MAX_TURNS} turns")

    def cut(self) -> None:
        """The transport breaks, both ways, and both ends notice."""
        self.client.link.cut()
        self.server.link.cut()

    @property
    def next_in(self) -> float:
        """Seconds until something happens by itself; infinity where nothing will."""
        return max(0.0, self._next_at() - self.clock.now.mono)

    def _next_at(self) -> float:
        ends = (self.client, self.server, *self.replaced)
        return min(*(end.waits_until for end in ends), *(end.link.next_at for end in ends))

    def _turn(self) -> bool:
        """Drive both ends once. True where anything moved."""
        moved = self._drive(self.client)
        moved = self._drive(self.server) or moved
        for end in self.replaced:
            moved = self._drive(end) or moved
        moved = self._deliver(self.client, self.server) or moved
        return self._deliver(self.server, self.client) or moved

    def _deliver(self, writer: End, reader: End) -> bool:
        moved = False
        while writer.link.next_at <= self.clock.now.mono:
            moved = True
            data = writer.link.read()
            if data is None:
                reader.connection.receive_eof()
                reader.link.end(self.clock.now.mono)
            else:
                reader.connection.receive(data)
                self._drive(reader)
        return moved

    def _drive(self, end: End) -> bool:
        moved = False
        if end.unsent and not end.holds_writes:
            end.unsent = False
            end.connection.sent()
        end.waits_until = inf
        moved = self._exhaust(end, end.connection) or moved
        session = end.detached
        return (session is not None and self._exhaust(end, session)) or moved

    def _exhaust(self, end: End, source: Connection | ResumableSession) -> bool:
        """Poll until ``Wait``. True where anything came before it."""
        moved = False
        while not isinstance(output := source.poll(self.clock.now), Wait):
            moved = True
            self._act(end, output)
        end.waits_until = min(end.waits_until, output.until)
        return moved

    def _act(self, end: End, output: Transmit | Disconnect | Event) -> None:
        now = self.clock.now.mono
        if isinstance(output, Transmit):
            end.link.write(output.data, now)
            if end.holds_writes:
                end.unsent = True
            else:
                end.connection.sent()
        elif isinstance(output, Disconnect):
            end.link.end(now)
            end.connection.receive_eof()
        else:
            session = end.connection.session
            if isinstance(output, Closed):
                end.closed = output
            elif isinstance(output, Opened) and end is self.server and session is not None:
                self.sessions[session.session_id] = session
            if end.on_event is None or not end.on_event(output):
                end.events.append(output)
