"""The relay of the demo: it forwards everything, and cuts a line exactly between what was sent and its answer."""

from __future__ import annotations

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from ratatoskr import PAYMENT_AUTHORIZE, OutcomeUnknown, v1
from ratatoskr.service import NO_RETRIES
from ratatoskr_cli.client import target_of
from ratatoskr_cli.payloads import payload_of
from ratatoskr_cli.relay import relay
from ratatoskr_websockets import connect
from tests.scenarios.cli.shell import SECONDS, Sandbox, payment

CONNECT = b"CONNECT somewhere.test:443 HTTP/1.1\r\nHost: somewhere.test:443\r\n\r\n"
CONNECTED = b"HTTP/1.1 200 OK\r\n\r\n"


@asynccontextmanager
async def echo() -> AsyncGenerator[int]:
    """A server that says what it hears; its port."""
    writers: list[StreamWriter] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        writers.append(writer)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()
        except ConnectionError:
            writer.transport.abort()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for each in writers:
            each.transport.abort()


@asynccontextmanager
async def dial(url: str, head: bytes = CONNECT) -> AsyncGenerator[tuple[StreamReader, StreamWriter]]:
    """A connection to the relay that has said this."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    writer.write(head)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@asynccontextmanager
async def through(url: str) -> AsyncGenerator[tuple[StreamReader, StreamWriter]]:
    """A connection through the relay."""
    async with dial(url) as (reader, writer):
        assert await reader.readexactly(len(CONNECTED)) == CONNECTED
        yield reader, writer


async def rest(reader: StreamReader) -> bytes | None:
    """What comes until the end; None where that is no end but a cut."""
    try:
        return await reader.read()
    except ConnectionError:
        return None


def run(main: Any) -> None:
    asyncio.run(asyncio.wait_for(main(), SECONDS))


def test_everything_is_forwarded_to_its_end() -> None:
    async def main() -> None:
        said = bytes(range(256)) * 8192
        async with echo() as port, relay("127.0.0.1", port) as line, through(line.url) as (reader, writer):
            writer.write(said)
            writer.write_eof()
            assert await reader.read(-1) == said
            assert (line.lines, line.cuts) == (1, 0)

    run(main)


def test_a_line_is_cut_at_the_first_answer_to_what_is_waited_for() -> None:
    async def main() -> None:
        async with echo() as port, relay("127.0.0.1", port) as line:
            async with through(line.url) as (reader, writer):
                line.cut_at_reply(10)
                writer.write(b"nine byte")  # an acknowledgement, say, that crosses
                assert await reader.readexactly(9) == b"nine byte"
                writer.write(b"!")
                assert not await rest(reader)
                assert (line.lines, line.cuts) == (1, 1)
            async with through(line.url) as (reader, writer):
                writer.write(b"as often as you like")
                writer.write_eof()
                assert await reader.read(-1) == b"as often as you like"
                assert (line.lines, line.cuts) == (2, 1)

    run(main)


def test_leaving_the_block_cuts_what_is_open() -> None:
    async def main() -> None:
        async with echo() as port, AsyncExitStack() as stack:
            async with relay("127.0.0.1", port) as line:
                reader, writer = await stack.enter_async_context(through(line.url))
                writer.write(b"hello")
                assert await reader.readexactly(5) == b"hello"
            assert not await rest(reader)
            with pytest.raises(ConnectionRefusedError):
                await stack.enter_async_context(dial(line.url))

    run(main)


def test_where_nobody_answers_the_client_is_cut() -> None:
    async def main() -> None:
        async with echo() as port:
            pass
        async with relay("127.0.0.1", port) as line, dial(line.url) as (reader, _):
            assert not await rest(reader)
            assert line.lines == 0

    run(main)


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\n", b"x" * 200_000])
def test_who_is_no_client_of_a_proxy_is_cut(head: bytes) -> None:
    async def main() -> None:
        async with echo() as port, relay("127.0.0.1", port) as line, dial(line.url, head) as (reader, writer):
            writer.write_eof()
            assert not await rest(reader)
            assert line.lines == 0

    run(main)


def test_a_payment_is_sent_and_executed_and_its_answer_does_not_come(served: Sandbox) -> None:
    """And is executed once: asked again, it has the answer that was lost."""
    target = target_of(served.home / "device.toml", served.url)
    request = payload_of(PAYMENT_AUTHORIZE, json.dumps(payment("cut-1")))
    where = urlsplit(served.url)
    assert where.hostname
    assert where.port

    async def main() -> None:
        async with relay(str(where.hostname), int(where.port or 0)) as line:
            connected = partial(connect, target.url, target.config, server_name=target.server_name, proxy=line.url)
            async with connected(retry=NO_RETRIES) as device:
                line.cut_at_reply(request.ByteSize())
                with pytest.raises(OutcomeUnknown, match="TRANSPORT_LOST"):
                    await device.request(PAYMENT_AUTHORIZE, request)
                assert line.cuts == 1
            async with connected() as device:
                again = await device.exchange(PAYMENT_AUTHORIZE, request)
            assert again.replayed
            assert again.message.status == v1.PAYMENT_STATUS_AUTHORIZED
            assert line.lines == 2

    run(main)
