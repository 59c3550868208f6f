"""Handlers: when they begin, and how the items of their streams find room."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import CallRefused, Disposition, OutcomeUnknown
from ratatoskr.events import (
    RequestCancelled,
    RequestExpired,
    RequestFailed,
    RequestReceived,
    Writable,
)
from ratatoskr.limits import Limits
from ratatoskr.service import Call, Router
from ratatoskr.service.handling import CANCELLED, not_begun
from tests.unit.service.lines import COUNT, PAY, Lines
from tests.unit.service.support import NOTE, REDEEM, ask, say
from tests.unit.service.work import Work, started, streamed


@pytest.fixture
def work() -> Work:
    return Work()


# The beginning


def test_handlers_begin_when_all_that_has_arrived_is_read_payments_first(work: Work) -> None:
    """Three flights in one read. The payment comes in the last of them."""
    lines = Lines(work.router)
    held: list[bytes] = []

    def hold(data: bytes) -> bytes:
        held.append(data)
        return b""

    lines.pair.client.link.tamper = hold
    for kind, text in ((NOTE, "a"), (REDEEM, "b"), (PAY, "c"), (NOTE, "d"), (PAY, "e")):
        started(lines, text, kind=kind, key="k" if kind.once else None)
        lines.pair.run()
    assert len(held) == 5
    lines.pair.server.connection.receive(b"".join(held))
    lines.pair.run()
    assert [type(event) for event in lines.server.events[-5:]] == [RequestReceived] * 5
    assert lines.host.unfinished == lines.host.strands[:5], "no handler begins before Wait"
    lines.server.calls.begin()
    lines.host.turn()
    assert work.begun == ["c", "e", "a", "b", "d"]
    lines.server.calls.begin()
    lines.host.turn()
    assert len(work.begun) == 5, "each begins once"


def test_a_cancel_in_the_same_chunk_as_its_request_begins_nothing(work: Work) -> None:
    """Two records, one read: the request was told, and its handler is not begun."""
    lines = Lines(work.router)
    held: list[bytes] = []

    def hold(data: bytes) -> bytes:
        held.append(data)
        return b""

    lines.pair.client.link.tamper = hold
    [waiting] = started(lines)
    lines.pair.run()
    waiting.cancel()
    waiting.step()
    lines.pair.run()
    assert len(held) == 2
    lines.pair.client.link.tamper = None
    lines.pair.server.connection.receive(b"".join(held))
    lines.settle()
    assert [type(event) for event in lines.server.events[-2:]] == [RequestReceived, RequestCancelled]
    assert work.begun == []
    assert lines.host.strands == [waiting], "nothing was spawned"
    [failed] = lines.client.seen(RequestFailed)
    assert failed.failure == not_begun(CANCELLED)
    assert failed.failure.disposition is Disposition.NOT_PROCESSED
    assert lines.at_rest()


@pytest.mark.parametrize("kind", [NOTE, REDEEM])
def test_a_cancel_that_comes_before_the_handlers_begin_begins_nothing(work: Work, kind: Any) -> None:
    """Also for what runs at most once: nothing was begun that would have to go on."""
    lines = Lines(work.router)
    [waiting] = started(lines, kind=kind, key="k" if kind.once else None)
    lines.pair.run()
    assert lines.server.handlers == (1, 0, 0)
    waiting.cancel()
    waiting.step()
    lines.settle()
    assert work.begun == []
    assert [each.failure for each in lines.client.seen(RequestFailed)] == [not_begun(CANCELLED)]
    assert lines.at_rest()


def test_time_that_runs_out_before_the_handlers_begin_begins_nothing(work: Work) -> None:
    lines = Lines(work.router)
    [waiting] = started(lines, timeout=1.0)
    lines.pair.run(seconds=2.0)
    assert len(lines.server.seen(RequestExpired)) == 1
    lines.settle()
    assert work.begun == []
    assert isinstance(waiting.error, OutcomeUnknown)
    assert lines.at_rest()


def test_a_task_that_is_cancelled_before_its_first_step_ends_its_call(work: Work) -> None:
    lines = Lines(work.router)
    [waiting] = started(lines)
    lines.move()
    assert lines.server.handlers == (0, 1, 0)
    waiting.cancel()
    waiting.step()
    lines.settle()
    assert work.begun == []
    assert [each.failure for each in lines.client.seen(RequestFailed)] == [CANCELLED]
    assert lines.at_rest()


def test_a_handler_that_waits_for_nothing_answers_in_the_flight_that_acknowledges(work: Work) -> None:
    """Where tasks are eager: no turn of the loop, no task that is left."""
    work.gate.open = True
    lines = Lines(work.router, eager=True)
    waiting = started(lines, "a", "b")
    lines.move()
    assert work.ended == ["a done", "b done"]
    assert lines.server.handlers == (0, 0, 0)
    lines.settle()
    assert [each.result.message.reason for each in waiting] == ["a", "b"]
    assert lines.at_rest()


# Items of a stream


def test_a_handler_waits_for_room_and_goes_on_when_there_is_some(work: Work) -> None:
    router = Router()
    sent: list[int] = []

    @router.on(COUNT)
    async def count(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        for n in range(10):
            sent.append(n)
            yield say(str(n))

    lines = Lines(router)
    id = lines.client.connection.request(COUNT, ask(), credit=2)
    lines.settle()
    assert sent == [0, 1, 2]
    assert lines.server.handlers == (0, 1, 1)
    for granted in (1, 3):
        lines.client.connection.grant(id, granted)
        lines.settle()
    assert sent == [0, 1, 2, 3, 4, 5, 6]
    lines.client.connection.grant(id, 100)
    lines.settle()
    assert sent == list(range(10))
    assert lines.server.handlers == (0, 0, 0)


def test_a_handler_that_waits_for_room_is_stopped(work: Work) -> None:
    router = Router()
    ended: list[str] = []

    @router.on(COUNT)
    async def count(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        try:
            while True:
                yield say("again")
        finally:
            ended.append("stopped")

    lines = Lines(router)
    id = lines.client.connection.request(COUNT, ask(), credit=2)
    lines.settle()
    lines.client.connection.cancel(id)
    lines.settle()
    assert ended == ["stopped"]
    assert lines.server.handlers == (0, 0, 0)
    assert lines.at_rest()


def test_a_handler_that_never_waits_learns_that_it_is_stopped(work: Work) -> None:
    """The items of a stream that nobody wants are dropped, so that none of them has to wait for room."""
    router = Router()
    made: list[int] = []

    @router.on(COUNT)
    async def count(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
        while True:
            made.append(0)
            yield say("again")

    lines = Lines(router, limits=Limits(stream_credit_ahead=10_000))
    id = lines.client.connection.request(COUNT, ask(), credit=10_000)
    lines.move()
    lines.host.turn()
    lines.client.connection.cancel(id)
    lines.settle()
    assert 8 <= len(made) <= 24
    assert lines.at_rest()


def test_a_stream_that_is_not_begun_is_refused_as_surely_not_processed(work: Work) -> None:
    lines = Lines(Router())
    waiting = streamed(lines)
    lines.settle()
    assert isinstance(waiting.error, CallRefused)
    assert waiting.error.failure.reason == "NO_HANDLER"
    assert lines.at_rest()


def test_room_for_a_stream_whose_handler_has_ended_concerns_nobody(work: Work) -> None:
    """The handler was given up by its own middleware, while its items waited."""
    work.gate.open = True
    lines = Lines(work.router)
    streamed(lines)
    lines.settle()
    [event] = lines.server.seen(RequestReceived)
    lines.server.calls._handle(lines.server.footing, Writable(event.id))
    assert lines.server.handlers == (0, 0, 0)
