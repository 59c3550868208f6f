"""Posts over real connections: made before there is one, cut in the middle, left to the next."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, suppress
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from ratatoskr import PAYMENT_AUTHORIZE, STANDARD_KINDS, CallFailed, LocalProtocolError
from ratatoskr.service import OutboxInUse, OutboxPolicy, Posting, PostSettled
from ratatoskr_stores import SqliteOutbox
from ratatoskr_websockets import connect
from tests.scenarios.websockets.world import DOUBLE, Relay, World, payment, url


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def outbox(path: Path) -> Iterator[SqliteOutbox]:
    policy = OutboxPolicy(first_delay=0.01, longest_delay=0.05)
    with SqliteOutbox(path, kinds=STANDARD_KINDS | [DOUBLE], policy=policy) as opened:
        yield opened


async def outcomes(outbox: SqliteOutbox, count: int) -> list[PostSettled]:
    """The next ones, done."""
    told: list[PostSettled] = []
    async with aclosing(outbox.outcomes()) as settled:
        while len(told) < count:
            told.append(await anext(settled))
            await told[-1].done()
    return told


async def test_what_was_posted_before_is_executed_in_its_order_and_provable(world: World, outbox: SqliteOutbox) -> None:
    for n in range(10):
        await outbox.post(PAYMENT_AUTHORIZE, payment(f"e2e-{n}"))
    async with world.serve() as server, world.connect(server, outbox=outbox) as peer:
        told = await outcomes(outbox, 10)
        for settled in told:
            assert settled.receipt is not None
            settled.receipt.verify(peer.peer.verify_key)
    assert [settled.answer(PAYMENT_AUTHORIZE).payment_id for settled in told] == [f"p-{n + 1}" for n in range(10)]
    assert [settled.answer(PAYMENT_AUTHORIZE).end_to_end_id for settled in told] == [f"e2e-{n}" for n in range(10)]


async def test_what_is_posted_meanwhile_is_sent_and_a_refusal_is_told(world: World, outbox: SqliteOutbox) -> None:
    async with world.serve() as server, world.connect(server, outbox=outbox):
        await outbox.post(PAYMENT_AUTHORIZE, payment(units=5000))
        (told,) = await outcomes(outbox, 1)
        with pytest.raises(CallFailed, match="INSUFFICIENT_FUNDS"):
            told.answer(PAYMENT_AUTHORIZE)


async def test_a_line_that_is_cut_in_the_middle_executes_nothing_twice(world: World, outbox: SqliteOutbox) -> None:
    """The configuration need not name the kinds that the outbox knows."""
    config = world.client_config(kinds=STANDARD_KINDS)
    await outbox.post(DOUBLE, BytesValue(value=b"k"), key="k")
    async with world.serve() as server:
        async with Relay(server.port) as relay, connect(relay.url, config, proxy=None, outbox=outbox) as peer:
            await world.arrived.wait()
            relay.cut()
            await peer.wait_closed()
        (post,) = await outbox.pending()
        assert post.state is Posting.DOUBTFUL
        async with world.connect(server, config, outbox=outbox):
            world.release.set()
            (told,) = await outcomes(outbox, 1)
    assert told.answer(DOUBLE).value == b"kk"
    assert world.executed == {"k": 1}


async def test_the_end_of_the_block_waits_for_what_is_under_way(world: World, outbox: SqliteOutbox) -> None:
    await outbox.post(DOUBLE, BytesValue(value=b"k"), key="k")
    async with world.serve() as server, world.connect(server, outbox=outbox):
        await world.arrived.wait()
        asyncio.get_running_loop().call_soon(world.release.set)
    assert await outbox.pending() == []
    assert (await outcomes(outbox, 1))[0].answer(DOUBLE).value == b"kk"


async def test_an_exception_in_the_block_leaves_it_to_the_next(world: World, outbox: SqliteOutbox) -> None:
    await outbox.post(DOUBLE, BytesValue(value=b"k"), key="k")
    config = world.client_config()
    async with world.serve() as server:
        with suppress(ZeroDivisionError):
            async with world.connect(server, config, outbox=outbox):
                await world.arrived.wait()
                raise ZeroDivisionError
        assert [post.state for post in await outbox.pending()] == [Posting.SENT]
        world.release.set()
        async with world.connect(server, config, outbox=outbox):
            assert (await outcomes(outbox, 1))[0].answer(DOUBLE).value == b"kk"
    assert world.executed == {"k": 1}


async def test_what_may_have_been_executed_is_not_sent_under_another_name(world: World, outbox: SqliteOutbox) -> None:
    await outbox.post(DOUBLE, BytesValue(value=b"k"), key="k")
    till = world.authority.device("till-7")
    async with world.serve() as server:
        with suppress(ZeroDivisionError):
            async with world.connect(server, world.client_config(till), outbox=outbox):
                await world.arrived.wait()
                raise ZeroDivisionError
        world.release.set()
        other = world.client_config(world.authority.device("till-8"))
        with pytest.raises(LocalProtocolError, match="connect as DEVICE `till-7`"):
            async with world.connect(server, other, outbox=outbox):
                raise AssertionError
        renewed = world.authority.device("till-7")
        assert renewed.kid != till.kid
        async with world.connect(server, world.client_config(renewed), outbox=outbox):
            assert (await outcomes(outbox, 1))[0].answer(DOUBLE).value == b"kk"
        async with world.connect(server, other, outbox=outbox):
            await outbox.post(PAYMENT_AUTHORIZE, payment())
            assert (await outcomes(outbox, 1))[0].receipt is not None
    assert world.executed == {"k": 1, "e2e-1": 1}


async def test_a_second_connection_is_told_that_the_outbox_is_in_use(world: World, path: Path) -> None:
    async with world.serve() as server:
        with SqliteOutbox(path) as one, SqliteOutbox(path) as other:
            async with world.connect(server, outbox=one):
                for outbox in (one, other):
                    with pytest.raises(OutboxInUse):
                        async with world.connect(server, outbox=outbox):
                            raise AssertionError
            async with connect(url(server), world.client_config(), proxy=None, outbox=other):
                pass
