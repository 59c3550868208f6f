"""Whoever gives up, whenever that is, leaves nothing: no task, no pending call, no handler, no slot."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from ratatoskr import CallError, CallRefused, Limits, OutcomeUnknown
from ratatoskr.service import NO_RETRIES
from ratatoskr_websockets import Peer
from tests.scenarios.websockets.rest import Recording, at_rest, left, until
from tests.scenarios.websockets.world import CALL_BACK, COUNT, DOUBLE, ECHO, HOLD, World, echo_router

MANY_CANCELS = Limits(cancels_per_minute=1_000_000, ack_delay=0.001)
TURNS = 45
"""More than any of these calls takes where nothing holds it up."""


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def echo(peer: Peer) -> bytes:
    return (await peer.request(ECHO, BytesValue(value=b"x"))).value


async def call_back(peer: Peer) -> bytes:
    return (await peer.request(CALL_BACK, BytesValue(value=b"x"))).value


async def hold(peer: Peer) -> bytes:
    return (await peer.request(HOLD, BytesValue(value=b"x"))).value


async def count(peer: Peer) -> bytes:
    """A stream of five, of which two may come at a time."""
    async with peer.stream(COUNT, BytesValue(value=b"5"), credit=2) as items:
        return b"".join([item.value async for item in items])


async def count_for_ever(peer: Peer) -> None:
    async with peer.stream(COUNT, BytesValue(), credit=2) as items:
        async for _ in items:
            await asyncio.sleep(0)


@pytest.mark.parametrize("call", [echo, call_back, hold, count, count_for_ever])
@pytest.mark.parametrize("from_server", [False, True])
async def test_a_call_that_is_given_up_at_every_turn_of_the_loop_leaves_nothing(
    world: World, call: Any, from_server: bool
) -> None:
    world.limits = MANY_CANCELS
    async with world.serve() as server, world.connect(server, router=world.router()) as peer:
        there = server.peers[0]
        before = asyncio.all_tasks()
        asker = there if from_server else peer
        cancelled = 0
        for number in range(TURNS):
            task = asyncio.create_task(call(asker))
            await turns(number)
            task.cancel()
            await asyncio.wait([task])
            cancelled += task.cancelled()
            assert task.cancelled() or task.result() in {b"x", b"12345"}
            await at_rest(peer, there)
            assert asyncio.all_tasks() == before
        assert cancelled == TURNS if call in (hold, count_for_ever) else 0 < cancelled < TURNS
        for end in (peer, there):
            assert await echo(end) == b"x"
            assert await count(end) == b"12345"
        await at_rest(peer, there)


@pytest.mark.parametrize("kind", [HOLD, DOUBLE])
async def test_a_request_and_its_cancel_in_one_message_begin_no_handler(world: World, kind: Any) -> None:
    """Two records, read at once: as whoever sends them again and again would like to have it."""
    async with world.serve() as server, world.connect(server) as peer:
        transport: Any = peer._line._driver._transport
        websocket = transport._websocket
        send, held = websocket.send, list[bytes]()

        async def hold_two(data: bytes) -> None:
            held.append(data)
            if len(held) == 2:
                websocket.send = send
                await send(b"".join(held))

        websocket.send = hold_two
        tasks = server._reception._workshop.bench.tasks = Recording()
        call = asyncio.create_task(peer.request(kind, BytesValue(value=b"k"), key="k" if kind.once else None))
        await until(lambda: held)
        call.cancel()
        await asyncio.wait([call])
        await at_rest(peer, server.peers[0])
        assert len(held) == 2
        assert tasks.added == 0
        assert not world.arrived.is_set()
        assert await echo(peer) == b"x"


@pytest.mark.parametrize("number", range(0, TURNS, 4))
async def test_a_payment_that_is_given_up_is_made_all_the_same(world: World, number: int) -> None:
    """And whoever asks again is told of it, at whatever turn that was; only what was never begun is begun now."""
    world.limits = MANY_CANCELS
    async with world.serve() as server, world.connect(server) as peer:
        task = asyncio.create_task(peer.request(DOUBLE, BytesValue(value=b"k"), key="k"))
        await turns(number)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        again = asyncio.create_task(peer.request(DOUBLE, BytesValue(value=b"k"), key="k"))
        await world.arrived.wait()
        world.release.set()
        assert (await again).value == b"kk"
        await at_rest(peer, server.peers[0])
    assert world.executed == {"k": 1}
    assert not world.cancelled.is_set()


async def test_who_waits_for_a_place_and_gives_up_leaves_nothing(world: World) -> None:
    world.limits = Limits(requests_open=2, requests_queued=2, cancels_per_minute=1_000_000, ack_delay=0.001)
    async with world.serve() as server, world.connect(server, retry=NO_RETRIES) as peer:
        there = server.peers[0]
        for number in range(TURNS):
            calls = [asyncio.create_task(hold(peer)) for _ in range(8)]
            await turns(number)
            for call in calls:
                call.cancel()
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(each) for each in outcomes} == {asyncio.CancelledError}
            await at_rest(peer, there)
        assert await echo(peer) == b"x"


async def test_a_thousand_calls_of_which_many_are_given_up(world: World) -> None:
    """Of all sorts, at once, cancelled at random. Those that are not get their own answer."""
    world.limits = MANY_CANCELS
    dice = random.Random(20240229)
    calls: dict[asyncio.Task[bytes], bytes] = {}

    async def ask(peer: Peer, number: int) -> bytes:
        text = b"%d" % number
        match number % 4:
            case 0:
                return (await peer.request(HOLD, BytesValue(value=text))).value
            case 1:
                return (await peer.request(DOUBLE, BytesValue(value=text), key=text)).value
            case 2:
                return await count(peer)
            case _:
                return (await peer.request(ECHO, BytesValue(value=text))).value

    async with world.serve() as server, world.connect(server, router=world.router()) as peer:
        there = server.peers[0]
        before = asyncio.all_tasks()
        for number in range(1000):
            text = b"%d" % number
            answer = (text * 2, text * 2, b"12345", text)[number % 4]
            calls[asyncio.create_task(ask(peer if number % 3 else there, number))] = answer
        victims = dice.sample(list(calls), 600)
        while victims:
            for _ in range(dice.randrange(20)):
                if victims:
                    victims.pop().cancel()
            await turns(dice.randrange(3))
        world.release.set()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        answered = [each for each in zip(outcomes, calls.values(), strict=True) if isinstance(each[0], bytes)]
        assert all(outcome == answer for outcome, answer in answered)
        assert {type(each) for each in outcomes} == {bytes, asyncio.CancelledError}
        assert len(answered) >= 400
        assert max(world.executed.values()) == 1, "each payment at most once"
        await at_rest(peer, there)
        assert asyncio.all_tasks() == before
        assert await echo(peer) == await echo(there) == b"x"
    assert peer.closed is not None
    assert peer.closed.clean


async def test_calls_that_are_open_when_the_connection_ends_leave_nothing(world: World) -> None:
    async with world.serve() as server, world.connect(server, router=echo_router()) as peer:
        there = server.peers[0]
        calls = [asyncio.create_task(call(peer)) for call in (hold, echo, count_for_ever) for _ in range(5)]
        calls += [asyncio.create_task(echo(there)) for _ in range(5)]
        await world.arrived.wait()
        await until(lambda: world.made)
        await peer.close(drain=False)
        await there.wait_closed()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each) for each in outcomes if isinstance(each, BaseException)} <= {OutcomeUnknown, CallRefused}
        assert sum(isinstance(each, CallError) for each in outcomes) >= 10
        await until(lambda: not left(there) and not left(peer))
        assert world.counts == {"stopped": 5}
        assert world.cancelled.is_set()
