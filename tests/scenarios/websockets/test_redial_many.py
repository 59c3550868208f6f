"""Many clients that come back, and some that are no friends, over real sockets."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from ratatoskr import (
    OutcomeUnknown,
    ResumableSession,
    SessionTable,
)
from ratatoskr.admission import Resume
from ratatoskr.messages import Position
from ratatoskr.service import MemoryStore, Redial
from ratatoskr_websockets import Peer
from tests.scenarios.websockets.rest import at_rest, kept, lost, outcome, until
from tests.scenarios.websockets.tls import Tls
from tests.scenarios.websockets.world import DOUBLE, ECHO, HOLD, Relay, World, word

SOON = Redial(first_delay=0.02, longest_delay=0.1, spread=0.05, steady_after=1.0)
LATE = Redial(first_delay=30.0)


async def found_again(peer: Peer, relay: Relay, connections: int) -> None:
    await until(lambda: relay.connections >= connections and peer.connected)


async def test_evictions_under_load(world: World) -> None:
    """There is room for three sessions without a line, and twelve clients lose theirs again and again."""
    dice = random.Random(20240229)
    table = SessionTable(most=3)
    world.release.set()
    store = MemoryStore()

    async def pay(peer: Peer, who: int) -> None:
        for number in range(20):
            text = f"{who} {number}"
            assert (await peer.request(DOUBLE, word(text), key=text)).value == text.encode() * 2

    async with world.serve(sessions=table, store=store) as server, AsyncExitStack() as stack:
        relays = [await stack.enter_async_context(Relay(server.port)) for _ in range(12)]
        peers = [await stack.enter_async_context(world.connect_to(each.url, redial=SOON)) for each in relays]
        calls = [asyncio.create_task(pay(peer, who)) for who, peer in enumerate(peers)]
        for _ in range(15):
            for relay in dice.sample(relays, 6):
                dice.choice([relay.cut, relay.cut_client])()
            await asyncio.sleep(dice.random() * 0.2)
            assert len(table.waiting()) <= 3
        for each in await asyncio.gather(*calls, return_exceptions=True):
            assert each is None or isinstance(each, OutcomeUnknown), repr(each)
        for peer in peers:
            assert (await peer.request(ECHO, word("x"))).value == b"x"
    assert set(world.executed.values()) == {1}


async def test_two_servers_may_share_a_table(world: World) -> None:
    """Whose session is given up for one of the other's ends a little later."""
    table = SessionTable(most=1)
    async with world.serve(sessions=table) as first, world.serve(sessions=table) as second:
        async with Relay(first.port) as one, Relay(second.port) as other:
            for relay in (one, other):
                async with world.connect_to(relay.url, redial=LATE) as peer:
                    call = asyncio.create_task(peer.request(HOLD, word("x")))
                    await world.arrived.wait()
                    world.arrived.clear()
                    relay.cut()
                    await lost(peer)
                    await peer.close()
                    await outcome(call)
            await until(lambda: len(table.waiting()) == len(table) == 1)
        await first.close()
        await second.close()


@pytest.mark.parametrize(("clients", "noticed"), [(200, True), (50, False)])
async def test_many_clients_whose_lines_are_cut_at_once(world: World, clients: int, noticed: bool) -> None:
    """Most of them are turned away at the gate at first. All come back to their sessions, and every call completes."""
    policy = replace(SOON, first_delay=0.2, longest_delay=1.0)
    async with world.serve() as server, Relay(server.port) as relay, AsyncExitStack() as stack:
        configs = [world.client_config(world.authority.device(f"device-{n}")) for n in range(clients)]
        peers = [await stack.enter_async_context(world.connect_to(relay.url, each, redial=policy)) for each in configs]
        sessions = {peer.session_id for peer in peers}
        calls = [asyncio.create_task(peer.request(HOLD, word(f"{n}"))) for n, peer in enumerate(peers)]
        await until(lambda: len(server._reception._workshop.bench.tasks) == clients)
        (relay.cut if noticed else relay.cut_client)()
        await until(lambda: not any(peer.connected for peer in peers))
        await until(lambda: all(peer.connected for peer in peers), seconds=50.0)
        assert relay.connections > 2 * clients
        world.release.set()
        assert [(await call).value for call in calls] == [f"{n}{n}".encode() for n in range(clients)]
        assert {peer.session_id for peer in peers} == sessions
        assert not world.cancelled.is_set()
        await at_rest(*peers, *server.peers)


async def test_over_tls(world: World) -> None:
    tls = Tls()
    async with world.serve(ssl=tls.server) as server, Relay(server.port) as relay:
        url = relay.url.replace("ws://", "wss://")
        async with world.connect_to(url, ssl=tls.client, redial=SOON) as peer:
            session = peer.session_id
            call = asyncio.create_task(peer.request(HOLD, word("x")))
            await world.arrived.wait()
            for _ in range(3):
                relay.cut()
                await until(lambda: not server.peers)
                await until(lambda: server.peers)
            world.release.set()
            assert (await call).value == b"xx"
            assert peer.session_id == session


# Clients that are no friends


async def test_a_flood_of_resumes_leaves_one_line_and_one_session(world: World) -> None:
    policy = Redial(first_delay=0.001, longest_delay=0.001, steady_after=1.0)
    async with (
        world.serve() as server,
        Relay(server.port) as relay,
        world.connect_to(relay.url, redial=policy) as peer,
    ):
        call = asyncio.create_task(peer.request(HOLD, word("x")))
        await world.arrived.wait()
        for number in range(30):
            await found_again(peer, relay, number + 1)
            (relay.cut if number % 2 else relay.cut_client)()
        await until(lambda: len(server._reception._lines) == 1 and server.peers)
        assert kept(server)["kept"] == kept(server)["sessions"] == 1
        world.release.set()
        assert (await call).value == b"xx"


async def test_who_names_the_session_of_another_gets_one_of_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id is no credential, to another identity nor to one of the same name and other keys."""
    victim_config, thief_config = world.client_config(), world.client_config()
    async with (
        world.serve() as server,
        Relay(server.port) as relay,
        world.connect_to(relay.url, victim_config, redial=SOON) as victim,
        world.connect(server, thief_config, redial=SOON) as thief,
    ):
        call = asyncio.create_task(victim.request(HOLD, word("x")))
        await world.arrived.wait()
        session = victim.session_id
        claim = ResumableSession.claim

        def steal(self: ResumableSession, peer: Any, h: bytes) -> Resume | None:
            honest = claim(self, peer, h)
            if self.session_id != stolen or honest is None:
                return honest
            none = Position(0, bytes(32), 0)
            return Resume(session, 1000, none, none, bytes(32))

        stolen = thief.session_id
        monkeypatch.setattr(ResumableSession, "claim", steal)
        (there,) = [each for each in server.peers if each.session_id == stolen]
        there._line._driver._transport.abort()
        await until(lambda: thief.connected and thief.session_id != stolen)
        assert thief.session_id != session
        assert (await thief.request(ECHO, word("x"))).value == b"x"
        assert victim.connected
        relay.cut()
        world.release.set()
        assert (await call).value == b"xx"
        assert victim.session_id == session
