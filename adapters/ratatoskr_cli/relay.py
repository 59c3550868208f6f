"""A relay between the demo's device and the server: it forwards bytes, and cuts the line when it is told to.

To clients it is an HTTP proxy that leads to one place, so that nothing else changes for them: neither the URL nor the
name that the server must prove, nor TLS where there is any. It sees what any box on the way sees: lengths and times.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

_CHUNK_BYTES = 64 * 1024


class Relay:
    """TCP connections to one host and port. Made by :func:`relay`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._awaited: int | None = None
        self.url = ""
        """Where it listens, as the URL of a proxy."""
        self.lines = 0
        """How many connections it has made."""
        self.cuts = 0
        """How many of them it has cut."""

    def cut_at_reply(self, sent: int) -> None:
        """Cut the line as soon as the client has sent so many bytes from now on and the server says something.

        What the server says is lost. Both ends lose their connection in the same moment, without a word.
        """
        self._awaited = sent

    async def serve(self, near_reader: StreamReader, near: StreamWriter) -> None:
        """One connection of a client, from its CONNECT to the end."""
        try:
            with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
                await near_reader.readuntil(b"\r\n\r\n")
                far_reader, far = await asyncio.open_connection(*self._target)
                self.lines += 1
                near.write(b"HTTP/1.1 200 OK\r\n\r\n")
                up = asyncio.create_task(self._up(near_reader, far))
                try:
                    await self._down(far_reader, near)
                finally:
                    up.cancel()
                    far.transport.abort()
        finally:
            near.transport.abort()

    async def _up(self, reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                if self._awaited is not None:
                    self._awaited -= len(data)
                writer.write(data)
                await writer.drain()
            writer.write_eof()

    async def _down(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Until the server has nothing more to say, or has said what is waited for."""
        while data := await reader.read(_CHUNK_BYTES):
            if self._awaited is not None and self._awaited <= 0:
                self._awaited = None
                self.cuts += 1
                return
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def relay(host: str, port: int) -> AsyncGenerator[Relay]:
    """A relay to there for the time of a block, on loopback. Leaving the block cuts what is open."""
    made = Relay(host, port)
    lines: set[asyncio.Task[None]] = set()

    def begin(reader: StreamReader, writer: StreamWriter) -> None:
        line = asyncio.create_task(made.serve(reader, writer))
        lines.add(line)
        line.add_done_callback(lines.discard)

    listening = await asyncio.start_server(begin, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        listening.close()
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)
        await listening.wait_closed()
