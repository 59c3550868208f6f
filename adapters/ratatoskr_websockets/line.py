"""A line: one WebSocket with its Connection, from the first byte to the last. What connect and serve work with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from websockets.asyncio.connection import Connection as WebSocket

from ratatoskr import (
    Closed,
    Connection,
    ConnectionRequested,
    Event,
    Failure,
    FaultClass,
    GoingAway,
    Opened,
    ResumableSession,
    SessionEnded,
    Stalled,
)
from ratatoskr.service import Calls, Footing
from ratatoskr_websockets.driver import Driver
from ratatoskr_websockets.errors import reference_text
from ratatoskr_websockets.host import LOGGER, AsyncioHost

Milestone = ConnectionRequested | Opened | Closed


class Line:
    """A connection on its way. ``on_milestone`` gets what its owner decides about or waits for; it must not raise."""

    def __init__(
        self,
        connection: Connection,
        websocket: WebSocket,
        host: AsyncioHost,
        on_milestone: Callable[[Milestone], None],
    ) -> None:
        self.connection = connection
        self.address = readable(websocket.remote_address)
        self.closed: Closed | None = None
        """How it ended; None while it has not."""
        self.going_away = False
        """Whether the other end takes no new requests."""
        self._driver = Driver(connection, websocket, host.now, self._on_event, self._on_wait)
        self._on_milestone = on_milestone
        self.opened = False
        """Whether it ever was open."""
        self._over = asyncio.Event()
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
            self._over.set()

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
        await self._over.wait()
        assert self.closed is not None
        return self.closed

    def _on_wait(self) -> None:
        if self._calls is not None:
            self._calls.begin()

    def _on_event(self, event: Event) -> None:
        self._note(event)
        if isinstance(event, ConnectionRequested | Opened | Closed):
            self._on_milestone(event)
        if self._footing is not None:
            self._footing.handle(self.connection, event)

    def _note(self, event: Event) -> None:
        match event:
            case Opened(peer):
                self.opened = True
                what = "resumed" if event.resumed else "opened"
                LOGGER.info("%s: %s (%s) at %s", what, peer.subject, peer.role.name, self.address)
            case Stalled(seconds):
                LOGGER.warning("stalled: the event loop was blocked for %.1f s; %s had to wait", seconds, self.address)
            case SessionEnded(_, fault):
                LOGGER.warning("the session with %s ended: %s", self.address, fault.meaning)
            case GoingAway(reason):
                self.going_away = True
                LOGGER.info("going away: %s: %r", self.address, reason)
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
            LOGGER.warning(
                "refused (ref %s): %s: [%s] %s", reference_text(closed.reference), who, closed.rule, closed.detail
            )
        elif closed.failure is not None:
            LOGGER.warning("rejected: %s: %s", who, closed.failure)
        else:
            level = logging.WARNING if fault.cls is FaultClass.SESSION else logging.INFO
            what = "closed" if self.opened else "ended before it was open"
            LOGGER.log(level, "%s: %s: %s [%s] %s", what, who, fault.name, closed.rule, closed.detail)


def readable(address: object) -> str:
    """A socket's address for people."""
    match address:
        case (str() as host, int() as port, *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return str(address or "a local socket")
