"""A line: one WebSocket with its Connection, from the first byte to the last. What connect and serve work with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from websockets.asyncio.connection import Connection as WebSocket

from ratatoskr import Closed, Connection, ConnectionRequested, Event, Failure, FaultClass, GoingAway, Opened, Stalled
from ratatoskr_websockets.driver import Driver
from ratatoskr_websockets.errors import reference_text
from ratatoskr_websockets.host import LOGGER
from ratatoskr_websockets.workshop import Workshop

Milestone = ConnectionRequested | Opened | Closed


class Line:
    """A connection on its way. ``on_milestone`` gets what its owner decides about or waits for; it must not raise."""

    def __init__(
        self,
        connection: Connection,
        websocket: WebSocket,
        workshop: Workshop,
        on_milestone: Callable[[Milestone], None],
    ) -> None:
        self.connection = connection
        self.address = readable(websocket.remote_address)
        self._driver = Driver(connection, websocket, workshop.host.now, self._on_event, self._on_wait)
        self.calls = workshop.calls(connection, self._driver.wake)
        self._on_milestone = on_milestone
        self._opened = False
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Drive it to its end. Cancelling this cuts the transport."""
        try:
            await self._driver.run()
        finally:
            self._over.set()

    def accept(self) -> None:
        """Let the client in."""
        self.connection.accept()
        self._driver.wake()

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
        closed = self.calls.closed
        assert closed is not None
        return closed

    def _on_wait(self) -> None:
        self.calls.begin()

    def _on_event(self, event: Event) -> None:
        self.calls.handle(event)
        match event:
            case Opened(peer):
                self._opened = True
                LOGGER.info("opened: %s (%s) at %s", peer.subject, peer.role.name, self.address)
            case Stalled(seconds):
                LOGGER.warning("stalled: the event loop was blocked for %.1f s; %s had to wait", seconds, self.address)
            case GoingAway(reason):
                LOGGER.info("going away: %s: %r", self.address, reason)
            case Closed():
                self._log_end(event)
        if isinstance(event, ConnectionRequested | Opened | Closed):
            self._on_milestone(event)

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
            what = "closed" if self._opened else "ended before it was open"
            LOGGER.log(level, "%s: %s: %s [%s] %s", what, who, fault.name, closed.rule, closed.detail)


def readable(address: object) -> str:
    """A socket's address for people."""
    match address:
        case (str() as host, int() as port, *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return str(address or "a local socket")
