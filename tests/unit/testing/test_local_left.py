"""local_client: time is virtual, and of handlers nothing is left."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator

import pytest

from ratatoskr import v1
from ratatoskr.errors import CallError, CallRefused, Disposition, Fail, OutcomeUnknown, Status
from ratatoskr.events import RequestReceived
from ratatoskr.service import Call, MemoryStore, RetryPolicy, Router
from ratatoskr.testing import local_client, run
from tests.unit.testing.shop import COUNT, NOTE, REDEEM, ask
from tests.unit.testing.work import Work, idle

POLICY = RetryPolicy(first_delay=2.0, longest_delay=8.0)

# Virtual time


def test_what_a_handler_asks_is_asked_again_in_virtual_time() -> None:
    server, phone = Router(), Router()
    failures = [Fail(Status.UNAVAILABLE, "BUSY", disposition=Disposition.NOT_PROCESSED, retry_delay=2.0)] * 2

    @server.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        return await call.request(REDEEM, message, key="k")

    @phone.on(REDEEM)
    async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
        if failures:
            raise failures.pop()
        return v1.GoAway(reason=f"{call.attempt}")

    with local_client(server, answers=phone, retry=POLICY) as client:
        assert run(client.request(NOTE, ask())).reason == "2"
        assert 4.0 <= client.clock.now.mono < 12.0
        assert idle(client)


def test_a_call_is_asked_again_at_once_where_its_delay_is_nothing() -> None:
    failures = [Fail(Status.UNAVAILABLE, "BUSY", disposition=Disposition.NOT_PROCESSED)]
    router = Router()

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        if failures:
            raise failures.pop()
        return v1.GoAway(reason="yes")

    with local_client(router, retry=POLICY) as client:
        client._sides[0]._asker.retries._entropy = bytes  # draws nothing but zeros
        assert run(client.request(NOTE, ask())).reason == "yes"
        assert client.clock.now.mono == 0.0


def test_a_delay_that_nobody_waits_out_is_no_answer() -> None:
    router = Router()

    @router.on(NOTE)
    async def busy(message: v1.Search, call: Call) -> v1.GoAway:
        raise Fail(Status.UNAVAILABLE, "BUSY", disposition=Disposition.NOT_PROCESSED, retry_delay=60.0)

    with local_client(router, retry=POLICY) as client:
        with pytest.raises(CallRefused, match="BUSY"):
            run(client.request(NOTE, ask()))
        assert client.clock.now.mono == 0.0


# What is left


def test_closing_stops_the_handlers_that_are_left() -> None:
    """One that waits for its caller's answer, one that waits for room, and one that was never run. Nothing of them is
    left for the garbage collector to complain about.
    """
    server, ended = Router(), list[str]()

    @server.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        try:
            return await call.request(REDEEM, message, key=message.query)
        finally:
            ended.append(message.query)

    @server.on(COUNT)
    async def count(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        try:
            while True:
                yield v1.GoAway()
        finally:
            ended.append("count")

    with local_client(server, kinds=[REDEEM]) as client:
        connection = client.pair.client.connection
        connection.request(COUNT, ask(), credit=1)
        run(client._host.tasks.settle())
        client.pair.server.link.lost = True
        connection.request(NOTE, ask("parked"))
        run(client._host.tasks.settle())
        connection.request(NOTE, ask("never run"))
        client.advance(0.0)
        assert len(client._host.tasks._alive) == 3
    assert sorted(ended) == ["count", "parked"]
    assert not client._host.tasks._alive
    gc.collect()


def test_closing_in_the_middle_of_another_task_s_call_ends_it() -> None:
    async def main() -> None:
        work = Work()
        client = local_client(work.router)
        call = asyncio.create_task(client.request(NOTE, ask()))
        await work.begun.wait()
        client.close()
        assert work.ended == [], "the runtime holds it"
        work.event.set()
        with pytest.raises(OutcomeUnknown):
            await call
        assert work.ended == ["Stopped"]
        client.advance(0.1)
        closed = client.pair.client.closed
        assert closed is not None
        assert closed.clean

    asyncio.run(main())


def test_a_handler_that_closes_the_client_it_serves_ends_with_it() -> None:
    router, ended = Router(), list[str]()

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        client.close()
        try:
            await call.request(REDEEM, message, key="k")
        finally:
            ended.append("note")
        raise AssertionError

    client = local_client(router, kinds=[REDEEM], raise_errors=False)
    with pytest.raises(CallError):
        run(client.request(NOTE, ask(), timeout=2.0))
    assert ended == ["note"]
    client.close()


def test_what_runs_at_most_once_and_is_stopped_by_the_end_leaves_its_claim() -> None:
    """As when a server's process ends: the next one finds it, and executes nothing."""
    store = MemoryStore()

    async def main() -> None:
        work = Work()
        client = local_client(work.router, store=store)
        call = asyncio.create_task(client.request(REDEEM, ask(), key="k"))
        await work.begun.wait()
        client.close()
        work.event.set()
        with pytest.raises(OutcomeUnknown):
            await call
        with local_client(work.router, store=store) as restarted, pytest.raises(OutcomeUnknown):
            await restarted.request(REDEEM, ask(), key="k")
        assert work.ended == ["Stopped"]

    asyncio.run(main())


def test_a_request_that_is_cancelled_before_it_is_read_begins_no_handler() -> None:
    begun: list[str] = []
    router = Router()

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        begun.append(message.query)
        return v1.GoAway()

    with local_client(router) as client:
        connection = client.pair.client.connection
        id = connection.request(NOTE, ask("never"))
        client.pair.run()
        connection.cancel(id)
        client.pair.run()
        run(client.request(NOTE, ask("next")))
        assert begun == ["next"]
        assert client.pair.server.seen(RequestReceived) == []
        assert idle(client)
