"""The driver: moves bytes and time between one WebSocket and one Connection. It knows no rule of the protocol.

1. It polls until ``Wait``: after every read, after every write, when the deadline comes, and when the program has
   called a method of the connection (:meth:`Driver.wake`).
2. Reading never waits for writing. Two peers that both write more than the line holds would wait for ever otherwise.
3. There is one timer, for the deadline that ``Wait`` named. It may fire early, for a deadline that has moved on since;
   the next poll finds that out.
4. WebSocket messages do not align with records. What a Transmit holds is cut into messages of :data:`MESSAGE_BYTES`,
   and what comes is handed on as it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from math import inf

from websockets.asyncio.connection import Connection as WebSocket
from websockets.exceptions import ConnectionClosed

from ratatoskr import Connection, Disconnect, Event, Now, Transmit, Wait

MESSAGE_BYTES = 64 * 1024
"""Longest WebSocket message, sent or accepted. It bounds what a peer that nobody knows yet can make us hold."""
UNSUPPORTED_DATA = 1003
"""The close code for a text message."""


class Driver:
    """One WebSocket and its Connection.

    ``on_event`` gets every event, ``Closed`` last; ``on_wait`` is called when there are no more for now. They must not
    raise.
    """

    def __init__(
        self,
        connection: Connection,
        websocket: WebSocket,
        now: Callable[[], Now],
        on_event: Callable[[Event], None],
        on_wait: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._websocket = websocket
        self._now = now
        self._on_event = on_event
        self._on_wait = on_wait
        self._loop = asyncio.get_running_loop()
        self._outputs: asyncio.Queue[Transmit | Disconnect] = asyncio.Queue()
        self._timer: asyncio.TimerHandle | None = None
        self._awake = False

    async def run(self) -> None:
        """Drive until the transport has ended. Cancelling this cuts the transport; ``Closed`` comes in any case."""
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write())
                self._poll()
                await self._read()
                writer.cancel()
        finally:
            self._websocket.transport.abort()
            self._end("the driver was stopped")
            if self._timer is not None:
                self._timer.cancel()

    def wake(self) -> None:
        """Poll soon. What is called in one turn of the loop goes out in one flight."""
        if not self._awake:
            self._awake = True
            self._loop.call_soon(self._poll)

    def _poll(self) -> None:
        self._awake = False
        now = self._now()
        while True:
            match self._connection.poll(now):
                case Wait(until):
                    self._arm(until)
                    self._on_wait()
                    return
                case Disconnect(abort=True):
                    self._websocket.transport.abort()
                case Transmit() | Disconnect() as output:
                    self._outputs.put_nowait(output)
                case event:
                    self._on_event(event)

    def _arm(self, until: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= until:
                return
            self._timer.cancel()
        self._timer = None if until == inf else self._loop.call_at(until, self._due)

    def _due(self) -> None:
        self._timer = None
        self._poll()

    async def _read(self) -> None:
        """Hand on what comes, until the WebSocket has ended."""
        websocket = self._websocket
        try:
            while True:
                message = await websocket.recv()
                if isinstance(message, str):
                    self._outputs.put_nowait(Disconnect(UNSUPPORTED_DATA, "binary messages only", abort=False))
                    self._end("the peer sent a WebSocket text message; only binary messages are allowed")
                    await websocket.wait_closed()
                    return
                self._connection.receive(message)
                self._poll()
        except ConnectionClosed as end:
            self._end(_how(end))

    async def _write(self) -> None:
        """Write what poll returned, in order; a close is the last."""
        websocket = self._websocket
        with suppress(ConnectionClosed):  # the reader learns how it ended
            while True:
                match await self._outputs.get():
                    case Disconnect(code, reason):
                        await websocket.close(code, reason)
                    case Transmit(data):
                        for start in range(0, len(data), MESSAGE_BYTES):
                            await websocket.send(data[start : start + MESSAGE_BYTES])
                        self._connection.sent()
                        self._poll()

    def _end(self, how: str) -> None:
        self._connection.receive_eof(how)
        self._poll()


def _how(end: ConnectionClosed) -> str:
    """How the WebSocket ended, for the log."""
    if end.rcvd is not None:
        return f"the peer closed the WebSocket: {end.rcvd.code} {end.rcvd.reason!r}"  # the peer's words forge no line
    if end.sent is not None:
        return f"this side closed the WebSocket: {end.sent}"
    return f"the WebSocket was lost: {end.__cause__ or 'the transport ended without a close'}"
