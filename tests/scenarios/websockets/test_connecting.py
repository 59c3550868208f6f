"""Who gets a connection, and what everybody else learns: the caller in an exception, the operator in the log."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from ratatoskr import (
    Config,
    ConnectionRequested,
    Fail,
    Fault,
    Limits,
    LocalProtocolError,
    Role,
    Status,
    TrustPolicy,
)
from ratatoskr.testing import Authority
from ratatoskr_websockets import ConnectFailed, Server, connect
from tests.scenarios.websockets.tls import Tls
from tests.scenarios.websockets.world import ECHO, World, url

V1 = Subprotocol("ratatoskr.v1")


async def refused(world: World, server: Server, config: Config | None = None, **options: str) -> ConnectFailed:
    with pytest.raises(ConnectFailed) as caught:
        async with world.connect(server, config, **options):
            raise AssertionError("it connected")
    return caught.value


def plain(server: Server, **options: object) -> connect_websocket:
    """A WebSocket client that knows nothing of Ratatoskr."""
    return connect_websocket(url(server), proxy=None, **options)  # type: ignore[arg-type]


# The handshake of the protocol


async def test_the_server_must_prove_the_name_that_was_asked_for(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.serve() as server:
        failed = await refused(world, server, server_name="yggdrasil.example")
    assert failed.fault is Fault.REFUSED
    assert str(failed).startswith("Server proved `127.0.0.1`, `localhost`; you asked for `yggdrasil.example`.")
    assert "If intended: server_name=" in str(failed)


async def test_the_name_defaults_to_the_host_of_the_url(world: World) -> None:
    async with world.serve() as server:
        async with connect(f"ws://LOCALHOST:{server.port}", world.client_config(), proxy=None) as peer:
            assert "localhost" in peer.peer.names
        async with connect(f"ws://[::ffff:127.0.0.1]:{server.port}", world.client_config(), server_name="localhost"):
            pass


async def test_an_untrusted_client_gets_a_reference_and_the_operator_the_reason(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = Authority("elsewhere", now=time.time()).device("shop-7")
    async with world.serve() as server:
        failed = await refused(world, server, world.client_config(stranger))
    assert failed.fault is Fault.REFUSED
    assert not failed.fault.may_reconnect
    reference = f"{failed.reference:08x}"
    assert str(failed) == f"Refused (ref {reference}). The operator finds the reason under this reference."
    lines = [line for line in caplog.messages if reference in line and "certificate.issuer" in line]
    assert len(lines) == 1
    assert "`shop-7`" in lines[0]
    assert "not under any of 1 roots" in lines[0]


async def test_a_client_that_trusts_nobody_says_whom_to_trust(world: World) -> None:
    async with world.serve() as server:
        failed = await refused(world, server, world.client_config(trust=TrustPolicy()))
    assert "To trust it, add the root" in str(failed)


async def test_a_device_that_poses_as_a_server_is_refused(world: World) -> None:
    config = world.server_config(identity=world.authority.device())
    async with world.serve(config=config) as server:
        failed = await refused(world, server)
    assert "has the role DEVICE, expected was SERVER" in str(failed)


# The application's decision


async def test_the_hook_decides_and_its_reason_reaches_the_client(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def only_shops(requested: ConnectionRequested) -> None:
        await asyncio.sleep(0)
        assert requested.peer.role is Role.DEVICE
        if requested.token != b"s3cret":
            raise Fail(Status.PERMISSION_DENIED, "NO_TOKEN", "a token is needed")

    async with world.serve(on_connect=only_shops) as server:
        failed = await refused(world, server)
        async with world.connect(server, world.client_config(token=b"s3cret")):
            assert len(server.peers) == 1
    assert failed.fault is Fault.REJECTED
    assert failed.failure is not None
    assert failed.failure.reason == "NO_TOKEN"
    assert str(failed) == "The server sent this client away: PERMISSION_DENIED/NO_TOKEN: a token is needed"
    assert any("rejected: device-1" in line and "NO_TOKEN" in line for line in caplog.messages)
    assert "s3cret" not in caplog.text


async def test_a_crashing_hook_lets_nobody_in(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(requested: ConnectionRequested) -> None:
        raise ZeroDivisionError

    async with world.serve(on_connect=broken) as server:
        failed = await refused(world, server)
    assert failed.failure is not None
    assert failed.failure.status is Status.INTERNAL
    assert any(record.exc_info for record in caplog.records)


async def test_a_hook_that_takes_too_long_is_stopped(world: World) -> None:
    stopped = asyncio.Event()

    async def slow(requested: ConnectionRequested) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    config = world.server_config(limits=Limits(accept_timeout=0.05))
    async with world.serve(config=config, on_connect=slow) as server:
        failed = await refused(world, server)
        await stopped.wait()
    assert failed.fault is Fault.TRANSPORT_LOST
    assert "4418 'ACCEPT_TIMEOUT'" in str(failed)


# The WebSocket


async def test_what_the_peer_says_when_it_closes_forges_no_line_of_the_log(world: World) -> None:
    ended: asyncio.Queue[str] = asyncio.Queue()
    handler = logging.Handler()
    handler.emit = lambda record: ended.put_nowait(record.getMessage())  # type: ignore[method-assign]
    async with world.serve() as server, plain(server, subprotocols=[V1]) as websocket:
        logging.getLogger("ratatoskr.websockets").addHandler(handler)
        try:
            await websocket.close(4000, "x\nINFO opened: \x1b[31mroot")
            line = await ended.get()
        finally:
            logging.getLogger("ratatoskr.websockets").removeHandler(handler)
    assert line.endswith("the peer closed the WebSocket: 4000 'x\\nINFO opened: \\x1b[31mroot'")


async def test_without_our_subprotocol_there_is_no_websocket(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.serve() as server:
        for offered in ([], [Subprotocol("chat")]):
            with pytest.raises(InvalidStatus) as caught:
                async with plain(server, subprotocols=offered):
                    pass
            assert caught.value.response.status_code == 400
    assert any(re.search("refused: 127.0.0.1:.* HTTP 400: .*subprotocol", line) for line in caplog.messages)


@pytest.mark.parametrize("origin", [None, "https://shop.example"])
async def test_programs_and_listed_web_pages_connect(world: World, origin: str | None) -> None:
    header = None if origin is None else Origin(origin)
    async with (
        world.serve(origins=["https://shop.example"]) as server,
        plain(server, subprotocols=[V1], origin=header) as websocket,
    ):
        assert websocket.subprotocol == V1


@pytest.mark.parametrize("listed", [None, ["https://shop.example"]])
@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_other_web_pages_do_not(world: World, origin: str, listed: list[str] | None) -> None:
    async with world.serve(origins=listed) as server:
        with pytest.raises(InvalidStatus) as caught:
            await plain(server, subprotocols=[V1], origin=Origin(origin))
    assert caught.value.response.status_code == 403


async def test_compression_is_refused(world: World) -> None:
    async with world.serve() as server, plain(server, subprotocols=[V1], compression="deflate") as websocket:
        assert websocket.protocol.extensions == []


async def test_a_text_message_is_answered_with_1003(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.serve() as server, plain(server, subprotocols=[V1]) as websocket:
        await websocket.send("hello")
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        assert websocket.close_code == 1003
    assert any("TRANSPORT_LOST" in line and "text message" in line for line in caplog.messages)


async def test_bytes_that_are_no_handshake_are_refused_with_our_code(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.serve() as server, plain(server, subprotocols=[V1]) as websocket:
        await websocket.send(b"GET / HTTP/1.1")
        alert = await websocket.recv()
        assert isinstance(alert, bytes)
        assert alert[0] == 0x1F
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        assert websocket.close_code in range(4400, 4504)
    reference = int.from_bytes(alert[-4:], "big")
    assert any(f"refused (ref {reference:08x}): 127.0.0.1:" in line for line in caplog.messages)


async def test_a_message_that_is_too_long_is_not_held(world: World) -> None:
    async with world.serve() as server, plain(server, subprotocols=[V1]) as websocket:
        await websocket.send(bytes(65537))
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        assert websocket.close_code == 1009


@pytest.mark.parametrize("flood", ["ping", "empty"])
async def test_frames_that_bring_nothing_are_not_endless(world: World, flood: str) -> None:
    async def forever(websocket: ClientConnection) -> None:
        while True:
            await (websocket.ping() if flood == "ping" else websocket.send(b""))
            await asyncio.sleep(0)  # the server's turn: it runs in the same loop

    async with world.serve() as server, plain(server, subprotocols=[V1]) as websocket, asyncio.timeout(5):
        with pytest.raises(ConnectionClosed):
            await forever(websocket)


async def test_pending_handshakes_are_bounded_for_each_address(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.serve(per_address=3) as server:
        idle = [await plain(server, subprotocols=[V1]) for _ in range(3)]
        failed = await refused(world, server)
        assert failed.fault is Fault.TRANSPORT_LOST
        assert "does not answer as a WebSocket server" in str(failed)
        await idle.pop().close()
        async with world.connect(server) as one, world.connect(server) as two:
            assert one.session_id != two.session_id
        for websocket in idle:
            await websocket.close()
    assert any("turned away: 127.0.0.1: 3 handshakes are pending, 3 of them from there" in m for m in caplog.messages)


@pytest.mark.parametrize(("connected", "admitted"), [(1, True), (2, True), (3, False)])
async def test_connections_are_bounded_for_each_identity(world: World, connected: int, admitted: bool) -> None:
    device = world.authority.device("device-9")
    async with world.serve(per_identity=3) as server, AsyncExitStack() as stack:
        for _ in range(connected):
            await stack.enter_async_context(world.connect(server, world.client_config(device)))
        if admitted:
            await stack.enter_async_context(world.connect(server, world.client_config(device)))
            return
        failed = await refused(world, server, world.client_config(device))
        assert failed.failure is not None
        assert failed.failure.reason == "TOO_MANY_CONNECTIONS"
        async with world.connect(server):
            pass  # another identity
        await stack.aclose()
        async with world.connect(server, world.client_config(device)):
            pass  # those have ended


async def test_a_silent_client_is_cut_after_the_handshake_timeout(world: World) -> None:
    world.limits = Limits(handshake_timeout=0.05)
    async with world.serve() as server, plain(server, subprotocols=[V1]) as websocket:
        assert [await websocket.recv()] != []
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        assert websocket.close_code == 4401, "who is not known learns nothing but that it is refused"


# What is not there, or is something else


async def test_nobody_listens(world: World) -> None:
    async with world.serve() as server:
        gone = url(server)
    with pytest.raises(ConnectFailed, match=f"^Cannot reach {gone}: .* Is the server running there\\?$") as caught:
        async with connect(gone, world.client_config(), proxy=None):
            pass
    assert caught.value.fault.may_reconnect


async def test_an_http_server_is_no_ratatoskr_server(world: World) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nnothing")
        await writer.drain()
        writer.close()

    failed = await against(world, answer)
    assert failed.fault is Fault.REFUSED
    assert re.search(r"refused the WebSocket \(HTTP 404\).*Is it a Ratatoskr server\? It says: nothing", str(failed))


async def test_an_overloaded_server_may_be_tried_again(world: World) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    failed = await against(world, answer)
    assert failed.fault is Fault.GOING_AWAY
    assert failed.fault.may_reconnect


async def test_a_server_that_speaks_something_else(world: World) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    failed = await against(world, answer)
    assert "does not answer as a WebSocket server" in str(failed)


async def test_a_server_that_says_nothing(world: World) -> None:
    world.limits = Limits(handshake_timeout=0.05)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    failed = await against(world, answer)
    assert failed.fault is Fault.HANDSHAKE_TIMEOUT
    assert "did not answer in time" in str(failed)


async def against(
    world: World, answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> ConnectFailed:
    """What a client learns that connects to this."""
    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener:
        with pytest.raises(ConnectFailed) as caught:
            async with connect(f"ws://127.0.0.1:{port}", world.client_config(), proxy=None):
                pass
    return caught.value


async def test_a_websocket_server_without_our_subprotocol(world: World) -> None:
    async def chat(websocket: ServerConnection) -> None:
        await websocket.wait_closed()

    async with serve_websocket(chat, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailed, match=r"does not speak ratatoskr\.v1"):
            async with connect(f"ws://127.0.0.1:{port}", world.client_config(), proxy=None):
                pass


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("http://localhost", "is no WebSocket URL: write ws://host:port or wss://host:port"),
        ("localhost:8765", "is no WebSocket URL"),
        ("ws://", "is no WebSocket URL"),
        ("ws://localhost:port", "is no URL"),
    ],
)
async def test_a_url_that_is_none_is_misuse(world: World, address: str, text: str) -> None:
    with pytest.raises(LocalProtocolError, match=text):
        async with connect(address, world.client_config()):
            pass


async def test_ws_to_another_host_logs_one_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConnectFailed):
        async with connect("ws://yggdrasil.invalid:1", world.client_config(), proxy=None):
            pass
    lines = [line for line in caplog.messages if "wss:// hides them" in line]
    assert len(lines) == 1
    assert lines[0].startswith("ws://yggdrasil.invalid")


# TLS


async def test_wss(world: World) -> None:
    tls = Tls()
    async with (
        world.serve(ssl=tls.server) as server,
        connect(url(server, "wss"), world.client_config(), ssl=tls.client, proxy=None) as peer,
    ):
        assert (await peer.request(ECHO, ECHO.request(value=b"x"))).value == b"x"


async def test_a_tls_certificate_that_is_not_trusted(world: World) -> None:
    async with world.serve(ssl=Tls().server) as server:
        with pytest.raises(
            ConnectFailed, match=r"TLS certificate is not trusted: .*Pass ssl= with a context"
        ) as caught:
            async with connect(url(server, "wss"), world.client_config(), proxy=None):
                pass
    assert caught.value.fault is Fault.REFUSED


async def test_tls_to_a_server_without(world: World) -> None:
    async with world.serve() as server:
        with pytest.raises(ConnectFailed, match=r"TLS failed: .*Does the server speak TLS\? Otherwise use ws://"):
            async with connect(url(server, "wss"), world.client_config(), ssl=Tls().client, proxy=None):
                pass


async def test_tls_options_for_a_url_without_are_misuse(world: World) -> None:
    with pytest.raises(LocalProtocolError, match="ssl= is for wss:// URLs"):
        async with connect("ws://localhost", world.client_config(), ssl=ssl.create_default_context()):
            pass
