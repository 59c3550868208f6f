"""How connections end: drained, abandoned, lost, cancelled; and a server with all of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from ratatoskr import CallRefused, Fault, Kind, Limits, OutcomeUnknown
from ratatoskr_websockets import ConnectFailed, Peer, Server, connect
from tests.scenarios.websockets.world import DOUBLE, ECHO, HOLD, Relay, World, echo_router


async def test_leaving_the_block_lets_calls_complete(world: World) -> None:
    async with world.serve() as server:
        async with world.connect(server) as peer:
            call = asyncio.create_task(peer.request(HOLD, BytesValue(value=b"x")))
            await world.arrived.wait()
            world.release.set()
        assert call.done()
        assert (await call).value == b"xx"
        assert peer.closed is not None
        assert peer.closed.clean


async def test_a_closing_peer_waits_for_its_own_handlers(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        call = asyncio.create_task(peer.request(HOLD, BytesValue(value=b"x")))
        await world.arrived.wait()
        closing = asyncio.create_task(server.peers[0].close())
        await asyncio.sleep(0)
        world.release.set()
        assert (await closing).fault is Fault.CLEAN
        assert (await call).value == b"xx"
        assert (await peer.wait_closed()).clean


async def test_a_closing_server_completes_calls_and_takes_no_new_ones(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        call = asyncio.create_task(peer.request(HOLD, BytesValue(value=b"x")))
        await world.arrived.wait()
        closing = asyncio.create_task(server.close())
        with pytest.raises(CallRefused, match="takes no new requests"):
            await _ask_for_ever(peer)
        with pytest.raises(ConnectFailed):
            async with world.connect(server):
                pass
        assert not closing.done()
        world.release.set()
        assert (await call).value == b"xx"
        assert (await peer.wait_closed()).clean
        await closing


async def _ask_for_ever(peer: Peer) -> None:
    while True:
        await peer.request(ECHO, BytesValue())


async def test_an_exception_in_the_block_abandons_the_connection(world: World) -> None:
    async def client() -> None:
        async with world.connect(server) as peer:
            calls.append(asyncio.create_task(peer.request(HOLD, BytesValue())))
            await world.arrived.wait()
            raise ZeroDivisionError

    calls: list[asyncio.Task[BytesValue]] = []
    async with world.serve() as server:
        with pytest.raises(ZeroDivisionError):
            await client()
        with pytest.raises(OutcomeUnknown, match="ABANDONED"):
            await calls[0]
        await world.cancelled.wait()


async def test_a_cut_line_ends_calls_as_unknown_at_both_ends(world: World) -> None:
    async with (
        world.serve() as server,
        Relay(server.port) as relay,
        connect(relay.url, world.client_config(), router=echo_router(), proxy=None) as peer,
    ):
        there = server.peers[0]
        call = asyncio.create_task(peer.request(HOLD, BytesValue()))
        await world.arrived.wait()
        relay.cut()
        with pytest.raises(OutcomeUnknown) as caught:
            await call
        assert caught.value.failure.reason == "TRANSPORT_LOST"
        assert (await peer.wait_closed()).fault is Fault.TRANSPORT_LOST
        assert (await there.wait_closed()).fault is Fault.TRANSPORT_LOST
        await world.cancelled.wait()
        with pytest.raises(CallRefused):
            await there.request(ECHO, BytesValue())


async def test_a_silent_line_is_given_up(world: World) -> None:
    world.limits = Limits(heartbeat_interval=0.02, liveness_timeout=0.06, control_rate=1000.0)
    async with (
        world.serve() as server,
        Relay(server.port) as relay,
        connect(relay.url, world.client_config(), proxy=None) as peer,
    ):
        there = server.peers[0]
        relay.stop()
        assert (await peer.wait_closed()).fault is Fault.PEER_SILENT
        assert (await there.wait_closed()).fault in {Fault.PEER_SILENT, Fault.TRANSPORT_LOST}


async def test_a_quiet_line_is_kept_alive(world: World) -> None:
    world.limits = Limits(heartbeat_interval=0.02, liveness_timeout=0.1, control_rate=1000.0)
    async with world.serve() as server, world.connect(server) as peer:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.wait_closed(), 0.3)
        assert (await peer.request(ECHO, BytesValue(value=b"x"))).value == b"x"


async def test_a_peer_that_takes_nothing_is_given_up(world: World) -> None:
    world.limits = Limits(write_timeout=0.1)
    async with (
        world.serve() as server,
        Relay(server.port) as relay,
        connect(relay.url, world.client_config(), proxy=None) as peer,
    ):
        relay.stop()
        calls = [asyncio.create_task(peer.request(ECHO, BytesValue(value=bytes(200_000)))) for _ in range(40)]
        assert (await peer.wait_closed()).fault is Fault.WRITE_STALLED
        assert {type(each) for each in await asyncio.gather(*calls, return_exceptions=True)} <= {
            OutcomeUnknown,
            CallRefused,
        }


async def test_draining_has_an_end(world: World) -> None:
    world.limits = Limits(drain_timeout=0.05)
    async with world.serve() as server, world.connect(server) as peer:
        call = asyncio.create_task(peer.request(HOLD, BytesValue()))
        await world.arrived.wait()
        assert (await peer.close()).fault is Fault.DRAIN_TIMEOUT
        with pytest.raises(OutcomeUnknown):
            await call


async def test_cancelling_a_client_leaves_nothing_behind(world: World) -> None:
    async with world.serve() as server:
        connected = asyncio.Event()

        async def client() -> None:
            async with world.connect(server):
                connected.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(client())
        await connected.wait()
        there = server.peers[0]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await there.wait_closed()).fault is Fault.TRANSPORT_LOST
        assert server.peers == ()


async def test_a_second_cancellation_waits_for_no_close(world: World) -> None:
    connected: asyncio.Future[Peer] = asyncio.get_running_loop().create_future()

    async def client(url: str) -> None:
        async with connect(url, world.client_config(), proxy=None) as peer:
            connected.set_result(peer)
            await asyncio.Event().wait()

    async with world.serve() as server, Relay(server.port) as relay:
        task = asyncio.create_task(client(relay.url))
        peer = await connected
        relay.stop()
        task.cancel()
        assert (await asyncio.wait([task], timeout=0.05))[1]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert peer.closed is not None
        transport: Any = peer._line._driver._transport
        assert transport._websocket.transport.is_closing()


async def test_cancelling_a_connect_at_every_turn_of_the_loop(world: World) -> None:
    async def client() -> None:
        async with world.connect(server):
            pass

    async with world.serve() as server:
        for turns in range(60):
            task = asyncio.create_task(client())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with world.connect(server) as peer:
            assert (await peer.request(ECHO, BytesValue(value=b"x"))).value == b"x"
    assert server.peers == ()


async def test_closing_a_server_at_every_turn_of_a_handshake(world: World) -> None:
    async def client(server: Server) -> None:
        async with world.connect(server) as peer:
            await peer.wait_closed()

    for turns in range(60):
        async with world.serve() as server:
            connecting = asyncio.create_task(client(server))
            # Up to Python 3.11 asyncio itself loses a socket that it has just accepted.
            while not server._gate._pending:  # noqa: ASYNC110
                await asyncio.sleep(0)
            for _ in range(turns):
                await asyncio.sleep(0)
            await server.close()
            (outcome,) = await asyncio.gather(connecting, return_exceptions=True)
            assert outcome is None or isinstance(outcome, ConnectFailed)


async def test_closing_twice_is_closing_once(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        first, second = await asyncio.gather(peer.close(), peer.close(drain=False))
        assert first is second
        assert await peer.close() is first
        await asyncio.gather(server.close(), server.close())


async def test_a_server_leaves_nothing_behind(world: World) -> None:
    before = asyncio.all_tasks()
    async with world.serve() as server, world.connect(server) as peer:
        await peer.request(ECHO, BytesValue())
    assert asyncio.all_tasks() == before


async def test_a_closing_server_waits_for_what_runs_once(world: World) -> None:
    config = world.client_config()
    async with world.serve() as server:
        async with Relay(server.port) as relay, connect(relay.url, config, proxy=None) as peer:
            lost = asyncio.create_task(peer.request(DOUBLE, BytesValue(value=b"k"), key="k"))
            await world.arrived.wait()
            relay.cut()
            await asyncio.wait([lost])
        closing = asyncio.create_task(server.close())
        assert (await asyncio.wait([closing], timeout=0.05))[1]
        world.release.set()
        await closing
    assert isinstance(lost.exception(), OutcomeUnknown)
    assert not world.cancelled.is_set()


async def test_a_handler_that_never_ends_does_not_hold_up_the_server(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.limits = Limits(drain_timeout=0.05)
    async with world.serve() as server, world.connect(server) as peer:
        call = asyncio.create_task(peer.request(DOUBLE, BytesValue(value=b"k"), key="k"))
        await world.arrived.wait()
        await server.close()
        assert world.cancelled.is_set()
        with pytest.raises(OutcomeUnknown):
            await call
    assert any("handlers stopped before they were done: 1" in line for line in caplog.messages)


@pytest.mark.parametrize("kind", [HOLD, DOUBLE])
async def test_a_second_signal_waits_for_nobody(world: World, kind: Kind[BytesValue, BytesValue]) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        serving = asyncio.create_task(server.serve_forever())
        call = asyncio.create_task(peer.request(kind, BytesValue(value=b"k"), key="k" if kind.once else None))
        await world.arrived.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        assert (await asyncio.wait([serving], timeout=0.05))[1]
        os.kill(os.getpid(), signal.SIGINT)
        await serving
        with pytest.raises(OutcomeUnknown):
            await call
        assert world.cancelled.is_set()


async def test_sigterm_lets_calls_complete(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        serving = asyncio.create_task(server.serve_forever())
        call = asyncio.create_task(peer.request(HOLD, BytesValue(value=b"x")))
        await world.arrived.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        assert (await asyncio.wait([serving], timeout=0.05))[1]
        world.release.set()
        await serving
        assert (await call).value == b"xx"
        assert (await peer.wait_closed()).clean
