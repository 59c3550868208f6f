"""Clients: one line to a server, or one after the other for as long as it is wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from ratatoskr.config import Config
from ratatoskr.connection import Connection, new_session
from ratatoskr.errors import Fault
from ratatoskr.events import Closed
from ratatoskr.lines.failed import ConnectFailed
from ratatoskr.lines.line import Line, Milestone
from ratatoskr.lines.peer import Peer
from ratatoskr.lines.runtime import Transport
from ratatoskr.lines.workshop import Workshop
from ratatoskr.service import Attempt, Calls, Reconnecting, Redial, Task
from ratatoskr.service.broadcast import Broadcast
from ratatoskr.session import ResumableSession


class Dialer(Protocol):
    """How to reach one server."""

    @property
    def url(self) -> str:
        """Where it is, for people."""
        ...

    @property
    def config(self) -> Config:
        """Who this side is."""
        ...

    @property
    def server_name(self) -> str:
        """Who the server must prove to be."""
        ...

    async def dial(self) -> Transport:
        """A transport to it. Raises ConnectFailed."""
        ...


class Client:
    """One line, and the peer at its other end."""

    def __init__(self, dialer: Dialer, workshop: Workshop) -> None:
        self.calls: Calls = workshop.calls()
        self._dialer = dialer
        self._workshop = workshop
        self._line: Line | None = None
        self._driving: Task | None = None
        self._milestone = Broadcast(workshop.runtime)

    async def open(self) -> Peer:
        """Connect. Raises ConnectFailed."""
        self._line = line = await _line(self._dialer, self._workshop, self._on_milestone, lambda: None)
        line.carry(self.calls)
        self._driving = self._workshop.runtime.spawn(line.run(), _nothing)
        while not line.opened:
            if line.closed is not None:
                raise ConnectFailed.of(line.closed)
            await self._milestone.wait()
        return Peer(line, self.calls)

    async def end(self) -> None:
        """Cut the line, if it still lives."""
        if self._line is None or self._driving is None:
            return
        self._line.close(drain=False)
        try:
            await self._line.wait_closed()
        except BaseException:
            self._driving.cancel()
            await self._line.wait_closed()
            raise

    def _on_milestone(self, _: Milestone) -> None:
        self._milestone.fire()


class LastingPeer(Peer):
    """The server of a client that connects again by itself."""

    def __init__(self, line: Line, calls: Calls, client: LastingClient) -> None:
        super().__init__(line, calls)
        self._client = client

    async def close(self, *, drain: bool = True, reason: str = "") -> Closed:
        """End it: the line, if there is one, and all trying for another one. Returns how. Idempotent.

        With ``drain``, open calls complete first, for up to ``Limits.drain_timeout``, where there is a line.
        """
        return await self._client.close(drain=drain, reason=reason)

    async def wait_closed(self) -> Closed:
        """Wait until there is no line, and no other is tried for. Returns how that came."""
        return await self._client.wait_closed()


class LastingClient:
    """Lines, one after the other, for the calls of one peer.

    A line that was lost is dialled again where it was, so that its session goes on; otherwise the servers take turns.
    """

    def __init__(self, dialers: Sequence[Dialer], workshop: Workshop, policy: Redial) -> None:
        self._dialers = deque(dialers)
        self._workshop = workshop
        self.calls: Calls = workshop.calls(
            renew=lambda: new_session(dialers[0].config), on_rest=self._on_rest, on_end=self._on_end
        )
        self._reconnecting = Reconnecting(self.calls, workshop.runtime, policy, self._dial)
        self._running: Task | None = None
        self._dialling = False
        self._lines: dict[Line, Task] = {}
        self._line: Line | None = None
        self._peer: LastingPeer | None = None
        self._failed: ConnectFailed | None = None
        self._change = Broadcast(workshop.runtime)
        self.calls.wait()

    async def open(self) -> Peer:
        """Connect, however often that takes. Raises ConnectFailed where no more is tried."""
        self._dialling = True
        self._running = self._workshop.runtime.spawn(self._run(), self._stopped)
        while self._peer is None:
            if not self._dialling:
                assert self._failed is not None
                raise self._failed
            await self._change.wait()
        return self._peer

    async def close(self, *, drain: bool, reason: str = "") -> Closed:
        """Try no more, and end every line."""
        self.calls.give_up(Closed(Fault.ABANDONED, "close", "closed while there was no line"))
        if self._running is not None:
            self._running.cancel()
        for line in self._lines:
            line.close(drain=drain, reason=reason)
        return await self.wait_closed()

    async def wait_closed(self) -> Closed:
        """Wait for the end of it all. Whoever gives up waiting stops nothing."""
        while self._dialling or self._lines or (closed := self.calls.closed) is None:
            await self._change.wait()
        return closed

    async def end(self) -> None:
        """Cut what still lives, and where this is cancelled, at once."""
        try:
            await self.close(drain=False)
        except BaseException:
            for driving in list(self._lines.values()):
                driving.cancel()
            await self.wait_closed()
            raise

    async def _run(self) -> None:
        await self._reconnecting.run()

    def _stopped(self) -> None:
        self._dialling = False
        self._change.fire()

    async def _dial(self) -> Attempt:
        """One line, until another one is wanted."""
        dialer = self._dialers[0]
        try:
            line = await _line(dialer, self._workshop, self._on_milestone, lambda: self.calls.waiting)
        except ConnectFailed as error:
            self._failed = error
            self._dialers.rotate(-1)
            return Attempt(error.fault, str(error), advice=error.retry_delay)
        self._drive(line)
        await self.calls.vacancy()
        if not line.going_away:
            await line.wait_closed()
        closed = line.closed
        if line.going_away or not line.opened:
            self._dialers.rotate(-1)
        if closed is None:
            return Attempt(Fault.GOING_AWAY, f"{dialer.url} takes no new requests", going_away=True)
        self._failed = failed = ConnectFailed.of(closed)
        return Attempt(closed.fault, f"{dialer.url}: {failed}", line.going_away, failed.retry_delay)

    def _drive(self, line: Line) -> None:
        over = False

        def ended() -> None:
            nonlocal over
            over = True
            self._lines.pop(line, None)
            self._change.fire()

        self._line = line
        line.carry(self.calls)
        driving = self._workshop.runtime.spawn(line.run(), ended)
        if not over:
            self._lines[line] = driving

    def _on_milestone(self, milestone: Milestone) -> None:
        line = self._line
        if isinstance(milestone, Closed) or line is None:
            return
        if self._peer is None:
            self._peer = LastingPeer(line, self.calls, self)
        self._peer.move(line)
        self._change.fire()

    def _on_rest(self, session: ResumableSession) -> None:
        if session.queued:
            self._reconnecting.asked()

    def _on_end(self) -> None:
        self._change.fire()


async def _line(
    dialer: Dialer,
    workshop: Workshop,
    on_milestone: Callable[[Milestone], None],
    session: Callable[[], ResumableSession | None],
) -> Line:
    """A line that nobody drives yet. ``session`` is asked for once there is a transport. Raises ConnectFailed."""
    transport = await dialer.dial()
    connection = Connection.client(dialer.config, server_name=dialer.server_name, session=session())
    return Line(connection, transport, workshop.runtime, on_milestone)


def _nothing() -> None:
    """Who drives a line tells its end by itself."""
