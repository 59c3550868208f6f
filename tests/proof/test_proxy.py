"""The proxy does what it is told, and nothing else: a lossless line until then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.proof.proxy import Proxy, reset

SECONDS = 20.0
"""It does not take that long, unless something hangs."""


class Ends:
    """A proxy, and what stands at its two ends."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.served: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        self.writers.append(writer)
        return reader, writer

    async def pair(self) -> tuple[End, End]:
        """The client's end and the server's of a new connection."""
        carried = self.proxy.carried
        client = await self.connect()
        server = await self.served.get()
        await self.proxy.has_carried(carried + 1)
        return End(*client), End(*server)

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.served.put_nowait((reader, writer))


class End:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def hear(self, data: bytes) -> None:
        assert await self.reader.readexactly(len(data)) == data

    async def until_reset(self) -> bytes:
        received = bytearray()
        try:
            while data := await self.reader.read(1):
                received += data
        except ConnectionResetError:
            return bytes(received)
        raise AssertionError(f"an end and no reset, after {bytes(received)!r}")


@asynccontextmanager
async def standing() -> AsyncIterator[Ends]:
    async with asyncio.timeout(SECONDS), Proxy() as proxy:
        ends = Ends(proxy)
        server = await asyncio.start_server(ends.serve, "127.0.0.1", 0)
        proxy.target = server.sockets[0].getsockname()[1]
        try:
            yield ends
        finally:
            server.close()
            for writer in ends.writers:
                writer.close()


def run(test: Callable[[Ends], Awaitable[None]]) -> None:
    async def main() -> None:
        async with standing() as ends:
            await test(ends)

    asyncio.run(main())


def test_both_ways_of_several_connections_are_kept_apart() -> None:
    async def test(ends: Ends) -> None:
        pairs = [await ends.pair() for _ in range(3)]
        for number, (client, server) in enumerate(pairs):
            client.say(b"up %d" % number * 50_000)
            server.say(b"down %d" % number * 50_000)
        for number, (client, server) in enumerate(pairs):
            await server.hear(b"up %d" % number * 50_000)
            await client.hear(b"down %d" % number * 50_000)
        assert ends.proxy.up.passed == 3 * 4 * 50_000
        assert ends.proxy.down.passed == 3 * 6 * 50_000

    run(test)


def test_an_end_passes_in_its_direction_alone() -> None:
    async def test(ends: Ends) -> None:
        client, server = await ends.pair()
        client.writer.write_eof()
        assert await server.reader.read() == b""
        server.say(b"still here")
        await client.hear(b"still here")
        server.writer.close()
        assert await client.reader.read() == b""

    run(test)


def test_latency_holds_back_and_keeps_the_order() -> None:
    async def test(ends: Ends) -> None:
        client, server = await ends.pair()
        ends.proxy.up.latency = 0.05
        began = asyncio.get_running_loop().time()
        client.say(b"first")
        await server.hear(b"first")
        client.say(b"second")
        await server.hear(b"second")
        assert asyncio.get_running_loop().time() - began >= 0.1
        server.say(b"the other way has none")
        await client.hear(b"the other way has none")

    run(test)


def test_slices_arrive_one_by_one() -> None:
    async def test(ends: Ends) -> None:
        client, server = await ends.pair()
        ends.proxy.up.slice = 1
        seen: list[int] = []
        for count in range(1, 101):
            ends.proxy.up.after_bytes(count, lambda: seen.append(ends.proxy.up.passed))
        client.say(bytes(range(100)))
        await server.hear(bytes(range(100)))
        assert seen == list(range(1, 101))

    run(test)


def test_a_stalled_way_passes_nothing_until_it_is_released() -> None:
    async def test(ends: Ends) -> None:
        client, server = await ends.pair()
        ends.proxy.up.stall()
        client.say(b"held")
        client.writer.write_eof()
        server.say(b"free")
        await client.hear(b"free")
        assert ends.proxy.up.passed == 0
        assert not server.reader.at_eof()
        ends.proxy.up.release()
        assert await server.reader.read() == b"held"

    run(test)


def test_a_stalled_way_passes_no_end_either() -> None:
    async def test(ends: Ends) -> None:
        client, server = await ends.pair()
        ends.proxy.up.stall()
        client.writer.write_eof()
        for _ in range(10):
            server.say(b"free")
            await client.hear(b"free")
        assert not server.reader.at_eof()
        ends.proxy.up.release()
        assert await server.reader.read() == b""

    run(test)


