"""A man in the middle for the tamper check: forwards TCP connections and flips one bit of one byte in each.

    flip.py PORT HOST:PORT [up:OFFSET | down:OFFSET]

`up` is what the connecting side sends, `down` what it is sent. Offsets count from the end of the HTTP upgrade, so
that the byte lies in what the protocol must protect and not in what WebSocket's own handshake would notice. Without
a place nothing is changed: the same path, honest.
"""

import asyncio
import contextlib
import functools
import sys

UPGRADED = b"\r\n\r\n"


class Flip:
    """One direction of one connection: bytes in, bytes out, the lowest bit of the byte at `offset` changed."""

    def __init__(self, offset: int | None) -> None:
        self._offset = offset
        self._head = b""
        self._position: int | None = None  # of the next byte, counted from the end of the upgrade
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """The bytes to forward in place of `data`."""
        if self._offset is None or self.done:
            return data
        start = 0
        if self._position is None:
            before = len(self._head)
            self._head += data
            end = self._head.find(UPGRADED)
            if end < 0:
                return data
            start = end + len(UPGRADED) - before
            self._position = 0
        index = start + self._offset - self._position
        self._position += len(data) - start
        if index >= len(data):
            return data
        self.done = True
        return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


async def pump(name: str, flip: Flip, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward until the end of the stream, then hand that on; the other direction may still be open."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            was_done = flip.done
            writer.write(flip.feed(data))
            if flip.done and not was_done:
                sys.stderr.write(f"flipped one bit of what went {name}\n")
            await writer.drain()
        writer.write_eof()


async def forward(
    target: tuple[str, int], offsets: dict[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One connection: both directions at once, until both have ended."""
    try:
        far_reader, far_writer = await asyncio.open_connection(*target)
    except OSError as error:
        sys.stderr.write(f"{target[0]}:{target[1]} does not answer: {error}\n")
        writer.close()
        return
    await asyncio.gather(
        pump("up", Flip(offsets.get("up")), reader, far_writer),
        pump("down", Flip(offsets.get("down")), far_reader, writer),
    )
    far_writer.close()
    writer.close()


async def main(port: int, target: tuple[str, int], offsets: dict[str, int]) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(functools.partial(forward, target, offsets), port=port)
    await server.serve_forever()


if __name__ == "__main__":
    host, _, far_port = sys.argv[2].partition(":")
    places = dict(place.split(":") for place in sys.argv[3:] if place)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), (host, int(far_port)), {way: int(offset) for way, offset in places.items()}))
