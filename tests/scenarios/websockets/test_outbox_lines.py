"""Posts over lines that come and go: a client that connects again by itself, and an outbox that outlives it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from ratatoskr import PAYMENT_AUTHORIZE, STANDARD_KINDS, CallRefused, Fault, Now, OutcomeUnknown
from ratatoskr.service import MemoryStore, OutboxInUse, OutboxPolicy, Posting, Redial
from ratatoskr_stores import SqliteOutbox
from ratatoskr_stores.runtime import AsyncioRuntime
from ratatoskr_websockets import ConnectFailed
from tests.scenarios.websockets.rest import until
from tests.scenarios.websockets.test_outbox import outcomes
from tests.scenarios.websockets.world import DOUBLE, Relay, World, payment, url

SOON = Redial(first_delay=0.02, longest_delay=0.1, spread=0.05, steady_after=1.0)
LATER = OutboxPolicy(first_delay=600.0, longest_delay=600.0, check_every=600.0)
"""Only what happens makes the courier look and send."""


class HourAgo(AsyncioRuntime):
    """A clock that is an hour late."""

    def now(self) -> Now:
        now = super().now()
        return Now(now.mono, now.wall - 3600.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def opened(path: Path, policy: OutboxPolicy = LATER) -> SqliteOutbox:
    """The outbox, as a process that starts opens it."""
    return SqliteOutbox(path, kinds=STANDARD_KINDS | [DOUBLE], policy=policy)


@pytest.fixture
def outbox(path: Path) -> Iterator[SqliteOutbox]:
    with opened(path) as made:
        yield made


async def post(outbox: SqliteOutbox, *keys: str) -> list[int]:
    return [await outbox.post(DOUBLE, BytesValue(value=key.encode()), key=key) for key in keys]


async def states(outbox: SqliteOutbox) -> list[str]:
    return [post.state.name for post in await outbox.pending()]


async def test_what_is_posted_without_a_line_waits_and_is_sent_in_its_order_over_the_next(
    world: World, outbox: SqliteOutbox
) -> None:
    async with (
        world.serve() as server,
        Relay(server.port) as relay,
        world.connect_to(relay.url, redial=SOON, outbox=outbox),
    ):
        relay.refuse()
        relay.cut()
        await until(lambda: not server.peers)
        for n in range(10):
            await outbox.post(PAYMENT_AUTHORIZE, payment(f"e2e-{n}"))
        await until(lambda: relay.refused > 2)
        assert await states(outbox) == ["WAITING"] * 10
        relay.let_in()
        told = [settled.answer(PAYMENT_AUTHORIZE) for settled in await outcomes(outbox, 10)]
    assert [each.end_to_end_id for each in told] == [f"e2e-{n}" for n in range(10)]
    assert [each.payment_id for each in told] == [f"p-{n + 1}" for n in range(10)]


async def test_what_is_posted_without_a_line_can_be_cancelled(world: World, outbox: SqliteOutbox) -> None:
    async with (
        world.serve() as server,
        Relay(server.port) as relay,
        world.connect_to(relay.url, redial=SOON, outbox=outbox),
    ):
        relay.refuse()
        relay.cut()
        await until(lambda: not server.peers)
        first, _ = await post(outbox, "a", "b")
        await until(lambda: relay.refused > 2)
        assert await outbox.cancel(first)
        world.release.set()
        relay.let_in()
        cancelled, answered = await outcomes(outbox, 2)
        with pytest.raises(CallRefused, match="CANCELLED"):
            cancelled.answer(DOUBLE)
        assert answered.answer(DOUBLE).value == b"bb"
    assert world.executed == Counter(b=1)


@pytest.mark.parametrize("when", ["before the answer", "while nobody is there"])
async def test_a_line_that_is_cut_between_a_post_and_its_answer_changes_nothing(
    world: World, outbox: SqliteOutbox, when: str
) -> None:
    async with (
        world.serve() as server,
        Relay(server.port) as relay,
        world.connect_to(relay.url, redial=SOON, outbox=outbox),
    ):
        await post(outbox, "a", "b")
        await world.arrived.wait()
        relay.cut()
        if when == "while nobody is there":
            await until(lambda: not server.peers)
            world.release.set()
        await until(lambda: server.peers)
        world.release.set()
        assert [told.answer(DOUBLE).value for told in await outcomes(outbox, 2)] == [b"aa", b"bb"]
        assert await outbox.pending() == []
    assert world.executed == Counter(a=1, b=1)


async def test_a_server_that_knows_the_session_no_more_is_asked_again_under_the_same_key(
    world: World, path: Path
) -> None:
    """The session is gone, the attempt with it; the outcome is in the store, and is told once."""
    config, store = world.server_config(), MemoryStore()
    with opened(path, OutboxPolicy(first_delay=0.01, longest_delay=0.05)) as outbox:
        async with (
            world.serve(config=config, store=store) as first,
            world.serve(config=config, store=store) as second,
            Relay(first.port) as relay,
            world.connect_to(relay.url, redial=SOON, outbox=outbox) as peer,
        ):
            await post(outbox, "a")
            await world.arrived.wait()
            session = peer.session_id
            relay.lead_to(second.port)
            relay.cut()
            await until(lambda: second.peers)
            world.release.set()
            (told,) = await outcomes(outbox, 1)
            assert (told.answer(DOUBLE).value, told.delivery) == (b"aa", 1)
            assert peer.session_id != session
            assert await outbox.pending() == []
    assert world.executed == Counter(a=1)


async def test_a_process_that_dies_without_a_line_leaves_everything_to_the_next(world: World, path: Path) -> None:
    """What was under way is doubtful, what was posted afterwards waits; each is executed once and told once."""
    async with world.serve() as server, Relay(server.port) as relay:
        config = world.client_config()
        with opened(path) as outbox, suppress(ZeroDivisionError):
            async with world.connect_to(relay.url, config, redial=SOON, outbox=outbox):
                await post(outbox, "a")
                await world.arrived.wait()
                relay.refuse()
                relay.cut()
                await until(lambda: not server.peers)
                await post(outbox, "b", "c")
                raise ZeroDivisionError
        world.release.set()
        with opened(path) as outbox:
            assert await states(outbox) == ["SENT", "WAITING", "WAITING"]
            relay.let_in()
            async with world.connect_to(relay.url, config, redial=SOON, outbox=outbox):
                told = [settled.answer(DOUBLE).value for settled in await outcomes(outbox, 3)]
    assert told == [b"aa", b"bb", b"cc"]
    assert world.executed == Counter(a=1, b=1, c=1)


async def test_an_outbox_is_read_while_the_first_line_is_waited_for(world: World, path: Path) -> None:
    """By an app that starts without a network: what expires is told, what is posted waits and is sent."""
    policy = OutboxPolicy(check_every=0.05)
    with opened(path, policy) as outbox:
        async with world.serve() as server, Relay(server.port) as relay:
            relay.refuse()

            async def send() -> None:
                async with world.connect_to(relay.url, redial=SOON, outbox=outbox) as peer:
                    await peer.wait_closed()

            sending = asyncio.create_task(send())
            await until(lambda: relay.refused > 2)
            await outbox.post(PAYMENT_AUTHORIZE, payment("late"), expires_at=time.time() + 0.1)
            await outbox.post(PAYMENT_AUTHORIZE, payment("early"))
            (expired,) = await outcomes(outbox, 1)
            with pytest.raises(CallRefused, match="REQUEST_EXPIRED"):
                expired.answer(PAYMENT_AUTHORIZE)
            assert await states(outbox) == ["WAITING"]
            relay.let_in()
            (told,) = await outcomes(outbox, 1)
            assert told.answer(PAYMENT_AUTHORIZE).end_to_end_id == "early"
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending


async def test_what_expires_when_the_line_is_lost_is_told_without_one(world: World, path: Path) -> None:
    async with world.serve() as server, Relay(server.port) as relay:
        with opened(path, OutboxPolicy(check_every=0.05)) as outbox:
            async with world.connect_to(relay.url, redial=SOON, outbox=outbox):
                relay.refuse()
                relay.cut()
                await until(lambda: not server.peers)
                await outbox.post(PAYMENT_AUTHORIZE, payment(), expires_at=time.time() + 0.1)
                (told,) = await outcomes(outbox, 1)
                with pytest.raises(CallRefused, match="REQUEST_EXPIRED"):
                    told.answer(PAYMENT_AUTHORIZE)
    assert world.executed == Counter()


async def test_what_is_older_than_the_server_keeps_outcomes_ends_when_it_says_so(world: World, path: Path) -> None:
    world.release.set()
    with SqliteOutbox(path, kinds=[DOUBLE], runtime=HourAgo()) as outbox:
        await post(outbox, "a", "b")
        await outbox.store.move(1, Posting.WAITING, Posting.SENT)
    with opened(path) as outbox:
        await post(outbox, "c")
        config = world.server_config(retention=3600.0)
        async with world.serve(config=config) as server, world.connect(server, outbox=outbox):
            first, second, third = await outcomes(outbox, 3)
    by_key = {settled.post.key: settled for settled in (first, second, third)}
    with pytest.raises(OutcomeUnknown):
        by_key[b"a"].answer(DOUBLE)
    with pytest.raises(CallRefused, match="STALE"):
        by_key[b"b"].answer(DOUBLE)
    assert by_key[b"c"].answer(DOUBLE).value == b"cc"
    assert world.executed == Counter(c=1)


@pytest.mark.parametrize("redial", [None, SOON])
async def test_an_outbox_that_is_in_use_is_told_before_anything_is_dialled(
    world: World, path: Path, redial: Redial | None
) -> None:
    async with world.serve() as server, Relay(server.port) as relay:
        with opened(path) as outbox, opened(path) as other:
            async with world.connect(server, outbox=outbox):
                with pytest.raises(OutboxInUse):
                    async with world.connect_to(relay.url, redial=redial, outbox=other):
                        raise AssertionError
        assert relay.connections == 0


async def test_where_there_is_no_connection_the_outbox_is_free_again(world: World, outbox: SqliteOutbox) -> None:
    await post(outbox, "a")
    async with world.serve() as server:
        nowhere = url(server)
    for redial in (None, Redial(first_delay=0.01, longest_delay=0.02, give_up_after=0.1)):
        with pytest.raises(ConnectFailed) as failed:
            async with world.connect_to(nowhere, redial=redial, outbox=outbox):
                raise AssertionError
        assert failed.value.fault is Fault.TRANSPORT_LOST
        assert await states(outbox) == ["WAITING"]
    world.release.set()
    async with world.serve() as server, world.connect(server, outbox=outbox):
        assert (await outcomes(outbox, 1))[0].answer(DOUBLE).value == b"aa"
