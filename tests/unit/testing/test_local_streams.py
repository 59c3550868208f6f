"""local_client with streams: items at the reader's pace, blocks that are left early, and what handlers do wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import CallError, CallFailed, CallRefused, Disposition, Fail, LocalProtocolError, Status
from ratatoskr.messages.standard import MARKETPLACE_BROWSE
from ratatoskr.service import Call, RetryPolicy, Router
from ratatoskr.testing import LocalClient, local_client, run
from tests.unit.testing.shop import COUNT, NOTE, ask, shop


class Counter:
    """Counts for ever, or as far as it is asked to, and remembers how each count ended."""

    def __init__(self, then: BaseException | None = None) -> None:
        self.made = 0
        self.ended: list[str] = []
        self.router = Router()

        @self.router.on(COUNT)
        async def count(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
            try:
                while message.query == "" or self.made < int(message.query):
                    self.made += 1
                    yield v1.GoAway(reason=str(self.made))
                if then is not None:
                    raise then
            finally:
                self.ended.append("stopped" if message.query == "" else "done")


async def read(client: LocalClient, text: str = "", *, stop: int | None = None, **options: Any) -> list[str]:
    seen: list[str] = []
    async with client.stream(COUNT, ask(text), **options) as items:
        async for item in items:
            seen.append(item.reason)
            if len(seen) == stop:
                break
    return seen


def numbers(count: int) -> list[str]:
    return [str(n) for n in range(1, count + 1)]


@pytest.mark.parametrize("credit", [None, 1, 7])
def test_more_items_than_the_credit_come_one_after_the_other(credit: int | None) -> None:
    counter = Counter()
    with local_client(counter.router) as client:
        assert run(read(client, "50", credit=credit)) == numbers(50)
        assert client.clock.now.mono == 0.0, "no time passes"
    assert counter.ended == ["done"]


def test_who_is_not_read_makes_no_more_than_the_credit() -> None:
    counter = Counter()

    async def main() -> None:
        async with client.stream(COUNT, ask(), credit=4) as items:
            assert (await anext(items)).reason == "1"
            assert counter.made == 5, "four are on their way, and one waits at its yield"
            for _ in range(3):
                await anext(items)
            assert counter.made <= 9

    with local_client(counter.router) as client:
        run(main())


@pytest.mark.parametrize("stop", [1, 3, 40])
def test_a_block_that_is_left_early_has_stopped_its_handler(stop: int) -> None:
    counter = Counter()
    with local_client(counter.router) as client:
        assert run(read(client, stop=stop)) == numbers(stop)
        assert counter.ended == ["stopped"], "when the block is left, and not some time later"
    assert client.pair.client.closed is not None
    assert client.pair.client.closed.clean


def test_a_block_that_an_error_leaves_has_stopped_its_handler_too() -> None:
    counter = Counter()

    async def main() -> None:
        async with client.stream(COUNT, ask()) as items:
            async for _ in items:
                raise ZeroDivisionError

    with local_client(counter.router) as client:
        with pytest.raises(ZeroDivisionError):
            run(main())
        assert counter.ended == ["stopped"]


def test_evidence_is_of_the_item_that_was_read_last() -> None:
    async def main() -> None:
        async with client.stream(COUNT, ask("3")) as items:
            before = items.evidence
            assert before is None
            for _ in range(3):
                await anext(items)
                evidence = items.evidence
                assert evidence is not None
                receipt = evidence.receipt()
                assert receipt is not None
                receipt.verify(client.peer.verify_key)

    with local_client(Counter().router) as client:
        run(main())


def test_a_standard_stream() -> None:
    router = Router()
    price = v1.Money(currency="EUR", units=39)
    lamp = v1.Offer(offer_id="o-1", provider_id="p-1", title="Lamp", price=price)

    @router.on(MARKETPLACE_BROWSE)
    async def browse(message: v1.Browse, call: Call) -> AsyncGenerator[v1.OfferFound, None]:
        yield v1.OfferFound(offer=lamp, found=1, total=1)

    async def main() -> list[str]:
        async with client.stream(MARKETPLACE_BROWSE, v1.Browse(query="lamp")) as found:
            return [each.offer.title async for each in found]

    with local_client(router) as client:
        assert run(main()) == ["Lamp"]


# What goes wrong


def test_a_failure_is_what_the_reader_sees_behind_the_items() -> None:
    counter = Counter(Fail(Status.OUT_OF_RANGE, "NO_MORE", "that is all"))

    async def main() -> None:
        async with client.stream(COUNT, ask("3")) as items:
            assert [(await anext(items)).reason for _ in range(3)] == numbers(3)
            with pytest.raises(CallFailed, match="NO_MORE: that is all"):
                await anext(items)

    with local_client(counter.router) as client:
        run(main())


@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_what_a_handler_raises_by_mistake_comes_out_behind_its_items(count: int) -> None:
    """However long ago it was: the handler may have been done before the first item was read."""
    counter = Counter(ZeroDivisionError("oh"))
    seen: list[str] = []

    async def main() -> None:
        async with client.stream(COUNT, ask(str(count))) as items:
            while True:
                seen.append((await anext(items)).reason)

    with local_client(counter.router) as client:
        with pytest.raises(ZeroDivisionError, match="oh") as caught:
            run(main())
        assert caught.traceback[-1].name == "count"
    assert seen == numbers(count)


def test_or_is_told_as_a_peer_is_told() -> None:
    counter = Counter(ZeroDivisionError("secret"))
    with local_client(counter.router, raise_errors=False) as client:
        with pytest.raises(CallFailed, match="INTERNAL") as caught:
            run(read(client, "3"))
        (note,) = client.notes
    assert "secret" not in str(caught.value)
    assert note.reference in str(caught.value)


def test_an_item_that_no_handler_should_yield_says_what_is_wrong() -> None:
    router = Router()

    @router.on(COUNT)
    async def confused(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        yield v1.GoAway(reason="1")
        yield message  # type: ignore[misc]

    with (
        local_client(router) as client,
        pytest.raises(LocalProtocolError, match="yielded a Search; it must yield a GoAway"),
    ):
        run(read(client))


def test_the_error_of_one_stream_is_not_the_next_one_s() -> None:
    counter = Counter(ZeroDivisionError("first"))
    with local_client(counter.router, kinds=[NOTE]) as client:
        with pytest.raises(ZeroDivisionError):
            run(read(client, "3"))
        with pytest.raises(CallRefused, match="NO_HANDLER"):
            run(client.request(NOTE, ask()))


def test_a_stream_that_no_handler_serves() -> None:
    with local_client(shop(), kinds=[COUNT]) as client, pytest.raises(CallRefused, match="NO_HANDLER"):
        run(read(client))


def test_a_stream_whose_line_is_cut_does_not_end() -> None:
    counter = Counter()

    async def main() -> None:
        async with client.stream(COUNT, ask(), credit=2) as items:
            await anext(items)
            client.pair.cut()
            assert (await anext(items)).reason == "2"
            with pytest.raises(CallError, match="TRANSPORT_LOST"):
                await anext(items)

    with local_client(counter.router) as client:
        run(main())
    assert counter.ended == ["stopped"]


# What handlers do in the middle


def test_a_handler_asks_back_between_its_items() -> None:
    server, phone = Router(), Router()

    @server.on(COUNT)
    async def count(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        for n in range(20):
            reply = await call.request(NOTE, ask(str(n)))
            yield v1.GoAway(reason=f"{n}: {reply.reason}")

    @phone.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        return v1.GoAway(reason=f"yes, {message.query}")

    with local_client(server, answers=phone) as client:
        assert run(read(client, credit=3)) == [f"{n}: yes, {n}" for n in range(20)]


def test_a_handler_passes_on_a_stream_that_it_asks_back_for() -> None:
    server, phone = Router(), Counter()

    @server.on(COUNT)
    async def twice(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        async with call.stream(COUNT, message, credit=2) as items:
            async for item in items:
                yield v1.GoAway(reason=item.reason * 2)

    with local_client(server, answers=phone.router) as client:
        assert run(read(client, "30", credit=3)) == [n * 2 for n in numbers(30)]
        assert phone.ended == ["done"]
        assert run(read(client, stop=2))
        assert phone.ended == ["done", "stopped"], "who leaves the outer one has left the inner one"


def test_a_handler_reaches_a_peer_by_its_name() -> None:
    server, phone = Router(), Counter()

    @server.on(COUNT)
    async def forward(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        async with call.reach("till-7").stream(COUNT, message) as items:
            async for item in items:
                yield item

    with local_client(server, answers=phone.router, subject="till-7") as client:
        assert run(read(client, "3")) == numbers(3)
    with local_client(server, answers=phone.router) as client, pytest.raises(CallRefused, match="NOT_CONNECTED"):
        run(read(client, "3"))


def test_handlers_wait_for_asyncio_between_items() -> None:
    router = Router()

    @router.on(COUNT)
    async def count(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        for n in range(20):
            await asyncio.sleep(0)
            yield v1.GoAway(reason=str(n))

    async def main() -> list[list[str]]:
        with local_client(router) as client:
            return [await read(client, credit=2), await read(client, credit=2, stop=3)]

    assert asyncio.run(main()) == [[str(n) for n in range(20)], ["0", "1", "2"]]


def test_streams_of_two_tasks_share_the_line() -> None:
    counter = Router()

    @counter.on(COUNT)
    async def count(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        for n in range(int(message.query)):
            await asyncio.sleep(0)
            yield v1.GoAway(reason=f"{n} of {message.query}")

    async def main() -> list[list[str]]:
        with local_client(counter) as client:
            return list(await asyncio.gather(*(read(client, text, credit=2) for text in ("30", "7", "0"))))

    assert asyncio.run(main()) == [[f"{n} of {text}" for n in range(int(text))] for text in ("30", "7", "0")]


def test_a_stream_is_asked_for_again_in_virtual_time() -> None:
    counter, failures = Counter(), [Fail(Status.UNAVAILABLE, "BUSY", disposition=Disposition.NOT_PROCESSED)] * 2

    @counter.router.middleware
    async def moody(call: Call, message: Any, call_next: Any) -> Any:
        if failures:
            raise failures.pop()
        return await call_next(message)

    with local_client(counter.router, retry=RetryPolicy(first_delay=2.0)) as client:
        assert run(read(client, "20")) == numbers(20)
        assert 0 < client.clock.now.mono < 6.0