def test_a_new_connection_gets_the_current_settings() -> None:
    async def test(ends: Ends) -> None:
        ends.proxy.down.stall()
        client, server = await ends.pair()
        server.say(b"held")
        client.say(b"free")
        await server.hear(b"free")
        assert ends.proxy.down.passed == 0
        ends.proxy.clear()
        await client.hear(b"held")

    run(test)


@pytest.mark.parametrize("stalled", [False, True])
def test_reset_is_a_reset_at_both_ends(stalled: bool) -> None:
    async def test(ends: Ends) -> None:
        client, server = await ends.pair()
        other = await ends.pair()
        if stalled:
            ends.proxy.up.stall()
            ends.proxy.down.stall()
        ends.proxy.reset()
        for end in (client, server, *other):
            with pytest.raises(ConnectionResetError):
                await end.reader.read()
        ends.proxy.clear()
        client, server = await ends.pair()
        client.say(b"the next one lives")
        await server.hear(b"the next one lives")

    run(test)


@pytest.mark.parametrize("way", ["up", "down"])
def test_half_close_is_an_end_for_one_side(way: str) -> None:
    async def test(ends: Ends) -> None:
        client, server = await ends.pair()
        ends.proxy.half_close(getattr(ends.proxy, way))
        deaf, speaking = (server, client) if way == "up" else (client, server)
        assert await deaf.reader.read() == b""
        deaf.say(b"still speaking")
        await speaking.hear(b"still speaking")

    run(test)


def test_a_cut_lets_exactly_so_many_bytes_through() -> None:
    async def test(ends: Ends) -> None:
        client, server = await ends.pair()
        ends.proxy.up.cut_after(7)
        client.say(b"all of it")
        received = await server.until_reset()
        assert ends.proxy.up.passed == 7
        assert b"all of ".startswith(received), "a reset may take away what was not read yet"
        client, server = await ends.pair()
        client.say(b"the next one lives")
        await server.hear(b"the next one lives")

    run(test)


def test_refused_connections_are_reset_at_once() -> None:
    async def test(ends: Ends) -> None:
        client, server = await ends.pair()
        ends.proxy.refusing = True
        refused = End(*await ends.connect())
        with pytest.raises(ConnectionResetError):
            await refused.reader.read()
        assert ends.served.empty()
        client.say(b"open ones stay")
        await server.hear(b"open ones stay")

    run(test)


def test_nobody_listens_behind_it() -> None:
    async def test(ends: Ends) -> None:
        ends.proxy.target = 1
        refused = End(*await ends.connect())
        with pytest.raises(ConnectionResetError):
            await refused.reader.read()

    run(test)


def test_a_call_comes_when_so_many_bytes_have_passed() -> None:
    async def test(ends: Ends) -> None:
        client, server = await ends.pair()
        client.say(b"before")
        await server.hear(b"before")
        at: list[int] = []
        ends.proxy.up.slice = 1
        ends.proxy.up.after_bytes(5, lambda: at.append(ends.proxy.up.passed))
        client.say(b"and after")
        await server.hear(b"and after")
        assert at == [len(b"before") + 5]

    run(test)


def test_a_call_comes_at_the_first_bytes_of_a_write() -> None:
    async def test(ends: Ends) -> None:
        client, server = await ends.pair()
        at: list[int] = []
        ends.proxy.down.slice = 1
        ends.proxy.down.at_write(2, lambda: at.append(ends.proxy.down.passed))
        for word in (b"first", b"second", b"third"):
            server.say(word)
            await client.hear(word)
        assert at == [len(b"first") + 1]

    run(test)


def test_a_call_may_reset_the_connection_that_it_was_made_for() -> None:
    async def test(ends: Ends) -> None:
        client, server = await ends.pair()
        ends.proxy.down.slice = 1
        ends.proxy.down.at_write(1, ends.proxy.reset)
        server.say(b"gone after one byte")
        await client.until_reset()
        assert ends.proxy.down.passed == 1

    run(test)


def test_an_end_that_is_reset_resets_the_other_one() -> None:
    async def test(ends: Ends) -> None:
        client, server = await ends.pair()
        reset(client.writer)
        with pytest.raises(ConnectionResetError):
            await server.reader.read()

    run(test)
