"""Calls with one answer, as their caller sees them: who waits, who gives up, and what is left of that."""

from __future__ import annotations

from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import (
    CallError,
    CallRefused,
    Disposition,
    Fail,
    Fault,
    LocalProtocolError,
    OutcomeUnknown,
    Status,
)
from ratatoskr.events import Closed, RequestCancelled, RequestReceived, ResponseReceived, Writable
from ratatoskr.limits import Limits
from ratatoskr.messages import ReceiptRefused
from ratatoskr.messages.standard import MARKETPLACE_SEARCH
from ratatoskr.service import Call, Caller, Router
from tests.unit.service.lines import COUNT, Lines
from tests.unit.service.support import NOTE, REDEEM, Cancelled, Gate, ask, echo_router, run, say

TWO_PLACES = Limits(requests_open=1, requests_queued=2)


class Held:
    """A router whose handlers answer when the test opens the gate."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.begun: list[str] = []
        self.router = Router()

        @self.router.on(NOTE)
        async def note(message: v1.Search, call: Call) -> v1.GoAway:
            self.begun.append(message.query)
            await self.gate
            return say(message.query)


def asked(lines: Lines, text: str = "", **options: Any) -> Any:
    return lines.client.calls.exchange(NOTE, ask(text), **options)


def test_who_asks_gets_the_answer_once_and_nothing_is_left() -> None:
    lines = Lines(echo_router())
    exchange = lines.ask(asked(lines, "hello"))
    assert exchange.message == say("hello")
    assert exchange.kind is NOTE
    assert not exchange.replayed
    assert lines.client.said("cancel") == 0
    assert lines.at_rest()


def test_the_driver_is_woken_for_what_is_asked_and_answered() -> None:
    lines = Lines(echo_router())
    before = lines.client.woken, lines.server.woken
    lines.ask(asked(lines))
    assert (lines.client.woken, lines.server.woken) == (before[0] + 1, before[1] + 1)


def test_both_ends_ask_at_once_and_each_gets_its_own_answer() -> None:
    lines = Lines(echo_router(), answers=echo_router())
    ours = [lines.client.start(asked(lines, f"client {n}")) for n in range(5)]
    theirs = [lines.server.start(lines.server.calls.exchange(NOTE, ask(f"server {n}"))) for n in range(5)]
    lines.settle()
    assert [each.result.message.reason for each in ours] == [f"client {n}" for n in range(5)]
    assert [each.result.message.reason for each in theirs] == [f"server {n}" for n in range(5)]
    assert lines.at_rest()


def test_who_gives_up_cancels_once() -> None:
    held = Held()
    lines = Lines(held.router)
    waiting = lines.client.start(asked(lines))
    lines.settle()
    woken = lines.client.woken
    waiting.cancel()
    waiting.cancel()
    waiting.step()
    assert isinstance(waiting.error, Cancelled)
    assert lines.client.said("cancel") == 1
    assert lines.client.woken == woken + 1
    assert lines.client.pending == 0, "whether or not the peer ever answers"
    lines.settle()
    assert len(lines.server.seen(RequestCancelled)) == 1
    assert lines.at_rest()


def test_who_gives_up_when_the_answer_has_come_cancels_nothing() -> None:
    """The answer has been told, and its waiter has not gone on yet."""
    lines = Lines(echo_router())
    waiting = lines.client.start(asked(lines))
    lines.move()
    [handler] = [each for each in lines.host.strands if each is not waiting]
    handler.step()
    lines.move()
    assert len(lines.client.seen(ResponseReceived)) == 1
    assert not waiting.is_over()
    waiting.cancel()
    lines.settle()
    assert isinstance(waiting.error, Cancelled)
    assert lines.client.said("cancel") == 0
    assert lines.at_rest()


def test_who_gives_up_before_anything_was_sent_is_never_heard_of() -> None:
    lines = Lines(echo_router())
    waiting = lines.client.start(asked(lines))
    waiting.cancel()
    waiting.step()
    assert isinstance(waiting.error, Cancelled)
    lines.settle()
    assert lines.client.said("cancel") == 1
    assert lines.server.seen(RequestReceived) == []
    assert lines.at_rest()


def test_a_failure_is_raised_where_its_caller_waits() -> None:
    router = Router()

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        raise Fail(Status.NOT_FOUND, "NONE", "no such note")

    lines = Lines(router)
    with pytest.raises(CallError, match="NONE: no such note"):
        lines.ask(asked(lines))
    assert lines.client.said("cancel") == 0
    assert lines.at_rest()


def test_a_call_whose_time_is_over_is_told_so_and_not_cancelled() -> None:
    held = Held()
    lines = Lines(held.router)
    waiting = lines.client.start(asked(lines, timeout=5.0))
    lines.run(4.999)
    assert not waiting.is_over()
    lines.run(0.002)
    assert isinstance(waiting.error, OutcomeUnknown)
    assert waiting.error.failure.reason == "TIMEOUT"
    assert lines.client.said("cancel") == 0
    assert lines.at_rest()


def test_misuse_is_raised_at_once_and_leaves_nothing() -> None:
    lines = Lines()
    calls = lines.client.calls
    with pytest.raises(LocalProtocolError, match=r"acme.Count \(1002/1\) is a stream: async with peer.stream\("):
        run(calls.exchange(COUNT, ask()))
    with pytest.raises(LocalProtocolError, match=r"acme.Note \(1000/1\) is no stream: await peer.request\("):
        calls.stream(NOTE, ask())
    with pytest.raises(LocalProtocolError, match="needs a key"):
        run(calls.exchange(REDEEM, ask()))
    with pytest.raises(LocalProtocolError, match="timeout=0"):
        run(calls.exchange(NOTE, ask(), timeout=0))
    assert lines.at_rest()


# A full queue


def test_where_the_queue_is_full_a_call_waits_for_its_place() -> None:
    held = Held()
    lines = Lines(held.router, limits=TWO_PLACES)
    first = lines.client.start(asked(lines, "0"))
    lines.settle()
    others = [lines.client.start(asked(lines, str(n))) for n in range(1, 6)]
    lines.settle()
    assert lines.client.pending == 3, "one is open and two are queued"
    assert lines.client.seen(Writable) == []
    held.gate.open = True
    lines.run(1.0)
    assert [each.result.message.reason for each in (first, *others)] == [str(n) for n in range(6)]
    assert sorted(held.begun) == [str(n) for n in range(6)]
    assert lines.at_rest()


def test_who_gives_up_waiting_for_a_place_leaves_nothing() -> None:
    held = Held()
    lines = Lines(held.router, limits=TWO_PLACES)
    for n in range(3):
        lines.client.start(asked(lines, str(n)))
        lines.settle()
    waiting = lines.client.start(asked(lines, "never asked"))
    lines.settle()
    waiting.cancel()
    lines.settle()
    assert isinstance(waiting.error, Cancelled)
    assert lines.client.said("cancel") == 0
    assert lines.client.pending == 3
    held.gate.open = True
    lines.run(1.0)
    assert sorted(held.begun) == ["0", "1", "2"]
    assert lines.at_rest()


def test_the_time_of_a_call_runs_while_it_waits_for_a_place() -> None:
    """It was to take ten seconds in all. Nine of them are over when it is sent."""
    held = Held()
    lines = Lines(held.router, limits=TWO_PLACES)
    for n in range(3):
        lines.client.start(asked(lines, str(n), timeout=9.0))
        lines.settle()
    waiting = lines.client.start(asked(lines, "late", timeout=10.0))
    lines.run(8.9)
    assert not waiting.is_over()
    lines.run(0.2)
    assert lines.client.pending == 1
    lines.run(0.9)
    assert isinstance(waiting.error, CallError)
    assert waiting.error.failure.reason == "TIMEOUT"
    assert lines.pair.clock.now.mono == pytest.approx(10.0, abs=0.01)
    assert lines.at_rest()


def test_who_gets_a_place_too_late_is_surely_not_processed() -> None:
    held = Held()
    lines = Lines(held.router, limits=TWO_PLACES)
    for n in range(3):
        lines.client.start(asked(lines, str(n), timeout=9.0))
        lines.settle()
    waiting = lines.client.start(asked(lines, "late", timeout=4.0))
    lines.run(10.0)
    assert isinstance(waiting.error, CallRefused)
    assert waiting.error.failure.status is Status.DEADLINE_EXCEEDED
    assert waiting.error.failure.reason == "TIMEOUT"
    assert held.begun == ["0"]
    assert lines.at_rest()


def test_who_waits_for_a_place_learns_of_the_end() -> None:
    held = Held()
    lines = Lines(held.router, limits=TWO_PLACES)
    for n in range(3):
        lines.client.start(asked(lines, str(n)))
        lines.settle()
    waiting = lines.client.start(asked(lines))
    lines.client.calls._handle(lines.client.footing, Closed(Fault.TRANSPORT_LOST, "", ""))
    waiting.step()
    assert isinstance(waiting.error, CallRefused)
    assert waiting.error.failure.reason == "TRANSPORT_LOST"
    assert "connect again" in waiting.error.failure.message


# The end


def test_the_end_of_the_connection_is_the_end_of_its_calls() -> None:
    held = Held()
    lines = Lines(held.router)
    waiting = lines.client.start(asked(lines))
    lines.settle()
    lines.pair.cut()
    lines.settle()
    assert isinstance(waiting.error, OutcomeUnknown)
    assert waiting.error.failure.reason == "TRANSPORT_LOST"
    assert lines.client.said("cancel") == 0
    assert lines.client.pending == lines.server.pending == 0
    assert lines.server.handlers == (0, 0, 0)
    with pytest.raises(CallRefused, match=r"the connection has ended \(.*\): connect again") as caught:
        lines.ask(asked(lines))
    assert caught.value.failure.disposition is Disposition.NOT_PROCESSED
    assert caught.value.failure.status is Status.UNAVAILABLE
    assert lines.client.calls.closed is not None


def test_a_peer_that_goes_away_takes_no_new_requests() -> None:
    held = Held()
    lines = Lines(held.router)
    calls = lines.client.calls
    waiting, leaving = lines.client.start(asked(lines, "open")), lines.client.start(calls.departure())
    lines.settle()
    before = calls.going_away, leaving.is_over()
    lines.server.connection.close(reason="for the night")
    lines.settle()
    assert before == (False, False)
    assert (calls.going_away, leaving.is_over()) == (True, True)
    with pytest.raises(CallRefused, match="GOING_AWAY"):
        lines.ask(asked(lines))
    held.gate.open = True
    lines.settle()
    assert waiting.result.message == say("open")
    assert lines.client.start(calls.departure()).is_over(), "it is known already"


def test_who_waits_for_a_departure_learns_of_the_end_too() -> None:
    lines = Lines()
    leaving = [lines.client.start(lines.client.calls.departure()) for _ in range(2)]
    lines.pair.cut()
    lines.settle()
    assert all(each.is_over() for each in leaving)
    assert not lines.client.calls.going_away
    assert lines.client.start(lines.client.calls.departure()).is_over()


# Receipts


def test_a_sealed_answer_has_its_receipt_at_once() -> None:
    lines = Lines(echo_router())
    exchange = lines.ask(asked(lines))
    receipt = lines.ask(lines.client.calls.receipt(exchange))
    assert receipt == exchange.receipt()
    receipt.verify(lines.client.calls.peer.verify_key)


def search_router() -> Router:
    router = Router()

    @router.on(MARKETPLACE_SEARCH)
    async def search(message: v1.Search, call: Call) -> v1.SearchResult:
        return v1.SearchResult()

    return router


def test_the_receipt_of_a_deferred_answer_is_waited_for() -> None:
    """All who wait get it, and none of them before."""
    lines = Lines(search_router())
    caller = Caller(lines.client.calls)
    exchange = lines.ask(caller.exchange(MARKETPLACE_SEARCH, ask()))
    waiting = [lines.client.start(caller.receipt(exchange)) for _ in range(2)]
    lines.run(0.2)
    assert not any(each.is_over() for each in waiting)
    lines.run(0.1)
    assert [each.result for each in waiting] == [exchange.receipt()] * 2


def test_without_its_seal_an_answer_has_no_receipt() -> None:
    lines = Lines(search_router())
    caller = Caller(lines.client.calls)
    exchange = lines.ask(caller.exchange(MARKETPLACE_SEARCH, ask()))
    waiting = lines.client.start(caller.receipt(exchange))
    lines.pair.cut()
    lines.settle()
    assert isinstance(waiting.error, ReceiptRefused)
    assert "ended before the peer sealed" in str(waiting.error)
    with pytest.raises(ReceiptRefused):
        lines.ask(caller.receipt(exchange))
