"""What stops a handler, and that each call ends once, and frees its slot not before its handler has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import CallError, Disposition, OutcomeUnknown, Status
from ratatoskr.events import (
    RequestCancelled,
    RequestExpired,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
)
from ratatoskr.limits import Limits
from ratatoskr.service import Call, Router
from ratatoskr.service.handling import CANCELLED, EXPIRED, STOPPED
from tests.unit.service.lines import Lines, Strand
from tests.unit.service.support import NOTE, REDEEM, Cancelled, ask, say
from tests.unit.service.work import Work, started, streamed

Stop = Callable[[Lines, Strand], None]


@pytest.fixture
def work() -> Work:
    return Work()


# What stops a handler


def gives_up(lines: Lines, waiting: Strand) -> None:
    waiting.cancel()
    lines.settle()


def runs_out(lines: Lines, waiting: Strand) -> None:
    lines.run(31.0)


def is_lost(lines: Lines, waiting: Strand) -> None:
    lines.pair.cut()
    lines.settle()


def is_abandoned(lines: Lines, waiting: Strand) -> None:
    lines.server.connection.close(drain=False)
    lines.settle()


STOPS = pytest.mark.parametrize("stop", [gives_up, runs_out, is_lost, is_abandoned])
EAGER = pytest.mark.parametrize("eager", [False, True])


@STOPS
@EAGER
def test_who_is_not_waited_for_is_stopped_and_its_call_ended_once(work: Work, stop: Stop, eager: bool) -> None:
    lines = Lines(work.router, eager=eager)
    [waiting] = started(lines, "a")
    lines.settle()
    assert work.begun == ["a"]
    stop(lines, waiting)
    assert work.ended == ["a stopped"]
    assert lines.server.said("fail") == (stop in {gives_up, runs_out}), "nobody is told where the session has ended"
    assert lines.server.said("respond") == 0
    assert lines.server.handlers == (0, 0, 0)
    assert isinstance(waiting.error, Cancelled if stop is gives_up else CallError)
    if stop is gives_up:
        assert [each.failure for each in lines.client.seen(RequestFailed)] == [CANCELLED]
        assert CANCELLED.disposition is Disposition.MAYBE
    if stop in {gives_up, runs_out}:
        assert lines.at_rest()


@STOPS
def test_a_stream_is_stopped_as_everything_else_is(work: Work, stop: Stop) -> None:
    lines = Lines(work.router)
    waiting = streamed(lines)
    lines.settle()
    stop(lines, waiting)
    assert work.ended == ["s stopped"]
    assert lines.server.said("fail") == (stop in {gives_up, runs_out})
    assert lines.server.handlers == (0, 0, 0)


@STOPS
@EAGER
def test_what_runs_at_most_once_is_never_stopped(work: Work, stop: Stop, eager: bool) -> None:
    lines = Lines(work.router, eager=eager)
    [waiting] = started(lines, "a", kind=REDEEM, key="k")
    lines.settle()
    handler = lines.host.strands[-1]
    stop(lines, waiting)
    assert handler.cancels == 0
    assert not handler.is_over()
    assert work.ended == []
    work.gate.open = True
    lines.settle()
    assert handler.is_over()
    assert handler.error is None
    assert work.ended == ["a done"]
    if stop in {gives_up, runs_out}:
        again = lines.ask(lines.client.calls.exchange(REDEEM, ask("a"), key="k"))
        assert (again.message, again.replayed) == (say("a"), True)
        assert lines.at_rest()


def test_a_handler_is_asked_to_stop_once_whatever_else_happens(work: Work) -> None:
    """Its caller gives up, then its time is over, then its connection ends: what it cleans up is not interrupted."""
    work.cleaned.open = False
    lines = Lines(work.router)
    [waiting] = started(lines, "a")
    lines.settle()
    handler = lines.host.strands[-1]
    waiting.cancel()
    lines.settle()
    lines.run(31.0)
    lines.pair.cut()
    lines.settle()
    assert len(lines.server.seen(RequestCancelled)) == 1
    assert not lines.server.seen(RequestExpired), "who has given up needs no deadline"
    assert lines.server.calls.closed is not None
    assert handler.cancels == 1
    assert not handler.is_over()
    work.cleaned.open = True
    lines.settle()
    assert handler.is_over()
    assert work.ended == ["a stopped"]
    assert lines.server.handlers == (0, 0, 0)


# The slot


def test_the_slot_of_a_stopped_call_returns_when_its_handler_has_ended(work: Work) -> None:
    work.cleaned.open = False
    lines = Lines(work.router, limits=Limits(requests_open=1))
    [first] = started(lines, "a")
    lines.settle()
    first.cancel()
    [second] = started(lines, "b")
    lines.run(1.0)
    assert lines.server.slots == (0, 1)
    assert lines.client.seen(RequestFailed) == []
    assert work.begun == ["a"], "who cancels does not begin more than it may"
    work.cleaned.open = True
    lines.run(1.0)
    assert work.begun == ["a", "b"]
    work.gate.open = True
    lines.settle()
    assert second.result.message == say("b")
    assert [each.failure for each in lines.client.seen(RequestFailed)] == [CANCELLED]
    assert lines.at_rest()


def test_a_handler_that_is_stopped_may_still_answer(work: Work) -> None:
    router = Router()

    @router.on(NOTE)
    async def stubborn(message: v1.Search, call: Call) -> v1.GoAway:
        try:
            await work.gate
        except Cancelled:
            return say("all the same")
        raise AssertionError

    lines = Lines(router)
    [waiting] = started(lines)
    lines.settle()
    waiting.cancel()
    lines.settle()
    assert lines.server.said("respond") == 1
    assert lines.server.said("fail") == 0
    [answer] = lines.client.seen(ResponseReceived)
    assert answer.message == say("all the same")
    assert lines.at_rest()


def test_a_handler_that_stops_by_itself_ends_its_call(work: Work) -> None:
    """As one does that awaits a task which was cancelled."""
    router = Router()

    @router.on(NOTE)
    async def gone(message: v1.Search, call: Call) -> v1.GoAway:
        raise Cancelled

    lines = Lines(router)
    with pytest.raises(OutcomeUnknown) as caught:
        lines.ask(lines.client.calls.exchange(NOTE, ask()))
    assert caught.value.failure == STOPPED
    assert lines.at_rest()


def test_who_answers_and_goes_on_is_neither_stopped_nor_ended_again(work: Work) -> None:
    """A job that has given its answer and is not over. Nobody waits for it any more, and it holds no slot."""
    lines = Lines(work.router)
    handlers = lines.server.calls._handlers
    jobs: list[Any] = []

    class Chatty:
        """A service whose jobs answer first."""

        def job(self, link: Any, event: RequestReceived) -> Any:
            class Job:
                id, once = event.id, False

                async def run(self) -> None:
                    link.respond(event.id, say("early"))
                    await work.gate
                    jobs.append("over")

            return Job()

    handlers._service = Chatty()  # type: ignore[assignment]
    [waiting] = started(lines)
    lines.settle()
    assert waiting.result.message == say("early")
    assert lines.server.handlers == (0, 0, 0)
    lines.run(0.1)
    assert lines.server.slots == (0, 0)
    [handler] = lines.host.unfinished
    lines.run(31.0)
    lines.pair.cut()
    lines.settle()
    assert handler.cancels == 0
    work.gate.open = True
    lines.settle()
    assert jobs == ["over"]
    assert (lines.server.said("respond"), lines.server.said("fail")) == (1, 0)


def test_what_has_arrived_when_the_connection_ends_is_not_begun(work: Work) -> None:
    lines = Lines(work.router)
    started(lines, "a", "b")
    lines.pair.run()
    assert lines.server.handlers == (2, 0, 0)
    lines.pair.cut()
    lines.settle()
    assert work.begun == []
    assert lines.server.handlers == (0, 0, 0)


def test_a_cancel_of_what_was_answered_stops_nothing(work: Work) -> None:
    """It crosses the answer on its way."""
    work.gate.open = True
    lines = Lines(work.router)
    [waiting] = started(lines)
    lines.pair.server.link.stalled = True
    lines.settle()
    assert work.ended == [" done"]
    waiting.cancel()
    lines.settle()
    lines.pair.server.link.stalled = False
    lines.settle()
    assert lines.server.seen(RequestCancelled) == []
    assert lines.at_rest()


def test_a_caller_whose_time_is_over_hears_of_its_time_though_the_handler_is_stopped_at_that_moment(work: Work) -> None:
    lines = Lines(work.router)
    [waiting] = started(lines, "a")
    lines.run(31.0)
    assert work.ended == ["a stopped"]
    assert isinstance(waiting.error, OutcomeUnknown)
    assert (waiting.error.failure.status, waiting.error.failure.reason) == (Status.DEADLINE_EXCEEDED, "TIMEOUT")


def test_what_becomes_of_a_call_is_why_its_handler_was_stopped(work: Work) -> None:
    """Seen where the caller's own clock is slow: it still waits."""
    lines = Lines(work.router)
    started(lines, "a")
    lines.settle()
    [asked] = lines.server.seen(RequestReceived)
    lines.server.calls._handle(lines.server.footing, RequestExpired(asked.id))
    lines.settle()
    [failed] = lines.client.seen(RequestFailed)
    assert failed.failure == EXPIRED
