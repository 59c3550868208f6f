"""Whoever gives up on a client that redials, whenever that is, leaves nothing: no task, no socket, no session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from ratatoskr import CallError, CallRefused, Closed, Fault, Limits, OutcomeUnknown
from ratatoskr.service import NO_RETRIES, Redial
from ratatoskr_websockets import Peer, Server
from tests.scenarios.websockets.rest import at_rest, kept, turns, until
from tests.scenarios.websockets.world import COUNT, DOUBLE, ECHO, HOLD, Relay, World, word

SOON = Redial(first_delay=0.01, longest_delay=0.05, spread=0.02, steady_after=1.0)
AT_ONCE = replace(SOON, first_delay=0.001, longest_delay=0.001, spread=0.001)
LATE = Redial(first_delay=30.0)
MANY_CANCELS = Limits(cancels_per_minute=1_000_000, ack_delay=0.001)


class Tasks:
    """Those that were there before, beside which none is to be left."""

    def __init__(self, server: Server) -> None:
        self._before = asyncio.all_tasks()
        self._server = server

    async def are_gone(self) -> None:
        """But for those of a relay, and at the server handlers, and one for each session that waits."""
        await until(lambda: not self._left())

    def _left(self) -> bool:
        names = [repr(each.get_coro()) for each in asyncio.all_tasks() - self._before]
        sleepers = sum("Footing._sleep" in name for name in names)
        others = [name for name in names if not any(own in name for own in ("Footing._sleep", "Relay._", "Job.run"))]
        return bool(others) or sleepers > kept(self._server).get("waiting", 0)

    async def stop(self, task: asyncio.Task[Any]) -> None:
        """It is cancelled, and leaves nothing."""
        task.cancel()
        await asyncio.wait([task])
        await self.are_gone()


async def client(world: World, url: str, policy: Redial, then: Callable[[Peer], Any]) -> None:
    async with world.connect_to(url, redial=policy) as peer:
        await then(peer)


async def stay(peer: Peer) -> None:
    await asyncio.Event().wait()


async def leave(peer: Peer) -> None:
    """The end of the block drains."""
    await peer.request(ECHO, word("x"))


async def ask(peer: Peer) -> None:
    await peer.request(HOLD, word("x"))


@pytest.mark.parametrize("then", [stay, leave, ask])
async def test_cancelled_at_every_turn_while_it_dials_opens_and_drains(world: World, then: Any) -> None:
    async with world.serve() as server:
        tasks = Tasks(server)
        url = f"ws://127.0.0.1:{server.port}"
        for number in range(0, 80, 2 if then is stay else 5):
            task = asyncio.create_task(client(world, url, SOON, then))
            await turns(number)
            await tasks.stop(task)
        await until(lambda: not server._reception._lines and not server._gate._pending)
        async with world.connect(server, redial=SOON) as peer:
            assert (await peer.request(ECHO, word("x"))).value == b"x"


@pytest.mark.parametrize("policy", [AT_ONCE, LATE], ids=["dialling", "waiting"])
async def test_cancelled_at_every_turn_while_there_is_nobody(world: World, policy: Redial) -> None:
    async with world.serve() as server, Relay(server.port) as relay:
        relay.refuse()
        tasks = Tasks(server)
        for number in range(0, 60, 3):
            task = asyncio.create_task(client(world, relay.url, policy, stay))
            await turns(number)
            await tasks.stop(task)


@pytest.mark.parametrize("policy", [AT_ONCE, LATE], ids=["dialling", "waiting"])
async def test_cancelled_at_every_turn_after_the_line_is_lost(world: World, policy: Redial) -> None:
    """Also while the session goes on over the next line."""
    async with world.serve() as server, Relay(server.port) as relay:
        tasks = Tasks(server)
        for number in range(0, 60, 3):
            there: asyncio.Future[Peer] = asyncio.get_running_loop().create_future()

            async def stay_there(peer: Peer, there: asyncio.Future[Peer] = there) -> None:
                there.set_result(peer)
                await peer.request(HOLD, word("x"))

            task = asyncio.create_task(client(world, relay.url, policy, stay_there))
            await there
            await world.arrived.wait()
            relay.cut()
            await turns(number)
            await tasks.stop(task)
            world.arrived.clear()
        await server.close(drain=False)


@pytest.mark.parametrize("policy", [AT_ONCE, LATE], ids=["resuming", "waiting"])
@pytest.mark.parametrize("kind", [ECHO, HOLD, COUNT], ids=str)
async def test_a_call_that_is_given_up_at_every_turn_after_a_cut_leaves_nothing(
    world: World, kind: Any, policy: Redial
) -> None:
    world.limits = MANY_CANCELS

    async def call(peer: Peer) -> None:
        if kind is COUNT:
            async with peer.stream(COUNT, word("9"), credit=2) as items:
                async for _ in items:
                    pass
        else:
            await peer.request(kind, word("x"))

    async with world.serve() as server, Relay(server.port) as relay:
        async with world.connect_to(relay.url, redial=policy, retry=NO_RETRIES) as peer:
            for number in range(0, 40, 2):
                if policy is LATE and number:
                    break
                early = asyncio.create_task(call(peer))
                await turns(number % 7)
                relay.cut()
                late = asyncio.create_task(call(peer))
                await turns(number)
                for task in (early, late):
                    task.cancel()
                await asyncio.wait([early, late])
                assert len(peer._calls._asker.pending) == 0
                if policy is AT_ONCE:
                    await until(lambda: server.peers and peer.connected)
                    await at_rest(peer, server.peers[0])
        await until(lambda: "lines" not in kept(server))


async def test_an_exception_in_the_block_without_a_line_ends_it_at_once(world: World) -> None:
    class Oops(Exception):
        pass

    calls: list[asyncio.Task[Any]] = []

    async def fail(peer: Peer) -> None:
        calls.append(asyncio.create_task(peer.request(HOLD, word("x"))))
        await world.arrived.wait()
        relay.refuse()
        relay.cut()
        await until(lambda: not peer.connected)
        calls.append(asyncio.create_task(peer.request(ECHO, word("x"))))
        await asyncio.sleep(0)
        raise Oops

    async with world.serve() as server, Relay(server.port) as relay:
        with pytest.raises(Oops):
            await client(world, relay.url, LATE, fail)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each) for each in outcomes] == [OutcomeUnknown, CallRefused]
        assert all(isinstance(each, CallError) and each.failure.reason == "SESSION_ABANDONED" for each in outcomes)


@pytest.mark.parametrize("drain", [True, False])
async def test_closing_at_every_turn_of_a_resume(world: World, drain: bool) -> None:
    async with world.serve() as server, Relay(server.port) as relay:
        tasks = Tasks(server)
        for number in range(0, 60, 3):
            world.release.clear()
            async with world.connect_to(relay.url, redial=AT_ONCE) as peer:
                call = asyncio.create_task(peer.request(DOUBLE, word("x"), key=f"{drain} {number}"))
                await world.arrived.wait()
                relay.cut()
                await turns(number)
                closing = asyncio.create_task(peer.close(drain=drain))
                await turns(5)
                world.release.set()
                closed = await closing
                assert isinstance(closed, Closed)
                assert peer.closed is closed
                assert await peer.close() is closed
                (outcome,) = await asyncio.gather(call, return_exceptions=True)
                assert isinstance(outcome, BytesValue | CallError)
                with pytest.raises(CallRefused):
                    await peer.request(ECHO, word("x"))
            world.arrived.clear()
            await tasks.are_gone()
        await until(lambda: not server._reception._lines)


async def test_closing_twice_is_closing_once(world: World) -> None:
    async with world.serve() as server, world.connect(server, redial=SOON) as peer:
        first, second, third = await asyncio.gather(peer.close(), peer.close(drain=False), peer.wait_closed())
        assert first is second is third is await peer.close()


async def test_who_gives_up_waiting_for_the_end_stops_nothing(world: World) -> None:
    """It is a wait like any other: the call that drains completes."""
    async with world.serve() as server, world.connect(server, redial=SOON) as peer:
        call = asyncio.create_task(peer.request(HOLD, word("x")))
        await world.arrived.wait()
        for wait in (peer.close, peer.wait_closed):
            for number in range(10):
                task = asyncio.create_task(wait())
                await turns(number)
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await peer.close()
        assert not call.done()
        world.release.set()
        assert (await call).value == b"xx"
        assert (await peer.wait_closed()).clean


async def test_who_gives_up_waiting_for_the_end_of_an_old_line_does_not_cut_it(world: World) -> None:
    """All is over but a call that completes where the server has said goodbye."""
    config = world.server_config()
    async with world.serve(config=config) as first, world.connect(first, redial=LATE) as peer:
        call = asyncio.create_task(peer.request(HOLD, word("x")))
        await world.arrived.wait()
        leaving = asyncio.create_task(first.close())
        await until(lambda: peer._line.going_away)
        for number in range(10):
            closing = asyncio.create_task(peer.close())
            await turns(number)
            closing.cancel()
            await asyncio.wait([closing])
            assert closing.cancelled()
        assert peer.closed is not None, "nobody is dialled any more"
        assert not call.done()
        world.release.set()
        assert (await call).value == b"xx"
        assert (await peer.wait_closed()).fault is Fault.ABANDONED
        await leaving


async def test_a_second_cancellation_waits_for_no_close(world: World) -> None:
    world.limits = Limits(close_timeout=60.0)
    connected: asyncio.Future[Peer] = asyncio.get_running_loop().create_future()

    async def stay_there(peer: Peer) -> None:
        connected.set_result(peer)
        await asyncio.Event().wait()

    async with world.serve() as server, Relay(server.port) as relay:
        task = asyncio.create_task(client(world, relay.url, SOON, stay_there))
        peer = await connected
        relay.stop()
        task.cancel()
        assert (await asyncio.wait([task], timeout=0.05))[1]
        task.cancel()
        assert (await asyncio.wait([task], timeout=20.0))[0], "the close would take a minute"
        assert task.cancelled()
        assert peer.closed is not None
        transport: Any = peer._line._driver._transport
        assert transport._websocket.transport.is_closing()
