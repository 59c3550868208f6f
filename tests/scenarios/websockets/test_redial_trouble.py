"""Servers that close, restart, refuse and run out of room while their clients come back, over real sockets."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from ratatoskr import (
    CallRefused,
    ConnectionRequested,
    Fail,
    Fault,
    OutcomeUnknown,
    Status,
)
from ratatoskr.service import MemoryStore, Redial
from ratatoskr_websockets import Peer
from tests.scenarios.websockets.rest import kept, lost, outcome, turns, until
from tests.scenarios.websockets.world import COUNT, DOUBLE, ECHO, HOLD, Relay, World, word

SOON = Redial(first_delay=0.02, longest_delay=0.1, spread=0.05, steady_after=1.0)
LATE = Redial(first_delay=30.0)


async def found_again(peer: Peer, relay: Relay, connections: int) -> None:
    await until(lambda: relay.connections >= connections and peer.connected)


def takes_requests(peer: Peer) -> bool:
    return peer.takes_requests


def said(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    return any(text in line for line in caplog.messages)


# One peer, many lines


async def test_a_server_s_client_is_one_peer_over_all_its_lines(world: World) -> None:
    async with (
        world.serve() as server,
        Relay(server.port) as relay,
        world.connect_to(relay.url, router=world.counting(), redial=SOON) as peer,
    ):
        (there,) = server.peers
        session, address = there.session_id, there.address
        relay.cut()
        await until(lambda: not server.peers)
        assert not there.connected
        assert there.closed is None, "its calls wait"
        assert server.find("device-1") is None
        await until(lambda: server.peers)
        assert server.peers == (there,)
        assert server.find("device-1") is there
        assert there.session_id == session
        assert there.address != address
        async with there.stream(COUNT, word("3")) as items:
            assert len([item async for item in items]) == 3
        assert (await there.close()).fault is Fault.CLEAN, "the line of now ends, and not one of before"
        await until(lambda: server.peers)
        assert server.peers != (there,)
        assert (await peer.request(ECHO, word("x"))).value == b"x"


async def test_a_peer_takes_requests_as_long_as_a_line_may_come(world: World) -> None:
    """Also where the session of the last one is over."""
    async with (
        world.serve(session_timeout=0.0) as server,
        Relay(server.port) as relay,
        world.connect_to(relay.url, redial=LATE) as peer,
    ):
        assert takes_requests(peer) is True
        relay.refuse()
        relay.cut()
        await lost(peer)
        assert takes_requests(peer) is True
        call = asyncio.create_task(peer.request(ECHO, word("x")))
        await asyncio.sleep(0)
        assert not call.done()
        await peer.close()
        assert takes_requests(peer) is False
        assert isinstance(await outcome(call), CallRefused)


# Servers that close


@pytest.mark.parametrize("drain", [True, False])
async def test_a_server_that_closes_ends_what_waits(world: World, drain: bool) -> None:
    async with world.serve() as server, AsyncExitStack() as stack:
        relays = [await stack.enter_async_context(Relay(server.port)) for _ in range(3)]
        peers = [await stack.enter_async_context(world.connect_to(each.url, redial=LATE)) for each in relays]
        calls = [asyncio.create_task(peer.request(HOLD, word("x"))) for peer in peers]
        await until(lambda: len(server._reception._workshop.bench.tasks) == 3)
        for relay in relays[:2]:
            relay.refuse()
            relay.cut()
        await until(lambda: kept(server).get("waiting") == 2)
        closing = asyncio.create_task(server.close(drain=drain))
        await until(lambda: "waiting" not in kept(server))
        await until(world.cancelled.is_set)  # nobody comes back for their answers
        if drain:
            assert not calls[2].done()
            world.release.set()
            assert (await calls[2]).value == b"xx"
        await closing
        assert kept(server) == {}
        for peer in peers:
            await peer.close()
        outcomes = [type(await outcome(call)) for call in calls]
        assert outcomes == [OutcomeUnknown] * 2 + [BytesValue if drain else OutcomeUnknown]


@pytest.mark.parametrize("drain", [True, False])
async def test_a_server_that_closes_at_every_turn_of_a_resume(world: World, drain: bool) -> None:
    config = world.server_config()
    store = MemoryStore()
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(world.serve(config=config, store=store))
        for number in range(0, 50, 5):
            async with (
                world.serve(config=config, store=store) as first,
                Relay(first.port) as relay,
                world.connect_to(relay.url, redial=SOON) as peer,
            ):
                world.arrived.clear()
                world.release.clear()
                key = f"{drain} {number}"
                seconds = 30.0 if drain else 1.0  # what was stopped counts as alive for a while
                call = asyncio.create_task(peer.request(DOUBLE, word(key), key=key, timeout=seconds))
                await world.arrived.wait()
                relay.cut()
                await turns(number)
                relay.lead_to(second.port)
                closing = asyncio.create_task(first.close(drain=drain))
                await turns(5)
                world.release.set()
                await closing
                assert (await peer.request(ECHO, word("x"))).value == b"x"
                result = await outcome(call)
                assert (isinstance(result, OutcomeUnknown) and not drain) or result.value == word(key).value * 2
                assert world.executed[key] == 1
            await until(lambda: not second.peers)


async def test_a_server_that_restarts_on_its_port_again_and_again_under_load(world: World) -> None:
    """Three ways to end: goodbye, cut, and both lines and sessions gone. No payment is lost, none is made twice."""
    config, store, port = world.server_config(), MemoryStore(), 0
    world.release.set()
    answers: list[str] = []

    async def pay(peer: Peer, who: int) -> None:
        for number in range(25):
            text = f"{who} {number}"
            answer = await peer.request(DOUBLE, word(text), key=text)
            assert answer.value == text.encode() * 2
            answers.append(text)
            await asyncio.sleep(0.005)

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(world.serve(config=config, store=store))
        port = server.port
        peers = [
            await stack.enter_async_context(world.connect_to(f"ws://127.0.0.1:{port}", redial=SOON)) for _ in range(4)
        ]
        calls = [asyncio.create_task(pay(peer, who)) for who, peer in enumerate(peers)]
        for number in range(6):
            await asyncio.sleep(0.02)
            await server.close(drain=number % 2 == 0)
            server = await stack.enter_async_context(world.serve(config=config, store=store, port=port))
        for each in await asyncio.gather(*calls, return_exceptions=True):
            assert each is None or isinstance(each, OutcomeUnknown), repr(each)
    assert set(world.executed.values()) == {1}
    assert set(answers) <= set(world.executed)
    assert len(answers) > 20


async def test_a_line_that_is_lost_while_its_client_closes_is_the_end(world: World) -> None:
    async with (
        world.serve() as server,
        Relay(server.port) as relay,
        world.connect_to(relay.url, redial=SOON) as peer,
    ):
        call = asyncio.create_task(peer.request(HOLD, word("x")))
        await world.arrived.wait()
        closing = asyncio.create_task(peer.close())
        await until(lambda: server.peers[0].going_away)
        relay.cut()
        assert (await closing).fault is Fault.TRANSPORT_LOST
        assert isinstance(await outcome(call), OutcomeUnknown)
        assert relay.connections == 1
        await until(lambda: not server.peers)


async def test_a_line_that_is_lost_behind_its_goodbye_ends_its_calls_and_no_others(world: World) -> None:
    config = world.server_config()
    async with (
        world.serve(config=config) as first,
        world.serve(config=config) as second,
        Relay(first.port) as relay,
        world.connect_to(relay.url, redial=SOON) as peer,
    ):
        held = asyncio.create_task(peer.request(HOLD, word("x")))
        await world.arrived.wait()
        relay.lead_to(second.port)
        leaving = asyncio.create_task(first.close())
        await until(lambda: second.peers)
        new = asyncio.create_task(peer.request(HOLD, word("y")))
        for writer in relay._writers[:2]:
            writer.transport.abort()
        lost = await outcome(held)
        assert isinstance(lost, OutcomeUnknown)
        assert lost.failure.reason == "SESSION_ABANDONED"
        await leaving
        world.release.set()
        assert (await new).value == b"yy"


# Servers that refuse


async def test_resumed_lines_count_once_for_their_identity(world: World) -> None:
    """The server notices none of the losses: each line is replaced, and counts no longer."""
    async with (
        world.serve(per_identity=2) as server,
        Relay(server.port) as relay,
        world.connect_to(relay.url, redial=SOON) as peer,
    ):
        for number in range(8):
            relay.cut_client()
            await found_again(peer, relay, number + 2)
            assert (await peer.request(ECHO, word("x"))).value == b"x"
            await until(lambda: len(server._reception._lines) == 1)
        assert server._reception.quota._counts.total() == 1


async def test_who_has_too_many_connections_comes_again_when_it_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    config = world.client_config()
    async with (
        world.serve(per_identity=1) as server,
        Relay(server.port) as relay,
        world.connect_to(relay.url, config, redial=SOON) as peer,
    ):
        call = asyncio.create_task(peer.request(HOLD, word("x")))
        await world.arrived.wait()
        relay.cut_client()  # it counts until the server finds it out
        await until(lambda: said(caplog, "TOO_MANY_CONNECTIONS"))
        await until(lambda: said(caplog, "the next try is in 30.") or said(caplog, "the next try is in 31."))
        assert not call.done()
        assert peer.closed is None
        relay.cut()
        call.cancel()


async def test_a_decision_that_comes_too_late_for_its_line_harms_nobody(world: World) -> None:
    """The client was cut off again while the server thought about it, and asks anew."""
    decisions: list[asyncio.Event] = []

    async def decide(_: ConnectionRequested) -> None:
        decisions.append(asyncio.Event())
        await decisions[-1].wait()

    async with world.serve(on_connect=decide) as server, Relay(server.port) as relay:
        connecting = asyncio.create_task(stay(world, relay.url))
        await until(lambda: len(decisions) == 1)
        decisions[0].set()
        await world.arrived.wait()
        for number in range(1, 4):
            (relay.cut if number % 2 else relay.cut_client)()
            while len(decisions) == number:  # noqa: ASYNC110 - there is nothing to wait for but turns
                await asyncio.sleep(0)
        decisions[3].set()
        await until(lambda: server.peers)
        for decision in decisions:
            decision.set()
        world.release.set()
        assert await connecting == b"xx"
        await until(lambda: not server._reception._lines)
        assert server._reception.quota._counts.total() == 0


async def stay(world: World, url: str) -> bytes:
    async with world.connect_to(url, redial=SOON) as peer:
        return (await peer.request(HOLD, word("x"))).value


async def test_a_hook_that_fails_during_a_resume_may_be_asked_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    asked = 0

    async def decide(_: ConnectionRequested) -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise RuntimeError
        if asked == 3:
            raise Fail(Status.UNAVAILABLE, "LATER", retry_delay=0.01)

    async with (
        world.serve(on_connect=decide) as server,
        Relay(server.port) as relay,
        world.connect_to(relay.url, redial=SOON) as peer,
    ):
        call = asyncio.create_task(peer.request(HOLD, word("x")))
        await world.arrived.wait()
        relay.cut()
        await until(lambda: said(caplog, "on_connect failed"))
        await until(lambda: said(caplog, "the next try is in 5."))
        peer._client._reconnecting.hurry()  # type: ignore[attr-defined]
        await until(lambda: asked == 4)
        world.release.set()
        assert (await call).value == b"xx"
