"""The guard: what a WebSocket may cost before the protocol begins, and beside it.

What records may cost the core knows. Beside them there are WebSocket pings, each of which the library answers, and
empty messages; a bucket charges both (:class:`Meter`). Before them there are connections that have proved nothing yet;
a :class:`Gate` counts them, in all and for each address.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection as WebSocket
from websockets.asyncio.server import ServerConnection
from websockets.frames import DATA_OPCODES, Frame
from websockets.http11 import Request, Response

from ratatoskr import Limits
from ratatoskr_websockets.names import LOGGER


class Gate:
    """Connections that have not proved who they are, from the first byte of their transport on."""

    def __init__(self, limit: int, per_address: int) -> None:
        self._limit = limit
        self._per_address = per_address
        self._pending: dict[WebSocket, str] = {}
        self._addresses: Counter[str] = Counter()
        self._closed = False

    def enter(self, websocket: WebSocket) -> bool:
        """Count a new connection. False where there are too many already, or the gate is closed."""
        if self._closed:
            return False
        address = host_of(websocket.remote_address)
        if len(self._pending) >= self._limit or self._addresses[address] >= self._per_address:
            LOGGER.warning(
                "turned away: %s: %d handshakes are pending, %d of them from there",
                address,
                len(self._pending),
                self._addresses[address],
            )
            return False
        self._pending[websocket] = address
        self._addresses[address] += 1
        return True

    def leave(self, websocket: WebSocket) -> None:
        """It has proved who it is, or has gone. No-op where it is not counted."""
        address = self._pending.pop(websocket, None)
        if address is not None:
            self._addresses[address] -= 1
            self._addresses += Counter()  # forgets addresses with none

    def close(self) -> None:
        """Cut all that are pending, and let nobody in any more."""
        self._closed = True
        for websocket in self._pending:
            websocket.transport.abort()


class Meter:
    """A bucket: so many frames that bring nothing at once, so many a second."""

    def __init__(self, limits: Limits) -> None:
        self._rate = limits.control_rate
        self._burst = float(limits.control_burst)
        self._level = self._burst
        self._at = 0.0

    def allows(self, event: Request | Response | Frame, now: float) -> bool:
        """Charge a frame where it brings nothing. False where that was one too many."""
        if not isinstance(event, Frame) or (event.opcode in DATA_OPCODES and event.data):
            return True
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        self._level -= 1
        return self._level >= 0


class _Metered(WebSocket):
    """A WebSocket that is cut when its frames bring nothing for too long."""

    meter: Meter

    def process_event(self, event: Request | Response | Frame) -> None:
        """Called by the library with what it has read."""
        if self.meter.allows(event, self.loop.time()):
            super().process_event(event)
        else:
            self.transport.abort()


class GuardedClient(_Metered, ClientConnection):
    """A client's WebSocket, metered."""

    def __init__(self, *args: Any, limits: Limits, **options: Any) -> None:
        super().__init__(*args, **options)
        self.meter = Meter(limits)


class GuardedServer(_Metered, ServerConnection):
    """A server's WebSocket, metered, and counted by the gate until it is let through."""

    def __init__(self, *args: Any, limits: Limits, gate: Gate, **options: Any) -> None:
        super().__init__(*args, **options)
        self.meter = Meter(limits)
        self._gate = gate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop: the transport is there, nothing has been read."""
        super().connection_made(transport)
        if not self._gate.enter(self):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop: the transport has ended."""
        self._gate.leave(self)
        super().connection_lost(exc)


def host_of(address: object) -> str:
    """The host of a socket's address; nothing where it has none."""
    return str(address[0]) if isinstance(address, tuple) and address else ""
