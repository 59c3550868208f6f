"""At most once over real connections: duplicates, restarts, lost lines, and other amounts under the same key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from ratatoskr import PAYMENT_AUTHORIZE, CallFailed, LocalProtocolError, OutcomeUnknown
from ratatoskr.service import MemoryStore, OncePolicy, OnceStore
from ratatoskr_stores import SqliteStore
from ratatoskr_websockets import connect
from tests.scenarios.websockets.world import DOUBLE, Relay, World, payment

DUPLICATES = 50


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], OnceStore]]:
    """Opens the store, again and again; what is in memory is one and the same."""
    if request.param == "memory":
        memory = MemoryStore()
        yield lambda: memory
        return
    opened: list[SqliteStore] = []

    def reopen() -> OnceStore:
        for store in opened:
            store.close()
        opened[:] = [SqliteStore(tmp_path / "once.db")]
        return opened[0]

    yield reopen
    for store in opened:
        store.close()


async def test_concurrent_duplicates_execute_once(world: World, open_store: Callable[[], OnceStore]) -> None:
    config = world.client_config()
    async with (
        world.serve(store=open_store()) as server,
        world.connect(server, config) as one,
        world.connect(server, config) as two,
    ):
        exchanges = await asyncio.gather(
            *((one, two)[n % 2].exchange(PAYMENT_AUTHORIZE, payment()) for n in range(DUPLICATES))
        )
    assert world.executed == {"e2e-1": 1}
    assert {exchange.message.payment_id for exchange in exchanges} == {"p-1"}
    assert sum(not exchange.replayed for exchange in exchanges) == 1


async def test_a_restarted_client_gets_the_stored_outcome(world: World, open_store: Callable[[], OnceStore]) -> None:
    config = world.client_config()
    async with world.serve(store=open_store()) as server:
        async with world.connect(server, config) as peer:
            first = await peer.exchange(PAYMENT_AUTHORIZE, payment())
        async with world.connect(server, config) as peer:
            again = await peer.exchange(PAYMENT_AUTHORIZE, payment())
            receipt = again.receipt()
            assert receipt is not None
            receipt.verify(peer.peer.verify_key)
            assert receipt.session_id == peer.session_id
    assert (first.replayed, again.replayed) == (False, True)
    assert first.message == again.message
    assert world.executed == {"e2e-1": 1}


async def test_a_restarted_server_gives_the_stored_outcome(world: World, open_store: Callable[[], OnceStore]) -> None:
    identity = world.authority.device()
    config = world.server_config()
    for turn in range(2):
        async with (
            world.serve(config=config, store=open_store()) as server,
            world.connect(server, world.client_config(identity)) as peer,
        ):
            exchange = await peer.exchange(PAYMENT_AUTHORIZE, payment())
            assert exchange.replayed is bool(turn)
    assert world.executed == {"e2e-1": 1}


async def test_another_amount_under_the_same_key_is_a_conflict(
    world: World, open_store: Callable[[], OnceStore]
) -> None:
    async with world.serve(store=open_store()) as server, world.connect(server) as peer:
        await peer.request(PAYMENT_AUTHORIZE, payment(units=10))
        with pytest.raises(CallFailed) as caught:
            await peer.request(PAYMENT_AUTHORIZE, payment(units=11))
    assert caught.value.failure.reason == "CONFLICT"
    assert world.executed == {"e2e-1": 1}


async def test_another_device_has_keys_of_its_own(world: World, open_store: Callable[[], OnceStore]) -> None:
    async with world.serve(store=open_store()) as server:
        for subject in ("shop-7", "shop-8"):
            config = world.client_config(world.authority.device(subject))
            async with world.connect(server, config) as peer:
                assert not (await peer.exchange(PAYMENT_AUTHORIZE, payment())).replayed
    assert world.executed == {"e2e-1": 2}


async def test_a_refusal_is_an_outcome_too(world: World, open_store: Callable[[], OnceStore]) -> None:
    async with world.serve(store=open_store()) as server, world.connect(server) as peer:
        for _ in range(2):
            with pytest.raises(CallFailed, match="INSUFFICIENT_FUNDS"):
                await peer.request(PAYMENT_AUTHORIZE, payment(units=5000))
    assert world.executed == {"e2e-1": 1}


async def test_a_lost_line_does_not_stop_what_runs_once(world: World, open_store: Callable[[], OnceStore]) -> None:
    config = world.client_config()
    async with world.serve(store=open_store()) as server:
        async with Relay(server.port) as relay, connect(relay.url, config, proxy=None) as peer:
            lost = asyncio.create_task(peer.request(DOUBLE, BytesValue(value=b"k"), key="k"))
            await world.arrived.wait()
            relay.cut()
            with pytest.raises(OutcomeUnknown):
                await lost
        async with world.connect(server, config) as peer:
            joined = asyncio.create_task(peer.exchange(DOUBLE, BytesValue(value=b"k"), key="k"))
            await asyncio.sleep(0)
            world.release.set()
            assert (await joined).message.value == b"kk"
    assert world.executed == {"k": 1}
    assert not world.cancelled.is_set()


async def test_a_policy_says_how_long_a_claim_is_believed(world: World) -> None:
    store = MemoryStore()
    policy = OncePolicy(lease=5.0)
    async with world.serve(store=store, policy=policy) as server, world.connect(server) as peer:
        paying = asyncio.create_task(peer.request(DOUBLE, BytesValue(value=b"k"), key="k"))
        await world.arrived.wait()
        [held] = store._held.values()
        assert held.entry.lease_until <= time.time() + policy.lease
        world.release.set()
        await paying


async def test_a_policy_keeps_what_is_announced(world: World) -> None:
    config = world.server_config(retention=3600.0)
    async with world.serve(config=config, policy=OncePolicy(retention=3600.0)):
        pass
    with pytest.raises(LocalProtocolError, match=r"Config\.retention"):
        await world.serve(config=config, policy=OncePolicy()).__aenter__()
