"""A client that connects again by itself, over real sockets that are cut, and servers that go and come back."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from ratatoskr import (
    CallRefused,
    Disposition,
    Fail,
    Failure,
    Fault,
    OutcomeUnknown,
    SessionTable,
    Status,
)
from ratatoskr.service import MemoryStore, Redial
from ratatoskr_websockets import ConnectFailed
from tests.scenarios.websockets.rest import kept, left, until
from tests.scenarios.websockets.world import CALL_BACK, COUNT, DOUBLE, ECHO, HOLD, Relay, World, echo_router, url, word

SOON = Redial(first_delay=0.02, longest_delay=0.1, spread=0.05, steady_after=1.0)


@pytest.mark.parametrize("when", ["before the answer", "while nobody is there"])
async def test_a_call_under_way_simply_completes(world: World, when: str) -> None:
    async with world.serve() as server, Relay(server.port) as relay, world.connect_to(relay.url, redial=SOON) as peer:
        session = peer.session_id
        call = asyncio.create_task(peer.request(HOLD, word("x")))
        await world.arrived.wait()
        relay.cut()
        if when == "while nobody is there":
            await until(lambda: not server.peers)
            world.release.set()
        await until(lambda: server.peers)
        world.release.set()
        assert (await call).value == b"xx"
        assert peer.session_id == session == server.peers[0].session_id
        assert world.cancelled.is_set() is False
        assert (await peer.request(ECHO, word("again"))).value == b"again"
        await until(lambda: not left(peer))


async def test_what_runs_at_most_once_runs_once_however_often_the_line_is_cut(world: World) -> None:
    async with world.serve() as server, Relay(server.port) as relay, world.connect_to(relay.url, redial=SOON) as peer:
        calls = [asyncio.create_task(peer.request(DOUBLE, word(f"{n}"), key=f"k{n}")) for n in range(20)]
        for _ in range(5):
            relay.cut()
            await until(lambda: not server.peers)
            await until(lambda: server.peers)
        world.release.set()
        assert [(await call).value for call in calls] == [f"{n}{n}".encode() for n in range(20)]
        assert world.executed == Counter({f"{n}": 1 for n in range(20)})


async def test_a_stream_goes_on_behind_its_last_item(world: World) -> None:
    async with world.serve() as server, Relay(server.port) as relay, world.connect_to(relay.url, redial=SOON) as peer:
        numbers = []
        async with peer.stream(COUNT, word("200")) as counted:
            async for each in counted:
                numbers.append(int(each.value))
                if len(numbers) in (20, 90):
                    relay.cut()
        assert numbers == list(range(1, 201))
        assert world.counts == Counter(done=1)


async def test_a_handler_of_the_server_calls_back_over_the_next_line(world: World) -> None:
    async with (
        world.serve() as server,
        Relay(server.port) as relay,
        world.connect_to(relay.url, router=echo_router(), redial=SOON) as peer,
    ):
        relay.stop()
        call = asyncio.create_task(peer.request(CALL_BACK, word("there and back")))
        await asyncio.sleep(0)
        relay.cut()
        relay.go_on()
        assert (await call).value == b"there and back"


async def test_calls_made_without_a_line_wait_for_one_or_for_their_time(world: World) -> None:
    async with world.serve() as server, Relay(server.port) as relay, world.connect_to(relay.url, redial=SOON) as peer:
        relay.refuse()
        relay.cut()
        await until(lambda: not server.peers)
        with pytest.raises(CallRefused) as refused:
            await peer.request(ECHO, word("late"), timeout=0.05)
        assert refused.value.failure.reason == "TIMEOUT"
        call = asyncio.create_task(peer.request(ECHO, word("in time")))
        await asyncio.sleep(0)
        relay.let_in()
        assert (await call).value == b"in time"


async def test_a_server_that_was_killed_is_a_new_session_and_once_calls_are_asked_again(world: World) -> None:
    store = MemoryStore()
    config = world.server_config()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(world.serve(config=config, store=store))
        relay = await stack.enter_async_context(Relay(first.port))
        peer = await stack.enter_async_context(world.connect_to(relay.url, redial=SOON))
        session = peer.session_id
        once = asyncio.create_task(peer.request(DOUBLE, word("a"), key="k"))
        other = asyncio.create_task(peer.request(HOLD, word("b")))
        await until(lambda: world.executed["a"])
        second = await stack.enter_async_context(world.serve(config=config, store=store))
        relay.lead_to(second.port)
        relay.cut()
        with pytest.raises(OutcomeUnknown) as unknown:
            await other
        assert unknown.value.failure.reason == "SESSION_UNKNOWN"
        world.release.set()
        answer = await once
        assert answer.value == b"aa"
        assert world.executed["a"] == 1
        assert peer.session_id != session


async def test_a_goodbye_costs_no_call(world: World) -> None:
    config = world.server_config()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(world.serve(config=config))
        second = await stack.enter_async_context(world.serve(config=config))
        relay = await stack.enter_async_context(Relay(first.port))
        peer = await stack.enter_async_context(world.connect_to(relay.url, redial=Redial(spread=3600.0)))
        held = asyncio.create_task(peer.request(HOLD, word("x")))
        await world.arrived.wait()
        relay.lead_to(second.port)
        leaving = asyncio.create_task(first.close())
        for n in range(20):
            assert (await peer.request(ECHO, word(f"{n}"))).value == f"{n}".encode()
            await asyncio.sleep(0)
        assert not held.done()
        assert len(second.peers) == 1, "whoever asks for something is connected at once"
        world.release.set()
        assert (await held).value == b"xx"
        await leaving
        assert peer.closed is None


async def test_the_first_connection_is_waited_for(world: World) -> None:
    async with world.serve() as server, Relay(server.port) as relay:
        relay.refuse()
        connecting = asyncio.create_task(self_test(world, relay.url))
        await until(lambda: relay.refused > 2)
        relay.let_in()
        assert await connecting == b"first"


async def self_test(world: World, url: str) -> bytes:
    async with world.connect_to(url, redial=SOON) as peer:
        return (await peer.request(ECHO, word("first"))).value


async def test_who_is_sent_away_is_told_and_tries_no_more(world: World) -> None:
    no = Failure(Status.PERMISSION_DENIED, "BLOCKED", "not you", Disposition.NOT_PROCESSED)

    async def refuse(_: object) -> None:
        raise Fail(no.status, no.reason, no.message)

    async with world.serve(on_connect=refuse) as server:
        with pytest.raises(ConnectFailed, match="BLOCKED"):
            await self_test(world, url(server))


async def test_who_is_sent_away_later_learns_the_fate_of_its_calls(world: World) -> None:
    allowed = True

    async def decide(_: object) -> None:
        if not allowed:
            raise Fail(Status.PERMISSION_DENIED, "BLOCKED", "not you any more")

    async with (
        world.serve(on_connect=decide) as server,
        Relay(server.port) as relay,
        world.connect_to(relay.url, redial=SOON) as peer,
    ):
        call = asyncio.create_task(peer.request(HOLD, word("x")))
        await world.arrived.wait()
        allowed = False
        relay.cut()
        with pytest.raises(OutcomeUnknown) as unknown:
            await call
        assert unknown.value.failure.reason == "SESSION_ABANDONED"
        closed = await peer.wait_closed()
        assert closed.fault is Fault.REJECTED
        with pytest.raises(CallRefused, match="connect again"):
            await peer.request(ECHO, word("no"))


async def test_nobody_is_waited_for_for_ever(world: World) -> None:
    policy = Redial(first_delay=0.01, longest_delay=0.02, give_up_after=0.2)
    async with world.serve() as server, Relay(server.port) as relay, world.connect_to(relay.url, redial=policy) as peer:
        relay.refuse()
        relay.cut()
        closed = await peer.wait_closed()
        assert closed.fault is Fault.TRANSPORT_LOST
        assert peer.closed is closed


@pytest.mark.parametrize("drain", [True, False])
async def test_closing_without_a_line_ends_at_once(world: World, drain: bool) -> None:
    async with (
        world.serve() as server,
        Relay(server.port) as relay,
        world.connect_to(relay.url, redial=Redial(first_delay=30.0)) as peer,
    ):
        call = asyncio.create_task(peer.request(HOLD, word("x")))
        await world.arrived.wait()
        relay.refuse()
        relay.cut()
        await until(lambda: not server.peers)
        closed = await peer.close(drain=drain)
        assert closed.fault is Fault.ABANDONED
        with pytest.raises(OutcomeUnknown):
            await call


async def test_a_line_that_died_unnoticed_is_replaced(world: World) -> None:
    async with world.serve() as server, Relay(server.port) as relay, world.connect_to(relay.url, redial=SOON) as peer:
        call = asyncio.create_task(peer.request(HOLD, word("x")))
        await world.arrived.wait()
        relay.cut_client()  # the server's side stays open, as behind a router that has died
        await until(lambda: relay.connections == 2)
        world.release.set()
        assert (await call).value == b"xx"
        assert len(server.peers) == 1
        await until(lambda: len(server._reception._lines) == 1)


async def test_a_server_keeps_no_more_sessions_than_it_has_room_for(world: World) -> None:
    table = SessionTable(most=1)
    async with world.serve(sessions=table) as server, AsyncExitStack() as stack:
        relays = [await stack.enter_async_context(Relay(server.port)) for _ in range(3)]
        for relay in relays:
            peer = await stack.enter_async_context(world.connect_to(relay.url, redial=Redial(first_delay=30.0)))
            asyncio.create_task(peer.request(HOLD, word("x"))).add_done_callback(lambda task: task.exception())
        await until(lambda: len(table) == 3)
        for relay in relays:
            relay.refuse()
            relay.cut()
        await until(lambda: not server.peers)
        await until(lambda: len(table.waiting()) == len(table) == 1)


async def test_without_redial_and_without_a_timeout_nothing_is_kept(world: World) -> None:
    async with world.serve() as server, Relay(server.port) as relay, world.connect_to(relay.url) as peer:
        relay.cut()
        assert (await peer.wait_closed()).fault is Fault.TRANSPORT_LOST
        assert "sessions" not in kept(server)
    async with (
        world.serve(session_timeout=0.0) as server,
        Relay(server.port) as relay,
        world.connect_to(relay.url, redial=SOON) as peer,
    ):
        call = asyncio.create_task(peer.request(HOLD, word("x")))
        await world.arrived.wait()
        relay.cut()
        with pytest.raises(OutcomeUnknown) as unknown:
            await call
        assert unknown.value.failure.reason == "TRANSPORT_LOST"
        assert (await peer.request(ECHO, word("again"))).value == b"again"
        assert "sessions" not in kept(server)
