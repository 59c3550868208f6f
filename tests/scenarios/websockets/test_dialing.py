"""What a client makes of servers, and of what stands before them, that let it in now, later or never."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from ratatoskr import Fault
from ratatoskr.service import Redial
from ratatoskr_websockets import ConnectFailed, connect
from tests.scenarios.websockets.rest import until
from tests.scenarios.websockets.tls import Tls
from tests.scenarios.websockets.world import ECHO, World, url

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SOON = Redial(first_delay=0.01, longest_delay=0.02, spread=0.02)


def says(response: str) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        await writer.drain()
        writer.close()

    return answer


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.close()


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.transport.abort()


@asynccontextmanager
async def listener(answer: Answer) -> AsyncGenerator[int, None]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def against(world: World, answer: Answer, scheme: str = "ws") -> ConnectFailed:
    """What a client learns that connects to this."""
    async with listener(answer) as port:
        with pytest.raises(ConnectFailed) as caught:
            async with world.connect_to(f"{scheme}://127.0.0.1:{port}"):
                pass
    return caught.value


@pytest.mark.parametrize("answer", [hang_up, cut])
async def test_a_tls_proxy_that_hangs_up_may_be_tried_again(world: World, answer: Answer) -> None:
    """As it does while it restarts. What else it can be is said all the same."""
    failed = await against(world, answer, "wss")
    assert failed.fault is Fault.TRANSPORT_LOST
    assert failed.fault.may_reconnect
    assert "TLS failed: the connection was cut. Does the server speak TLS? Otherwise use ws://" in str(failed)


async def test_what_speaks_no_tls_is_no_server_of_ours(world: World) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n" * 100)
        await writer.drain()
        writer.close()

    failed = await against(world, answer, "wss")
    assert failed.fault is Fault.REFUSED
    assert not failed.fault.may_reconnect
    assert "Does the server speak TLS?" in str(failed)


async def test_a_client_that_redials_outlives_its_tls_proxy(world: World) -> None:
    """It hangs up on everybody, and then it leads to the server."""
    tls = Tls()
    refused = 0
    open_ = False

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal refused
        if not open_:
            refused += 1
            await (hang_up if refused % 2 else cut)(reader, writer)
            return
        there = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def call(port: int) -> bytes:
        async with connect(
            f"wss://127.0.0.1:{port}", world.client_config(), ssl=tls.client, proxy=None, redial=SOON
        ) as peer:
            return (await peer.request(ECHO, ECHO.request(value=b"x"))).value

    async with world.serve(ssl=tls.server) as server, listener(proxy) as port:
        calling = asyncio.create_task(call(port))
        await until(lambda: refused > 3 or calling.done())
        open_ = True
        assert await calling == b"x"


@pytest.mark.parametrize(
    ("said", "delay"),
    [
        ("Retry-After: 120", 120.0),
        ("Retry-After: 0", 0.0),
        ("Retry-After: 86400", 300.0),
        ("Retry-After: " + 999 * "9", 300.0),
        ("Retry-After: 7\nRetry-After: 9", 7.0),
        ("Retry-After: Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("Retry-After: -5", None),
        ("Retry-After: 1.5", None),
        ("Retry-After:", None),
        ("Content-Length: 0", None),
    ],
)
@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
async def test_who_is_overloaded_may_say_until_when(world: World, status: str, said: str, delay: float | None) -> None:
    failed = await against(world, says(f"HTTP/1.1 {status}\n{said}"))
    assert failed.fault is Fault.GOING_AWAY
    assert failed.retry_delay == delay


async def test_a_client_that_redials_obeys(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with listener(says("HTTP/1.1 503 Service Unavailable\nRetry-After: 200")) as port:

        async def call() -> None:
            async with world.connect_to(f"ws://127.0.0.1:{port}", redial=SOON):
                pass

        calling = asyncio.create_task(call())
        await until(lambda: any("the next try is in 200.0 s" in line for line in caplog.messages))
        calling.cancel()
        await asyncio.wait([calling])


@pytest.mark.parametrize(
    "location", ["ftp://127.0.0.1/", "ws://127.0.0.1:99999/", "ws://[::1/", f"ws://{64 * 'a'}.example/"]
)
async def test_a_way_that_leads_nowhere_is_a_reason_like_any_other(world: World, location: str) -> None:
    """Not an exception of its own, which a client that redials would die of."""
    failed = await against(world, says(f"HTTP/1.1 302 Found\nLocation: {location}\nContent-Length: 0"))
    assert failed.fault is Fault.REFUSED
    assert "cannot be dialled" in str(failed)


async def test_a_proxy_that_is_none_is_a_reason_like_any_other(world: World) -> None:
    async with world.serve() as server:
        with pytest.raises(ConnectFailed, match="cannot be dialled"):
            async with connect(url(server), world.client_config(), proxy="gopher://127.0.0.1:1"):
                pass
