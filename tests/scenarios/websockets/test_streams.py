"""Streams over a real WebSocket, both ways: in order, at the reader's pace, and ended by either side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from ratatoskr import CallError, CallFailed, CallRefused, Fail, Fault, Limits, OutcomeUnknown, Status
from ratatoskr.service import Call, Router
from ratatoskr_websockets import Peer, connect
from tests.scenarios.websockets.rest import at_rest, left, until
from tests.scenarios.websockets.world import COUNT, ECHO, Relay, World

ITEM = 16 * 1024


def numbers(count: int) -> list[bytes]:
    return [b"%d" % n for n in range(1, count + 1)]


async def read(
    peer: Peer, last: int = 0, *, stop: int = 0, seen: list[bytes] | None = None, **options: Any
) -> list[bytes]:
    """What a stream brings, up to its end or so many items; it goes into ``seen`` as it comes."""
    seen = [] if seen is None else seen
    async with peer.stream(COUNT, BytesValue(value=b"%d" % last if last else b""), **options) as items:
        async for item in items:
            seen.append(item.value)
            if len(seen) == stop:
                break
    return seen


@pytest.mark.parametrize("credit", [None, 1, 1000])
async def test_all_items_come_in_order_from_either_end(world: World, credit: int | None) -> None:
    async with world.serve() as server, world.connect(server, router=world.counting()) as peer:
        there = server.peers[0]
        assert await read(peer, 500, credit=credit) == numbers(500)
        assert await read(there, 500, credit=credit) == numbers(500)
        both = await asyncio.gather(*(read(end, 200, credit=credit) for end in (peer, there) * 3))
        assert both == [numbers(200)] * 6
        await at_rest(peer, there)
    assert world.counts == {"done": 8}
    assert peer.closed is not None
    assert peer.closed.clean


async def test_large_items_and_calls_share_the_line(world: World) -> None:
    item = bytes(200_000)
    async with world.serve(world.counting(item)) as server, world.connect(server) as peer:
        read_all = asyncio.create_task(read(peer, 40, credit=8))
        there = server.peers[0]
        with pytest.raises(CallRefused, match="NO_HANDLER"):
            await peer.request(ECHO, BytesValue())
        assert await read_all == [number + item for number in numbers(40)]
        await at_rest(peer, there)


async def test_an_item_becomes_provable_when_its_span_is_sealed(world: World) -> None:
    world.limits = Limits(seal_delay=0.001)
    async with world.serve() as server, world.connect(server) as peer:
        async with peer.stream(COUNT, BytesValue(value=b"3")) as items:
            await anext(items)
            evidence = items.evidence
        assert evidence is not None
        await until(evidence.receipt)
        receipt = evidence.receipt()
        assert receipt is not None
        receipt.verify(peer.peer.verify_key)


# A slow reader


async def test_a_reader_that_does_not_read_costs_the_sender_nothing_but_its_credit(world: World) -> None:
    async with world.serve(world.counting(bytes(ITEM))) as server, world.connect(server) as peer:
        there = server.peers[0]
        session = there._line.connection._session
        async with peer.stream(COUNT, BytesValue(), credit=8) as items:
            for taken in (1, 5, 25):
                while (await anext(items)).value != b"%d" % taken + bytes(ITEM):
                    pass
                await until(lambda: left(there).get("blocked") and not len(session._sender._outbox))
                assert len(items._items) <= 8, "what waits here"
                assert world.made <= taken + 8 + 1, "what was made, and not read"
                assert session._sender.streams._bytes == 0, "what waits there"
        await until(lambda: world.counts["stopped"])
        assert world.made <= 25 + 8 + 1
        await at_rest(peer, there)


async def test_a_line_that_takes_nothing_bounds_what_waits_for_it(world: World) -> None:
    """Much credit, and nothing gets through: items wait in the queue and among what is not acknowledged, no further."""
    world.limits = Limits(
        stream_credit_ahead=100_000, item_bytes_queued=8 * ITEM, outbox_bytes=16 * ITEM, record_bytes=256 * 1024
    )
    async with (
        world.serve(world.counting(bytes(ITEM))) as server,
        Relay(server.port) as relay,
        connect(relay.url, world.client_config(), proxy=None) as peer,
    ):
        there = server.peers[0]
        sender = there._line.connection._session._sender
        reading = asyncio.create_task(read(peer, 1000, credit=100_000))
        await until(lambda: world.made)
        relay.stop()
        await until(lambda: left(there).get("blocked") and not sender._outbox.has_room(world.limits))
        for _ in range(100):
            await asyncio.sleep(0)
            assert sender.streams._bytes <= 9 * ITEM
            assert sender._outbox.bytes <= 21 * ITEM, "the limit, and what one flight takes"
        assert world.made < 1000
        relay.go_on()
        assert await reading == [number + bytes(ITEM) for number in numbers(1000)]
        await at_rest(peer, there)


async def test_a_slow_reader_slows_nobody_else(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        async with peer.stream(COUNT, BytesValue(), credit=1) as slow:
            await anext(slow)
            assert await read(peer, 300) == numbers(300)
            assert (await peer.request(ECHO, BytesValue(value=b"x"))).value == b"x"
            assert (await anext(slow)).value == b"2"
        await at_rest(peer, server.peers[0])


# The end, by either side


@pytest.mark.parametrize("stop", [1, 16, 17, 100])
async def test_leaving_early_stops_the_handler_at_the_other_end(world: World, stop: int) -> None:
    async with world.serve() as server, world.connect(server, router=world.counting()) as peer:
        there = server.peers[0]
        for end in (peer, there):
            assert await read(end, stop=stop) == numbers(stop)
        await at_rest(peer, there)
        assert world.counts == {"stopped": 2}
        assert await read(peer, 3) == numbers(3)


async def test_a_reader_that_fails_stops_the_handler(world: World) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        with pytest.raises(ZeroDivisionError):
            await fail(peer)
        await at_rest(peer, server.peers[0])
        assert world.counts == {"stopped": 1}


async def fail(peer: Peer) -> None:
    async with peer.stream(COUNT, BytesValue()) as items:
        async for _ in items:
            raise ZeroDivisionError


async def test_time_is_for_all_of_a_stream(world: World) -> None:
    """The handler is stopped, and the reader is told that it is not the end."""
    async with world.serve() as server, world.connect(server) as peer:
        with pytest.raises(OutcomeUnknown) as caught:
            await read(peer, timeout=0.05)
        assert caught.value.failure.status is Status.DEADLINE_EXCEEDED
        await at_rest(peer, server.peers[0])
        assert world.counts == {"stopped": 1}


async def test_a_timeout_around_one_item_ends_nothing(world: World) -> None:
    router, more = Router(), asyncio.Event()

    @router.on(COUNT)
    async def count(message: BytesValue, call: Call) -> AsyncGenerator[BytesValue, None]:
        yield BytesValue(value=b"1")
        await more.wait()
        yield BytesValue(value=b"2")

    async with world.serve(router) as server, world.connect(server) as peer:
        async with peer.stream(COUNT, BytesValue()) as items:
            assert (await anext(items)).value == b"1"
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(items), 0.005)
            more.set()
            assert [item.value async for item in items] == [b"2"]
        await at_rest(peer, server.peers[0])


@pytest.mark.parametrize(
    ("error", "expected"),
    [(Fail(Status.OUT_OF_RANGE, "NO_MORE", "that is all"), "NO_MORE"), (ZeroDivisionError("a secret"), "INTERNAL")],
)
async def test_a_failure_comes_behind_the_items(
    world: World, error: Exception, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    router = Router()

    @router.on(COUNT)
    async def count(message: BytesValue, call: Call) -> AsyncGenerator[BytesValue, None]:
        for number in numbers(40):
            yield BytesValue(value=number)
        raise error

    seen: list[bytes] = []
    async with world.serve(router) as server, world.connect(server) as peer:
        with pytest.raises(CallFailed) as caught:
            await read(peer, credit=3, seen=seen)
        assert caught.value.failure.reason == expected
        assert "secret" not in str(caught.value)
        await at_rest(peer, server.peers[0])
    assert seen == numbers(40)
    assert [record.exc_info is not None for record in caplog.records if "handler.error" in record.message] == (
        [True] if expected == "INTERNAL" else []
    )


async def test_a_cut_line_ends_a_stream_as_unknown_and_stops_its_handler(world: World) -> None:
    async with (
        world.serve() as server,
        Relay(server.port) as relay,
        connect(relay.url, world.client_config(), proxy=None) as peer,
    ):
        there, seen = server.peers[0], list[bytes]()
        reading = asyncio.create_task(read(peer, credit=4, seen=seen))
        await until(lambda: seen)
        relay.cut()
        with pytest.raises(CallError) as caught:
            await reading
        assert caught.value.failure.reason == "TRANSPORT_LOST"
        await there.wait_closed()
        await until(lambda: world.counts["stopped"] and not left(there))


# Draining


@pytest.mark.parametrize("closing", ["client", "server", "peer of the server"])
async def test_a_stream_that_is_open_completes_before_the_connection_ends(world: World, closing: str) -> None:
    async with world.serve() as server, world.connect(server) as peer:
        seen: list[bytes] = []
        async with peer.stream(COUNT, BytesValue(value=b"200"), credit=2) as items:
            seen.append((await anext(items)).value)
            ends: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
                "client": peer.close,
                "server": server.close,
                "peer of the server": server.peers[0].close,
            }
            ending = asyncio.create_task(ends[closing]())
            await until(lambda: not peer._line.connection.takes_requests)
            assert peer.going_away == (closing != "client")
            with pytest.raises(CallRefused, match="GOING_AWAY"):
                await peer.request(ECHO, BytesValue())
            with pytest.raises(CallRefused, match="GOING_AWAY"):
                await read(peer, 3)
            seen += [item.value async for item in items]
        await ending
        assert seen == numbers(200)
        assert (await peer.wait_closed()).clean
    assert world.counts == {"done": 1}


async def test_a_stream_without_end_does_not_hold_up_a_server(world: World) -> None:
    world.limits = Limits(drain_timeout=0.05)
    async with world.serve() as server, world.connect(server) as peer:
        reading = asyncio.create_task(read(peer))
        await until(lambda: world.made > 100)
        await server.close()
        with pytest.raises(OutcomeUnknown):
            await reading
        assert (await peer.wait_closed()).fault in {Fault.DRAIN_TIMEOUT, Fault.TRANSPORT_LOST}
    assert world.counts == {"stopped": 1}
