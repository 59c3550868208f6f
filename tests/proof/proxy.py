"""A TCP proxy that does to a line what networks do, on command.

Each direction (:class:`Way`) has its own settings, which hold for open connections and for those that come: latency,
the size of slices, whether anything passes at all. What is done once is done to all connections that are open then:
reset, half-close. Whoever wants to act at a certain byte leaves a call.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Self

CHUNK = 65536
LINGER_0 = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for no time. Whoever closes such a socket sends RST."""


class Way:
    """One direction, of all connections."""

    def __init__(self) -> None:
        self.distance = 0.0
        """Seconds that each chunk is held back, whatever the weather. Chunks keep their order."""
        self.latency = 0.0
        """Seconds on top."""
        self.slice: int | None = None
        """Bytes that are written at once; None for what comes."""
        self.passed = 0
        """Bytes that were written to the other end."""
        self.writes = 0
        """Chunks that came to be passed on: what an end wrote at once is one, where the system did not join it."""
        self._left: int | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._at_bytes: list[tuple[int, Callable[[], object]]] = []
        self._at_writes: list[tuple[int, Callable[[], object]]] = []

    def stall(self) -> None:
        """Pass nothing on, not even an end, until :meth:`release`."""
        self._flowing.clear()

    def release(self) -> None:
        """Pass on what has come meanwhile, and what comes."""
        self._flowing.set()

    def cut_after(self, count: int | None) -> None:
        """Pass so many bytes more, then reset the connection that carries the next one. None for never."""
        self._left = count

    def clear(self) -> None:
        """No faults any more. Calls that were left stay."""
        self.latency, self.slice, self._left = 0.0, None, None
        self.release()

    def after_bytes(self, count: int, call: Callable[[], object]) -> None:
        """Call when so many bytes more have passed."""
        self._at_bytes.append((self.passed + count, call))

    def at_write(self, count: int, call: Callable[[], object]) -> None:
        """Call when the first byte of the ``count``-th write from now on has passed: 1 is the next."""
        self._at_writes.append((self.writes + count, call))

    async def carry(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        """Pass on one chunk. Raises ConnectionResetError where the connection is to be cut."""
        self.writes += 1
        first = self.writes
        if self.distance or self.latency:
            await asyncio.sleep(self.distance + self.latency)
        while data:
            await self._flowing.wait()
            size = self.slice or CHUNK
            if self._left is not None:
                size = min(size, self._left)
                self._left -= min(size, len(data))
            if not size:
                self._left = None
                raise ConnectionResetError("cut")
            piece, data = data[:size], data[size:]
            writer.write(piece)
            await writer.drain()
            self.passed += len(piece)
            self._at_writes = _fire(self._at_writes, first)
            self._at_bytes = _fire(self._at_bytes, self.passed)

    async def end(self, writer: asyncio.StreamWriter) -> None:
        """Pass on the end of what one side says."""
        await self._flowing.wait()
        writer.write_eof()


def _fire(waiting: list[tuple[int, Callable[[], object]]], reached: int) -> list[tuple[int, Callable[[], object]]]:
    """Make the calls that are due. Returns the others."""
    due = [call for aim, call in waiting if aim <= reached]
    left = [each for each in waiting if each[0] > reached]
    for call in due:
        call()
    return left


class Connection:
    """One client, and its connection to the server."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.pumps: list[asyncio.Task[None]] = []

    def reset(self) -> None:
        """End it with RST, both ways."""
        for pump in self.pumps:
            pump.cancel()
        for writer in (self.client, self.server):
            reset(writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close one socket with RST."""
    sock = writer.get_extra_info("socket")
    with suppress(OSError):  # it is closed already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    writer.transport.abort()


class Proxy:
    """Listens inside an ``async with`` block, and connects each client to ``target``, a port of this machine."""

    def __init__(self, target: int = 0) -> None:
        self.target = target
        """Where new connections go."""
        self.refusing = False
        """Whether new connections are reset at once."""
        self.up = Way()
        """From clients to the server."""
        self.down = Way()
        """From the server to clients."""
        self.connections: set[Connection] = set()
        self.carried = 0
        """Connections that have come about, in all."""
        self.port = 0
        self._carrying: set[asyncio.Task[None]] = set()
        self._come = asyncio.Condition()
        self._over = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._over = True
        self.reset()
        await asyncio.gather(*self._carrying)
        await self._server.wait_closed()

    def reset(self) -> None:
        """RST for every connection."""
        for each in list(self.connections):
            each.reset()

    def half_close(self, way: Way) -> None:
        """FIN in one direction of every connection: its receiver reads an end, and can still write."""
        for each in self.connections:
            writer = each.server if way is self.up else each.client
            with suppress(OSError):  # it has ended meanwhile
                writer.write_eof()

    async def has_carried(self, count: int) -> None:
        """Wait until so many connections have come about, in all."""
        async with self._come:
            await self._come.wait_for(lambda: self.carried >= count)

    def clear(self) -> None:
        """No faults any more."""
        self.refusing = False
        self.up.clear()
        self.down.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        try:
            if self.refusing:
                raise ConnectionRefusedError
            there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            reset(writer)
        else:
            await self._carry(reader, *there, writer)
        finally:
            self._carrying.discard(task)

    async def _carry(
        self,
        from_client: asyncio.StreamReader,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        to_client: asyncio.StreamWriter,
    ) -> None:
        connection = Connection(to_client, to_server)
        for writer in (to_client, to_server):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.pumps = [
            asyncio.create_task(_pump(self.up, from_client, to_server)),
            asyncio.create_task(_pump(self.down, from_server, to_client)),
        ]
        self.connections.add(connection)
        if self._over:
            connection.reset()
        async with self._come:
            self.carried += 1
            self._come.notify_all()
        try:
            done, _ = await asyncio.wait(connection.pumps, return_when=asyncio.FIRST_EXCEPTION)
            if any(not pump.cancelled() and pump.exception() for pump in done):
                connection.reset()
            await asyncio.gather(*connection.pumps, return_exceptions=True)
        finally:
            self.connections.discard(connection)
            for pump in connection.pumps:
                pump.cancel()
            to_client.close()
            to_server.close()


async def _pump(way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what one side says, to its end."""
    while data := await reader.read(CHUNK):
        await way.carry(data, writer)
    await way.end(writer)
