"""The driver: moves bytes and time between one transport and one Connection. It knows no rule of the protocol.

1. It polls until ``Wait``: after every read, after every write, when the deadline comes, and when the program has
   called a method of the connection (:meth:`Driver.wake`).
2. Reading never waits for writing. Two peers that both write more than the line holds would wait for ever otherwise.
3. There is one alarm, for the deadline that ``Wait`` named. It may ring early, for a deadline that has moved on since;
   the next poll finds that out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

from ratatoskr.connection import Connection
from ratatoskr.events import Disconnect, Event, Transmit, Wait
from ratatoskr.lines.runtime import Runtime, Transport, TransportEnded
from ratatoskr.service import Signal, Task


class Driver:
    """One transport and its Connection.

    ``on_event`` gets every event, ``Closed`` last; ``on_wait`` is called when there are no more for now. They must not
    raise.
    """

    def __init__(
        self,
        connection: Connection,
        transport: Transport,
        runtime: Runtime,
        on_event: Callable[[Event], None],
        on_wait: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._runtime = runtime
        self._now = runtime.now
        self._on_event = on_event
        self._on_wait = on_wait
        self._outputs: deque[Transmit | Disconnect] = deque()
        self._more: Signal | None = None
        self._alarm: Task | None = None
        self._rings_at = inf
        self._awake = False

    async def run(self) -> None:
        """Drive until the transport has ended. Cancelling this cuts the transport; ``Closed`` comes in any case."""
        writer = self._runtime.spawn(self._write(), _nothing)
        try:
            self._poll()
            await self._read()
        finally:
            self._transport.abort()
            self._end("the driver was stopped")
            self._silence()
            writer.cancel()

    def wake(self) -> None:
        """Poll soon. What is called in one turn of the loop goes out in one flight."""
        if not self._awake:
            self._awake = True
            self._runtime.defer(self._poll)

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
                    self._transport.abort()
                case Transmit() | Disconnect() as output:
                    self._outputs.append(output)
                    if self._more is not None:
                        self._more.set()
                case event:
                    self._on_event(event)

    def _arm(self, until: float) -> None:
        if self._rings_at <= until:
            return
        self._silence()
        self._rings_at = until
        self._alarm = self._runtime.alarm(until, self._due)

    def _silence(self) -> None:
        self._rings_at = inf
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _due(self) -> None:
        self._alarm, self._rings_at = None, inf
        self._poll()

    async def _read(self) -> None:
        """Hand on what comes, until the transport has ended."""
        try:
            while True:
                self._connection.receive(await self._transport.read())
                self._poll()
        except TransportEnded as end:
            self._end(end.how)
            if end.code:
                await self._transport.close(end.code, end.reason)

    async def _write(self) -> None:
        """Write what poll returned, in order; a close is the last. That the transport ends the reader learns."""
        try:
            while True:
                if not self._outputs:
                    self._more = self._runtime.signal()
                    await self._more.wait()
                    self._more = None
                match self._outputs.popleft():
                    case Disconnect(code, reason):
                        await self._transport.close(code, reason)
                    case Transmit(data):
                        await self._transport.write(data)
                        self._connection.sent()
                        self._poll()
        except TransportEnded:
            pass

    def _end(self, how: str) -> None:
        self._connection.receive_eof(how)
        self._poll()


def _nothing() -> None:
    """Who drives learns from the reader that it is over."""
