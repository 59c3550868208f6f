"""local_client under a runtime: any runtime, tasks at once, and calls that are given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import CallError, OutcomeUnknown
from ratatoskr.service import Call, Router
from ratatoskr.testing import LocalClient, local_client
from tests.unit.testing.runtime import Trap, drive
from tests.unit.testing.shop import COUNT, NOTE, REDEEM, ask
from tests.unit.testing.work import Work, idle

# Runtimes


def test_any_runtime_s_awaitables_pass_through_a_handler() -> None:
    """As trio's do: objects that asyncio would not understand, answered by who drives the test."""
    router = Router()

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        try:
            await Trap("fails")
        except TimeoutError as error:
            return v1.GoAway(reason=f"{await Trap('works')} after {error}")
        raise AssertionError

    @router.on(COUNT)
    async def count(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        for name in ("a", "b", "c"):
            yield v1.GoAway(reason=await Trap(name))

    def answer(name: str) -> str:
        if name == "fails":
            raise TimeoutError("a timeout")
        return name.upper()

    async def main() -> list[str]:
        with local_client(router) as client:
            first = await client.request(NOTE, ask())
            async with client.stream(COUNT, ask(), credit=1) as items:
                return [first.reason, *[item.reason async for item in items]]

    assert drive(main(), answer) == ["WORKS after a timeout", "A", "B", "C"]


def test_timeouts_of_asyncio_inside_a_handler_are_its_own() -> None:
    router = Router()

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            return v1.GoAway(reason="too slow")
        raise AssertionError

    async def main() -> str:
        with local_client(router) as client:
            return (await client.request(NOTE, ask())).reason

    assert asyncio.run(main()) == "too slow"


# Tasks at once


def test_two_tasks_whose_handlers_both_ask_back() -> None:
    server, phone = Router(), Router()

    @server.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        replies = []
        for n in range(3):
            await asyncio.sleep(0)
            replies.append((await call.request(REDEEM, ask(message.query), key=f"{message.query} {n}")).reason)
        return v1.GoAway(reason=" ".join(replies))

    @phone.on(REDEEM)
    async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
        await asyncio.sleep(0)
        return v1.GoAway(reason=message.query)

    async def main() -> list[str]:
        with local_client(server, answers=phone) as client:
            answers = await asyncio.gather(*(client.request(NOTE, ask(text)) for text in "abcd"))
            assert idle(client)
            return [answer.reason for answer in answers]

    assert asyncio.run(main()) == ["a a a", "b b b", "c c c", "d d d"]


def test_a_handler_may_ask_back_twice_at_once() -> None:
    server, phone = Router(), Router()

    @server.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        replies = await asyncio.gather(*(call.request(REDEEM, ask(text), key=text) for text in "ab"))
        return v1.GoAway(reason=" ".join(reply.reason for reply in replies))

    @phone.on(REDEEM)
    async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
        return v1.GoAway(reason=message.query)

    async def main() -> str:
        with local_client(server, answers=phone) as client:
            return (await client.request(NOTE, ask())).reason

    assert asyncio.run(main()) == "a b"


# Who gives up


@pytest.mark.parametrize("kind", [NOTE, REDEEM])
def test_a_call_that_is_given_up_while_its_handler_waits_for_the_runtime(kind: Any) -> None:
    """The handler waits in the caller's task, so it is stopped there: also what runs at most once, of which then nobody
    knows how far it came. Over a real transport that goes on.
    """
    key = "k" if kind.once else None

    async def main() -> None:
        work = Work()
        with local_client(work.router) as client:
            call = asyncio.create_task(client.request(kind, ask(), key=key))
            await work.begun.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert work.ended == ["stopped"]
            assert (await client.request(NOTE, ask("at once"))).reason == "done"
            if kind.once:
                with pytest.raises(OutcomeUnknown):
                    await client.request(kind, ask(), key=key)
            assert idle(client)

    asyncio.run(main())


def test_a_stream_that_is_given_up_while_its_handler_waits_for_the_runtime() -> None:
    async def read(client: LocalClient) -> None:
        async with client.stream(COUNT, ask()) as items:
            async for _ in items:
                pass

    async def main() -> None:
        work = Work()
        with local_client(work.router) as client:
            reading = asyncio.create_task(read(client))
            await work.begun.wait()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert work.ended == ["stopped"]
            assert (await client.request(NOTE, ask("at once"))).reason == "done"
            assert idle(client)

    asyncio.run(main())


def test_a_call_that_is_given_up_at_every_turn_of_the_loop_leaves_nothing() -> None:
    """Also where another one's handler is run by it, whose call then fails and never hangs."""

    async def main() -> None:
        router = Router()

        @router.on(NOTE)
        async def note(message: v1.Search, call: Call) -> v1.GoAway:
            for _ in range(3):
                await asyncio.sleep(0)
            return v1.GoAway(reason=message.query)

        with local_client(router) as client:
            for turns in range(12):
                victim = asyncio.create_task(client.request(NOTE, ask("victim")))
                other = asyncio.create_task(client.request(NOTE, ask("other")))
                for _ in range(turns):
                    await asyncio.sleep(0)
                victim.cancel()
                outcomes = await asyncio.gather(victim, other, return_exceptions=True)
                assert not isinstance(outcomes[1], BaseException) or isinstance(outcomes[1], CallError)
                assert (await client.request(NOTE, ask("next"))).reason == "next"
                assert idle(client)

    asyncio.run(main())


def test_a_handler_whose_time_is_over_while_it_waits_for_the_runtime_is_stopped() -> None:
    async def main() -> None:
        work = Work()
        with local_client(work.router) as client:
            call = asyncio.create_task(client.request(NOTE, ask(), timeout=5.0))
            await work.begun.wait()
            client.advance(6.0)
            work.event.set()
            with pytest.raises(OutcomeUnknown, match="TIMEOUT"):
                await call
            assert work.ended == ["Stopped"]
            assert idle(client)

    asyncio.run(main())
