"""A client whose calls outlive their lines, the servers that it finds, and lines that a test cuts, in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from math import inf
from typing import Any, TypeVar

from ratatoskr.channel import XX_AESGCM
from ratatoskr.config import Config
from ratatoskr.connection import Connection, new_session
from ratatoskr.errors import Fault
from ratatoskr.events import Closed, ConnectionRequested, Disconnect, Event, GoingAway, Opened, Transmit, Wait
from ratatoskr.limits import Limits
from ratatoskr.service import (
    NO_RETRIES,
    Attempt,
    Calls,
    Footing,
    MemoryStore,
    OnceStore,
    Reconnecting,
    Redial,
    RetryPolicy,
    Router,
    Service,
)
from ratatoskr.session import ResumableSession, SessionTable
from ratatoskr.testing.authority import SERVER_NAME
from ratatoskr.testing.clock import Clock, seeded
from ratatoskr.testing.link import Link
from tests.unit.service.lines import KINDS, Hands, Strand
from tests.unit.service.support import AUTHORITY

T = TypeVar("T")

DEVICE = AUTHORITY.device("lasting")
PLATFORM = AUTHORITY.server(SERVER_NAME)
KEPT = 60.0
"""How long sessions wait, in seconds."""
SOON = Redial(first_delay=1.0, longest_delay=8.0, spread=8.0, session_timeout=KEPT)


def client_config(limits: Limits | None = None, *, session_timeout: float = KEPT) -> Config:
    return AUTHORITY.client_config(
        DEVICE, kinds=KINDS, limits=limits, suites=(XX_AESGCM,), session_timeout=session_timeout
    )


class End:
    """One end of a line: its connection, and the driver that polls it."""

    def __init__(self, world: World, connection: Connection, on_event: Callable[[End, Event], None]) -> None:
        self.connection = connection
        self.link = Link()
        self.calls: Calls | None = None
        self.footing: Footing | None = None
        self.closed: Closed | None = None
        self.over = world.host.signal()
        self.going_away = False
        self.awake = True
        self.until = inf
        self.ends_at = inf
        """When the transport ends that was told to."""
        self._world = world
        self._on_event = on_event

    def carry(self, calls: Calls) -> None:
        self.calls = calls
        self.footing = calls.stand(self.connection, self.wake)

    def wake(self) -> None:
        self.awake = True

    def close(self, *, drain: bool = True) -> None:
        self.connection.close(drain=drain)
        self.wake()

    def fault(self) -> Fault | None:
        """How the connection ended; None while it has not."""
        return None if self.closed is None else self.closed.fault

    def drive(self) -> bool:
        """Poll until ``Wait``, where there is a reason to."""
        now = self._world.clock.now
        if self.ends_at <= now.mono:
            self.ends_at, self.awake = inf, True
            self.connection.receive_eof()
        if not self.awake and self.until > now.mono:
            return False
        self.awake = False
        while True:
            match self.connection.poll(now):
                case Wait(until):
                    self.until = until
                    if self.calls is not None:
                        self.calls.begin()
                    return True
                case Transmit(data):
                    self.link.write(data, now.mono)
                    self.connection.sent()
                case Disconnect():
                    self.link.end(now.mono)
                    self.ends_at = now.mono + self._world.closing_takes
                case event:
                    self.tell(event)

    def tell(self, event: Event) -> None:
        if isinstance(event, Closed):
            self.closed = event
        self.going_away = self.going_away or isinstance(event, GoingAway)
        self._on_event(self, event)
        if self.footing is not None:
            self.footing.handle(self.connection, event)
        if isinstance(event, Closed):
            self.over.set()


class Line:
    """Two ends, and what is between them."""

    def __init__(self, client: End, server: End) -> None:
        self.client = client
        self.server = server

    def cut(self) -> None:
        """Both ends notice."""
        self.client.link.cut()
        self.server.link.cut()

    def cut_client(self) -> None:
        """The client alone notices."""
        self.client.link.lost = True
        self.server.link.cut()

    def drop(self) -> None:
        """Nobody notices: what is written disappears."""
        self.client.link.lost = self.server.link.lost = True

    def move(self, now: float) -> bool:
        moved = self._deliver(self.client, self.server, now)
        moved = self._deliver(self.server, self.client, now) or moved
        return moved or self.client.drive() or self.server.drive()

    def _deliver(self, writer: End, reader: End, now: float) -> bool:
        moved = False
        while writer.link.next_at <= now:
            moved = True
            data = writer.link.read()
            if data is None:
                reader.connection.receive_eof()
            else:
                reader.connection.receive(data)
            reader.wake()
            reader.drive()
        return moved

    @property
    def next_at(self) -> float:
        return min(each for end in (self.client, self.server) for each in (end.link.next_at, end.until, end.ends_at))


class Platform:
    """A server, as far as it keeps sessions."""

    def __init__(
        self,
        world: World,
        router: Router,
        *,
        store: OnceStore | None = None,
        table: SessionTable | None = None,
        limits: Limits | None = None,
        retry: RetryPolicy = NO_RETRIES,
        session_timeout: float = KEPT,
    ) -> None:
        self.service = Service(router, host=world.host, store=MemoryStore() if store is None else store)
        self.config = AUTHORITY.server_config(
            identity=PLATFORM, kinds=KINDS, limits=limits, suites=(XX_AESGCM,), session_timeout=session_timeout
        )
        self.table = SessionTable() if table is None else table
        self.kept: dict[bytes, Calls] = {}
        self.ends: list[End] = []
        self.closing = False
        self._world = world
        self._retry = retry

    def end(self) -> End:
        end = End(self._world, Connection.server(self.config), self._on_event)
        self.ends.append(end)
        return end

    def close(self) -> None:
        """Say goodbye to all, and let nobody in."""
        self.closing = True
        for end in self.ends:
            end.close()

    def _on_event(self, end: End, event: Event) -> None:
        if isinstance(event, ConnectionRequested):
            self._decide(end, event.resume)
        elif isinstance(event, Opened):
            session = end.connection.session
            if end.calls is None:
                end.carry(self._new_calls(session))
            if session is not None:
                self.table.enter(session)

    def _decide(self, end: End, id: bytes) -> None:
        calls, session = self.kept.get(id), self.table.find(id)
        before = end.connection.accept(session=session)
        if calls is not None and session is not None and end.connection.session is session:
            end.carry(calls)
        for each in self.ends:
            if each.connection is before:
                each.wake()

    def _new_calls(self, session: ResumableSession | None) -> Calls:
        def forget() -> None:
            if session is not None:
                self.table.leave(session)
                self.kept.pop(session.session_id)

        calls = Calls(
            self.service,
            self._world.host,
            limits=self.config.limits,
            retry=self._retry,
            on_rest=self._make_room,
            on_end=forget,
        )
        if session is not None:
            self.kept[session.session_id] = calls
        return calls

    def _make_room(self, session: ResumableSession) -> None:
        if self.closing:
            session.abandon()
        for each in self.table.wait(session):
            self.kept[each.session_id].wake()


class World:
    """A client that redials, and the platform that it finds; None where it finds none."""

    def __init__(
        self,
        router: Router | None = None,
        *,
        answers: Router | None = None,
        limits: Limits | None = None,
        retry: RetryPolicy = NO_RETRIES,
        policy: Redial = SOON,
        eager: bool = False,
        seed: int = 0,
        found: bool = True,
        dial: Callable[[World], Awaitable[Attempt]] | None = None,
        **platform: Any,
    ) -> None:
        self.clock = Clock()
        self.host = Hands(self.clock, eager=eager)
        self.lines: list[Line] = []
        self.closing_takes = 0.0
        """Seconds from when a transport is told to end until it has."""
        self.router = router or Router()
        self._options = platform
        self.limits = limits
        self.platform: Platform | None = None
        self.away: Platform | None = None
        """The one that the client cannot find now."""
        if found:
            self.start_platform()
        self.config = client_config(limits, session_timeout=policy.session_timeout)
        self.opened: list[Opened] = []
        self.dialled: list[float] = []
        """When it dialled."""
        self.ended = 0
        """How often it was told that all is over."""
        self.calls = Calls(
            Service(answers or Router(), host=self.host),
            self.host,
            limits=self.config.limits,
            retry=retry,
            renew=lambda: new_session(self.config),
            on_rest=self._on_rest,
            on_end=self._on_end,
        )
        self.host.entropy = seeded(f"redial {seed}")
        self.reconnecting = Reconnecting(
            self.calls, self.host, policy, self._dial if dial is None else lambda: dial(self)
        )
        self.calls.wait()
        self.running = self.start(self.reconnecting.run())

    # The network

    def start_platform(self, **changes: Any) -> Platform:
        """Another one, that knows nothing of earlier ones but their store."""
        self.platform = Platform(self, self.router, limits=self.limits, **{**self._options, **changes})
        return self.platform

    @property
    def line(self) -> Line:
        """The latest."""
        return self.lines[-1]

    async def _dial(self) -> Attempt:
        self.dialled.append(self.clock.now.mono)
        platform = self.platform
        if platform is None or platform.closing:
            return Attempt(Fault.TRANSPORT_LOST, "nobody listens")
        connection = Connection.client(self.config, server_name=SERVER_NAME, session=self.calls.waiting)
        line = Line(End(self, connection, self._on_event), platform.end())
        self.lines.append(line)
        line.client.carry(self.calls)
        await self.calls.vacancy()
        if not line.client.going_away:
            await line.client.over.wait()
        closed = line.client.closed
        if closed is None:
            return Attempt(Fault.GOING_AWAY, "goodbye", going_away=True)
        return Attempt(closed.fault, closed.detail, line.client.going_away)

    def _on_event(self, end: End, event: Event) -> None:
        if isinstance(event, Opened):
            self.opened.append(event)

    def _on_rest(self, session: ResumableSession) -> None:
        if session.queued:
            self.reconnecting.asked()

    def _on_end(self) -> None:
        self.ended += 1

    # Time

    def settle(self) -> None:
        """Let happen what happens now."""
        moved = True
        while moved:
            moved = False
            for line in list(self.lines):
                moved = line.move(self.clock.now.mono) or moved
            moved = self.host.turn() or moved

    def run(self, seconds: float) -> None:
        """Let happen what happens within so many seconds."""
        end = self.clock.now.mono + seconds
        self.settle()
        while (at := min([self.host.next_in + self.clock.now.mono, *(each.next_at for each in self.lines)])) <= end:
            self.clock.advance(max(0.0, at - self.clock.now.mono))
            self.settle()
        self.clock.advance(max(0.0, end - self.clock.now.mono))
        self.settle()

    # The program

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> Strand:
        """Something that the program does; it takes its first step at once."""
        strand = Strand(coroutine)
        self.host.strands.append(strand)
        strand.step()
        return strand

    def lose(self) -> None:
        """The line is cut, and there is no platform for now; both ends have noticed."""
        self.platform, self.away = None, self.platform
        self.line.cut()
        self.settle()

    def find_again(self, seconds: float = 20.0) -> None:
        """The platform is there again, and the client has found it."""
        self.platform = self.away
        self.run(seconds)

    @property
    def server(self) -> Calls:
        """The server's end of the calls, whether the client finds it now or not."""
        platform = self.platform or self.away
        assert platform is not None
        (calls,) = platform.kept.values()
        return calls

    def fault(self) -> Fault | None:
        """How it all ended; None while it has not."""
        closed = self.calls.closed
        return None if closed is None else closed.fault

    def at_rest(self) -> bool:
        """Whether nothing is left of any call at either end."""
        self.run(1.0)
        asker, handlers = self.calls._asker, self.calls._handlers
        mine = [asker.pending, asker.turns, handlers._arrived, handlers._running, handlers._rooms, handlers._footings]
        theirs: list[Any] = []
        for each in self.platform.kept.values() if self.platform is not None else ():
            served = each._handlers
            theirs += [served._arrived, served._running, served._rooms, served._footings, each._asker.pending]
        return not any(map(len, [*mine, *theirs]))
