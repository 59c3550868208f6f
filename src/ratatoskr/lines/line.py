"""A line: one transport with its Connection, from the first byte to the last. What clients and servers work with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ratatoskr.connection import Connection
from ratatoskr.errors import Failure, FaultClass
from ratatoskr.events import Closed, ConnectionRequested, Event, GoingAway, Opened, SessionEnded, Stalled
from ratatoskr.lines.driver import Driver
from ratatoskr.lines.failed import reference_text
from ratatoskr.lines.runtime import Runtime, Transport
from ratatoskr.service import Calls, Footing, Level, Note
from ratatoskr.service.broadcast import Broadcast
from ratatoskr.session import ResumableSession

Milestone: TypeAlias = ConnectionRequested | Opened | Closed


class Line:
    """A connection on its way. ``on_milestone`` gets what its owner decides about or waits for; it must not raise."""

    def __init__(
        self,
        connection: Connection,
        transport: Transport,
        runtime: Runtime,
        on_milestone: Callable[[Milestone], None],
    ) -> None:
        self.connection: Connection = connection
        self.address: str = transport.address
        """Where the other end is, for people."""
        self.closed: Closed | None = None
        """How it ended; None while it has not."""
        self.going_away: bool = False
        """Whether the other end takes no new requests."""
        self.opened: bool = False
        """Whether it ever was open."""
        self._runtime = runtime
        self._driver = Driver(connection, transport, runtime, self._on_event, self._on_wait)
        self._on_milestone = on_milestone
        self._over = False
        self._end = Broadcast(runtime)
        self._calls: Calls | None = None
        self._footing: Footing | None = None

    def carry(self, calls: Calls) -> None:
        """From now on these calls go over this line."""
        self._calls = calls
        self._footing = calls.stand(self.connection, self._driver.wake)

    @property
    def calls(self) -> Calls | None:
        """The calls that go over this line; None before a server knows which."""
        return self._calls

    def wake(self) -> None:
        """Poll soon."""
        self._driver.wake()

    async def run(self) -> None:
        """Drive it to its end. Cancelling this cuts the transport."""
        try:
            await self._driver.run()
        finally:
            self._over = True
            self._end.fire()

    def accept(self, session: ResumableSession | None) -> Connection | None:
        """Let the client in, to go on with that session if it may. Returns the connection that it was on until now."""
        before = self.connection.accept(session=session)
        self._driver.wake()
        return before

    def reject(self, failure: Failure) -> None:
        """Send the client away."""
        self.connection.reject(failure)
        self._driver.wake()

    def close(self, *, drain: bool, reason: str = "") -> None:
        """Begin to end it."""
        self.connection.close(drain=drain, reason=reason)
        self._driver.wake()

    async def wait_closed(self) -> Closed:
        """Wait until it has ended and the transport with it."""
        while not self._over:
            await self._end.wait()
        assert self.closed is not None
        return self.closed

    def _on_wait(self) -> None:
        if self._calls is not None:
            self._calls.begin()

    def _on_event(self, event: Event) -> None:
        self._take_note(event)
        if isinstance(event, ConnectionRequested | Opened | Closed):
            self._on_milestone(event)
        if self._footing is not None:
            self._footing.handle(self.connection, event)

    def _take_note(self, event: Event) -> None:
        match event:
            case Opened(peer):
                self.opened = True
                what = "resumed" if event.resumed else "opened"
                self._log(Level.INFO, what, f"{peer.subject} ({peer.role.name}) at {self.address}")
            case Stalled(seconds):
                text = f"the event loop was blocked for {seconds:.1f} s; {self.address} had to wait"
                self._log(Level.WARNING, "stalled", text)
            case SessionEnded(_, fault):
                self._log(Level.WARNING, "session ended", f"{self.address}: {fault.meaning}")
            case GoingAway(reason):
                self.going_away = True
                self._log(Level.INFO, "going away", f"{self.address}: {reason!r}")
            case Closed():
                self.closed = event
                self._log_end(event)
            case _:
                pass

    def _log_end(self, closed: Closed) -> None:
        peer = self.connection.peer
        who = f"{peer.subject} ({peer.role.name}) at {self.address}" if peer is not None else self.address
        fault = closed.fault
        if closed.reference:
            self._runtime.log(
                Note(
                    Level.WARNING,
                    "refused",
                    f"{who}: [{closed.rule}] {closed.detail}",
                    reference_text(closed.reference),
                )
            )
        elif closed.failure is not None:
            self._log(Level.WARNING, "rejected", f"{who}: {closed.failure}")
        else:
            level = Level.WARNING if fault.cls is FaultClass.SESSION else Level.INFO
            what = "closed" if self.opened else "ended before it was open"
            self._log(level, what, f"{who}: {fault.name} [{closed.rule}] {closed.detail}")

    def _log(self, level: Level, event: str, text: str) -> None:
        self._runtime.log(Note(level, event, text))
