"""Streams that fail: for good, or to be asked for again as long as nothing has come of them."""

from __future__ import annotations

from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import (
    CallError,
    CallRefused,
    Disposition,
    Fail,
    OutcomeUnknown,
    Status,
)
from ratatoskr.events import RequestReceived
from ratatoskr.service import Call, Next, RetryPolicy, Router, Stream
from tests.unit.service.counting import Counter, Reader, numbers
from tests.unit.service.lines import COUNT, Lines
from tests.unit.service.support import Cancelled, Gate, ask

RETRIES = RetryPolicy(attempts=3, first_delay=1.0, longest_delay=1.0)

# The end of the connection


def test_a_lost_line_is_not_the_end_of_a_stream() -> None:
    counter = Counter()
    counter.gates[3] = Gate()
    lines = Lines(counter.router)
    reader = Reader(lines, "1000")
    lines.settle()
    lines.pair.cut()
    lines.settle()
    assert reader.read == numbers(3)
    assert isinstance(reader.strand.error, OutcomeUnknown)
    assert reader.strand.error.failure.reason == "TRANSPORT_LOST"
    assert counter.ended == ["Cancelled"]
    assert lines.server.handlers == (0, 0, 0)


def test_a_stream_whose_time_is_over_fails_and_its_handler_is_stopped() -> None:
    counter = Counter()
    counter.gates[3] = Gate()
    lines = Lines(counter.router)
    reader = Reader(lines, "1000", timeout=5.0)
    lines.run(5.1)
    assert isinstance(reader.strand.error, OutcomeUnknown)
    assert reader.strand.error.failure.reason == "TIMEOUT"
    assert counter.ended == ["Cancelled"]
    assert lines.at_rest()


# Trying again


class Moody(Counter):
    """Is not ready for the first times."""

    def __init__(self, times: int, *, behind: int = 0) -> None:
        super().__init__()
        failures = [Fail(Status.UNAVAILABLE, "BUSY", disposition=Disposition.NOT_PROCESSED) for _ in range(times)]
        router, inner = Router(), self.router

        @router.middleware
        async def moody(call: Call, message: Any, call_next: Next) -> Any:
            if failures:
                if behind:
                    await call_next(ask(str(behind)))
                raise failures.pop()
            return await call_next(message)

        router.include(inner)
        self.router = router


def test_a_stream_that_has_brought_nothing_is_asked_for_again() -> None:
    counter = Moody(2)
    lines = Lines(counter.router, retry=RETRIES)
    reader = Reader(lines, "40", credit=4)
    lines.run(3.0)
    assert reader.strand.result == "the end"
    assert reader.read == numbers(40)
    first, *again = [event.request.nonce for event in lines.server.seen(RequestReceived)]
    assert again == [first, first]
    assert lines.at_rest()


def test_a_stream_of_which_an_item_has_come_is_not_begun_again() -> None:
    counter = Moody(1, behind=1)
    lines = Lines(counter.router, retry=RETRIES)
    reader = Reader(lines, "40")
    lines.run(3.0)
    assert reader.read == ["0"]
    assert isinstance(reader.strand.error, CallRefused)
    assert lines.client.said("retry") == 0


def test_who_goes_away_while_a_stream_is_asked_for_again_leaves_nothing() -> None:
    counter = Moody(1)
    lines = Lines(counter.router, retry=RETRIES)
    reader = Reader(lines, "40")
    lines.settle()
    assert len(lines.host.slept) == 1
    reader.strand.cancel()
    lines.settle()
    assert isinstance(reader.strand.error, Cancelled)
    assert (lines.client.said("retry"), lines.client.said("cancel")) == (0, 0)
    assert lines.at_rest()


def test_who_comes_back_to_a_stream_that_is_asked_for_again_does_not_take_it_for_its_end() -> None:
    """As a timeout around each item does it: the wait is given up, and the block is not left."""
    counter = Moody(1)
    lines = Lines(counter.router, retry=RETRIES)

    async def enter() -> Stream[v1.GoAway]:
        return await lines.client.calls.stream(COUNT, ask("2")).__aenter__()

    items = lines.ask(enter())
    for _ in range(5):
        impatient = lines.client.start(anext(items))
        lines.settle()
        impatient.cancel()
        lines.settle()
        assert isinstance(impatient.error, Cancelled)

    async def read() -> list[str]:
        return [item.reason async for item in items]

    patient = lines.client.start(read())
    lines.run(2.0)
    assert patient.result == numbers(2)
    assert lines.client.said("retry") == 1, "the waits that were given up are no attempts"
    assert lines.at_rest()


def test_a_stream_that_fails_for_good_says_why_once() -> None:
    counter = Moody(5)
    lines = Lines(counter.router, retry=RETRIES)

    async def read() -> list[str]:
        async with lines.client.calls.stream(COUNT, ask("2")) as items:
            with pytest.raises(CallError, match="BUSY"):
                await anext(items)
            return [item.reason async for item in items]

    strand = lines.client.start(read())
    lines.run(5.0)
    assert strand.result == []
    assert lines.client.said("retry") == 2
    assert lines.at_rest()
