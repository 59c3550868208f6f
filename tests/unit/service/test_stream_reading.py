"""Streams, as their reader sees them: in order, at its pace, to the end, and left whenever it likes."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.errors import (
    CallFailed,
    Fail,
    LocalProtocolError,
    Status,
)
from ratatoskr.events import ItemReceived, RequestCancelled
from ratatoskr.limits import Limits
from ratatoskr.service import Call, Router, Stream
from tests.unit.service.counting import Counter, Reader, numbers
from tests.unit.service.lines import COUNT, Lines
from tests.unit.service.support import NOTE, Cancelled, Gate, ask, echo_router, run, say


@pytest.mark.parametrize("count", [0, 1, 16, 17, 100])
@pytest.mark.parametrize("credit", [None, 1, 2, 200])
def test_all_items_come_in_order_and_then_the_end(count: int, credit: int | None) -> None:
    counter = Counter()
    lines = Lines(counter.router)
    reader = Reader(lines, str(count), credit=credit)
    lines.settle()
    assert reader.strand.result == "the end"
    assert reader.read == numbers(count)
    assert counter.ended == ["the end"]
    assert lines.client.said("cancel") == 0
    assert lines.at_rest()


@pytest.mark.parametrize("credit", [1, 2, 3, 8])
def test_no_more_than_the_credit_is_made_and_held_for_a_reader_that_does_not_read(credit: int) -> None:
    counter = Counter()
    lines = Lines(counter.router)
    reader = Reader(lines, "100", credit=credit)
    reader.gate.open = False
    lines.settle()
    assert reader.read == ["0"]
    # One is taken, and where that is half of the credit, granted again. One more waits at its yield.
    granted = credit + (1 if credit <= 2 else 0)
    assert counter.made == granted + 1
    assert len(lines.client.seen(ItemReceived)) == granted
    assert len(reader.stream._items) == granted - 1
    assert lines.server.handlers == (0, 1, 1)
    assert lines.pair.server.connection._session._sender.streams._bytes == 0
    reader.gate.open = True
    lines.settle()
    assert reader.read == numbers(100)
    assert lines.at_rest()


def test_grants_are_made_for_half_of_the_credit_at_once() -> None:
    lines = Lines(Counter().router)
    Reader(lines, "64", credit=16)
    lines.settle()
    assert lines.client.said("grant") == 8


def test_the_credit_is_the_limits_by_default() -> None:
    counter = Counter()
    lines = Lines(counter.router, limits=Limits(stream_credit=5))
    reader = Reader(lines, "100")
    reader.gate.open = False
    lines.settle()
    assert len(lines.client.seen(ItemReceived)) == 5
    assert reader.stream._credit == 5


def test_items_come_while_the_handler_waits_for_the_next() -> None:
    counter = Counter()
    counter.gates[3] = Gate()
    lines = Lines(counter.router)
    reader = Reader(lines, "5")
    lines.settle()
    assert reader.read == numbers(3)
    counter.gates[3].open = True
    lines.settle()
    assert reader.read == numbers(5)


def test_an_item_has_its_evidence_once_it_is_read() -> None:
    counter = Counter()
    counter.gates[2] = Gate()
    lines = Lines(counter.router)
    reader = Reader(lines, "3")
    before = reader.stream.evidence
    assert before is None
    lines.settle()
    evidence = reader.stream.evidence
    assert evidence is not None
    receipt = evidence.receipt()
    assert receipt is not None
    assert receipt == lines.client.seen(ItemReceived)[1].evidence.receipt()
    receipt.verify(lines.client.calls.peer.verify_key)


def test_a_failure_comes_behind_its_items_and_once() -> None:
    counter = Counter()
    counter.then = Fail(Status.OUT_OF_RANGE, "NO_MORE", "no more words")
    lines = Lines(counter.router)

    async def read() -> list[str]:
        async with lines.client.calls.stream(COUNT, ask("3")) as items:
            seen = [(await anext(items)).reason for _ in range(3)]
            with pytest.raises(CallFailed, match="NO_MORE: no more words"):
                await anext(items)
            return [*seen, *[item.reason async for item in items]]

    assert lines.ask(read()) == numbers(3)
    assert lines.client.said("cancel") == 0
    assert lines.at_rest()


# Leaving


def test_leaving_early_cancels_once_and_stops_the_handler() -> None:
    counter = Counter()
    lines = Lines(counter.router)
    reader = Reader(lines, "1000", stop=5)
    lines.settle()
    assert reader.strand.result == "left"
    assert reader.read == numbers(5)
    assert counter.ended == ["GeneratorExit"]
    assert lines.client.said("cancel") == 1
    assert len(lines.server.seen(RequestCancelled)) == 1
    assert reader.stream._items == type(reader.stream._items)()
    assert lines.at_rest()


def test_leaving_by_an_exception_cancels_too() -> None:
    counter = Counter()
    lines = Lines(counter.router)

    async def read() -> None:
        async with lines.client.calls.stream(COUNT, ask("1000")) as items:
            async for _ in items:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lines.ask(read())
    assert lines.client.said("cancel") == 1
    assert lines.at_rest()


def test_a_reader_that_is_cancelled_cancels_its_stream() -> None:
    counter = Counter()
    counter.gates[2] = Gate()
    lines = Lines(counter.router)
    reader = Reader(lines, "1000")
    lines.settle()
    reader.strand.cancel()
    lines.settle()
    assert isinstance(reader.strand.error, Cancelled)
    assert lines.client.said("cancel") == 1
    assert counter.ended == ["Cancelled"]
    assert lines.at_rest()


def test_leaving_when_the_end_has_come_unread_cancels_nothing() -> None:
    counter = Counter()
    lines = Lines(counter.router)
    reader = Reader(lines, "3")
    reader.gate.open = False
    lines.settle()
    assert counter.ended == ["the end"]
    reader.strand.cancel()
    lines.settle()
    assert reader.read == ["0"]
    assert lines.client.said("cancel") == 0
    assert lines.at_rest()


def test_what_comes_after_leaving_is_dropped() -> None:
    """The items are on their way when the cancel is sent."""
    counter = Counter()
    lines = Lines(counter.router)
    reader = Reader(lines, "1000")
    lines.pair.server.link.stalled = True
    lines.settle()
    reader.strand.cancel()
    lines.host.turn()
    lines.pair.server.link.stalled = False
    lines.settle()
    assert reader.read == []
    assert reader.stream._came == 0
    assert lines.at_rest()


def test_leaving_a_block_that_was_never_entered_properly_is_nothing() -> None:
    """The queue was full, and who waited for a place was cancelled."""
    gate, router = Gate(), Router()

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        await gate
        return say("")

    lines = Lines(router, limits=Limits(requests_open=1, requests_queued=1))
    for _ in range(2):
        lines.client.start(lines.client.calls.exchange(NOTE, ask()))
        lines.settle()
    reader = Reader(lines, "3")
    lines.settle()
    reader.strand.cancel()
    lines.settle()
    assert isinstance(reader.strand.error, Cancelled)
    assert lines.client.said("cancel") == 0
    assert lines.client.pending == 2
    gate.open = True
    lines.run(1.0)
    assert lines.at_rest()


# Misuse


def test_a_stream_is_read_inside_its_block_and_once() -> None:
    lines = Lines(Counter().router)
    stream: Stream[v1.GoAway] = lines.client.calls.stream(COUNT, ask("3"))
    with pytest.raises(LocalProtocolError, match="read inside its block"):
        run(anext(stream))

    async def read() -> int:
        async with stream as items:
            return len([item async for item in items])

    assert lines.ask(read()) == 3
    with pytest.raises(LocalProtocolError, match="read inside its block"):
        run(anext(stream))
    with pytest.raises(LocalProtocolError, match="read once: ask for another one"):
        lines.ask(read())
    assert lines.client.said("request") == 1


@pytest.mark.parametrize("credit", [0, -1, 2000])
def test_a_credit_that_cannot_be_is_misuse(credit: int) -> None:
    lines = Lines(Counter().router)
    with pytest.raises(LocalProtocolError, match=f"credit={credit}"):
        lines.ask(Reader(lines, "3", credit=credit)._read(None))
    assert lines.client.pending == 0


def test_two_readers_share_a_stream_and_neither_waits_for_ever() -> None:
    counter = Counter()
    counter.gates[0] = Gate()
    lines = Lines(counter.router)

    async def read(items: Stream[v1.GoAway]) -> list[str]:
        return [item.reason async for item in items]

    async def enter() -> Stream[v1.GoAway]:
        return await lines.client.calls.stream(COUNT, ask("20")).__aenter__()

    items = lines.ask(enter())
    readers = [lines.client.start(read(items)) for _ in range(2)]
    lines.settle()
    counter.gates[0].open = True
    lines.settle()
    assert sorted(int(each) for reader in readers for each in reader.result) == list(range(20))


def test_who_still_reads_when_the_block_is_left_is_told_so() -> None:
    """Another task than the one that leaves it. It neither waits for ever nor takes that for the end of the stream."""
    counter = Counter()
    counter.gates[0] = Gate()
    lines = Lines(counter.router)

    async def enter() -> Stream[v1.GoAway]:
        return await lines.client.calls.stream(COUNT, ask("20")).__aenter__()

    items = lines.ask(enter())
    reader = lines.client.start(anext(items))
    lines.settle()
    lines.ask(items.__aexit__(None, None, None))
    assert isinstance(reader.error, LocalProtocolError)
    assert lines.at_rest()


def test_a_stream_and_calls_share_the_line() -> None:
    counter = Counter()
    counter.router.include(echo_router())
    lines = Lines(counter.router)
    reader = Reader(lines, "200", credit=3)
    others = [lines.client.start(lines.client.calls.exchange(NOTE, ask(str(n)))) for n in range(20)]
    lines.settle()
    assert reader.read == numbers(200)
    assert [each.result.message.reason for each in others] == numbers(20)
    assert lines.at_rest()
