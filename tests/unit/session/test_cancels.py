"""Cancels: they ask and decide nothing, they start nothing, and an honest side never sends too many."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.errors import Disposition, Fault, LocalProtocolError, Status, WouldBlock
from ratatoskr.events import (
    RequestCancelled,
    RequestExpired,
    RequestFailed,
    RequestId,
    RequestReceived,
    ResponseReceived,
    Writable,
)
from ratatoskr.limits import Limits
from ratatoskr.timers import Timer
from tests.unit.messages.support import PLAIN, custom, envelope, failure, payment, search
from tests.unit.session.support import FOUND, PAY, Both, Hostile, note, paid, pay

SEARCHED, PAYMENT, ASKED = envelope(search()), envelope(payment()), envelope(custom(3, b""))


def cancel(number: int) -> v1.Control:
    return v1.Control(cancel=v1.Cancel(request_number=number))


# By who asks


@pytest.mark.parametrize("bound", [True, False])
def test_a_request_without_a_number_fails_at_once(bound: bool) -> None:
    both = Both(bind=bound)
    id = both.client.request(PAY, pay())
    both.client.session.cancel(id)
    both.client.collect()
    failure = both.client.failed(id).failure
    assert (failure.status, failure.disposition) == (Status.CANCELLED, Disposition.NOT_PROCESSED)
    if not bound:
        both.bind()
    both.client.session.cancel(id)
    both.run(100.0)
    assert both.client.flights == []
    assert len(both.client.events) == 1


def test_a_queue_that_a_cancel_makes_shorter_has_room_again() -> None:
    both = Both(Limits(requests_open=1, requests_queued=2))
    both.client.request()
    both.settle()
    queued = [both.client.request() for _ in range(2)]
    with pytest.raises(WouldBlock):
        both.client.request()
    both.client.session.cancel(queued[1])
    both.client.collect()
    assert [type(each) for each in both.client.events] == [RequestFailed, Writable]
    both.client.request()
    both.serve()
    both.settle()
    assert len(both.server.take_all(RequestReceived)) == 1, "the other one is next"


@pytest.mark.parametrize("how", ["answered", "failed", "expired"])
@pytest.mark.parametrize(("kind", "question", "answer"), [(None, None, FOUND), (PAY, pay(), paid())])
def test_a_cancel_decides_nothing_and_the_answer_does(kind: Any, question: Any, answer: Any, how: str) -> None:
    both = Both()
    id = both.client.request(kind, question, timeout=5.0) if kind else both.client.request(timeout=5.0)
    both.settle()
    asked = both.server.take(RequestReceived)
    both.client.session.cancel(id)
    both.settle()
    assert both.client.cancelled == [1]
    assert both.server.take(RequestCancelled).id is asked.id
    assert not both.client.outcomes(id)
    assert both.server.session._answering.calls.open == 1, "the slot is the handler's until it ends"
    if how == "answered":
        both.server.session.respond(asked.id, answer)
    elif how == "failed":
        both.server.session.fail(asked.id, failure("STOPPED"))
    else:
        both.run(5.0)
        assert not both.server.take_all(RequestExpired), "it was told to end before"
        assert both.server.session._answering.calls.open == 1
        both.server.session.respond(asked.id, answer)
    both.settle()
    (outcome,) = both.client.outcomes(id)
    assert isinstance(outcome, ResponseReceived if how == "answered" else RequestFailed)
    if isinstance(outcome, RequestFailed):
        assert outcome.failure.reason == ("STOPPED" if how == "failed" else "TIMEOUT")
    both.run(1.0)
    assert both.server.session._answering.calls.open == 0
    assert both.client.session._asking.calls.empty


def test_a_request_is_cancelled_once() -> None:
    both = Both()
    id = both.client.request()
    both.settle()
    for _ in range(3):
        both.client.session.cancel(id)
        both.settle()
    assert both.client.cancelled == [1]
    assert len(both.server.take_all(RequestCancelled)) == 1


@pytest.mark.parametrize("when", ["before the event is taken", "after it"])
def test_a_cancel_after_the_outcome_is_none(when: str) -> None:
    both = Both()
    id = both.client.request()
    both.settle()
    both.serve()
    answer = both.server.output(both.now)
    assert answer is not None
    both.client.session.receive(answer, both.now)
    if when == "after it":
        both.client.collect()
    both.client.session.cancel(id)
    both.run(1.0)
    assert both.client.cancelled == []
    assert [type(each) for each in both.client.outcomes(id)] == [ResponseReceived]


def test_a_cancel_that_crosses_the_answer_changes_nothing() -> None:
    both = Both()
    id = both.client.request()
    both.settle()
    both.serve()
    answer = both.server.output(both.now)
    both.client.session.cancel(id)
    crossing = both.client.output(both.now)
    assert answer is not None
    assert crossing is not None
    both.server.input(crossing, both.now)
    both.client.input(answer, both.now)
    both.settle()
    assert [type(each) for each in both.client.outcomes(id)] == [ResponseReceived]
    assert not both.server.take_all(RequestCancelled)


def test_an_answer_overtakes_a_cancel_that_waits() -> None:
    """It is not sent any more, and not remembered."""
    both = Both(Limits(cancels_per_minute=2))
    ids = [both.client.request() for _ in range(2)]
    both.settle()
    for id in ids:
        both.client.session.cancel(id)
    both.settle()
    for _ in range(2):
        both.serve()
    both.settle()
    assert not both.client.session._asking.has_controls
    both.run(120.0)
    assert both.client.cancelled == [1]


def test_a_call_that_was_given_up_is_not_cancelled_again() -> None:
    both = Both()
    id = both.client.request(timeout=1.0)
    assert both.client.output(both.now) is not None
    both.advance(1.0)
    both.client.output(both.now)
    assert both.client.failed(id).failure.reason == "TIMEOUT"
    both.client.session.cancel(id)
    both.client.output(both.now)
    assert both.client.cancelled == []
    assert len(both.client.outcomes(id)) == 1


def test_a_cancelled_call_times_out_as_any_other() -> None:
    both = Both(Limits(cancels_per_minute=1))
    ids = [both.client.request(timeout=5.0) for _ in range(2)]
    first = both.client.output(both.now)
    assert first is not None
    for id in ids:
        both.client.session.cancel(id)
    both.client.output(both.now)
    both.advance(5.0)
    both.client.output(both.now)
    for id in ids:
        outcome = both.client.failed(id).failure
        assert (outcome.reason, outcome.disposition) == ("TIMEOUT", Disposition.MAYBE)
    both.advance(115.0)
    both.client.output(both.now)
    assert both.client.cancelled == [1, 2], "the peer is told of the second too: it may still work"


def test_only_requests_of_this_session_are_cancelled() -> None:
    both, other = Both(), Both()
    both.client.request()
    both.settle()
    asked = both.server.take(RequestReceived)
    for id in (asked.id, RequestId()):
        with pytest.raises(LocalProtocolError, match=r"is no request of ours: name what request\(\) or retry\(\)"):
            both.server.session.cancel(id)
    with pytest.raises(LocalProtocolError, match="belongs to another session"):
        both.client.session.cancel(other.client.request())
    both.settle()
    assert both.client.cancelled == both.server.cancelled == []


def test_after_the_end_of_the_session_a_cancel_is_none() -> None:
    both = Both()
    id = both.client.request()
    both.settle()
    both.client.session.cancel(id)
    both.client.session.end(Fault.TRANSPORT_LOST)
    both.client.session.cancel(id)
    both.client.collect()
    assert both.client.failed(id).failure.reason == "TRANSPORT_LOST"
    assert not both.client.session._asking.has_controls


# By who is asked


@pytest.mark.parametrize(
    ("asked", "type_"), [(SEARCHED, (10, 1)), (PAYMENT, (11, 1)), (ASKED, (1000, 3))], ids=["search", "pay", "feed"]
)
@pytest.mark.parametrize("together", [True, False])
def test_a_cancel_before_the_application_was_told_starts_nothing(
    asked: bytes, type_: tuple[int, int], together: bool
) -> None:
    hostile = Hostile()
    if together:
        hostile.send(SEARCHED, asked, controls=[cancel(2)])
    else:  # the flight with the cancel comes before the events of the first are taken
        hostile.side.session.receive(hostile.forger.flight(SEARCHED, asked), hostile.now)
        hostile.send(seal=False, controls=[cancel(2)])
    (told,) = hostile.side.take_all(RequestReceived)
    assert told.received.number == 1
    assert not hostile.side.take_all(RequestCancelled)
    flight = hostile.output()
    assert flight is not None
    assert flight.ack == 2
    (answer,) = [v1.RatatoskrResponse.FromString(each[1:]) for each in flight.envelopes]
    assert (answer.request_number, answer.type, answer.operation, answer.index, answer.last) == (2, *type_, 0, True)
    assert (answer.error.code, answer.error.reason) == (Status.CANCELLED, "CANCELLED")
    assert answer.error.disposition == v1.DISPOSITION_NOT_PROCESSED
    assert hostile.side.session._answering.calls.open == 2
    hostile.send(seal=False, ack=1)
    assert hostile.side.session._answering.calls.open == 1


def test_who_cancelled_unseen_learns_that_nothing_was_done() -> None:
    both = Both()
    id = both.client.request(PAY, pay())
    request = both.client.output(both.now)
    both.client.session.cancel(id)
    cancelling = both.client.output(both.now)
    assert request is not None
    assert cancelling is not None
    both.server.session.receive(request, both.now)
    both.server.input(cancelling, both.now)
    assert not both.server.take_all(RequestReceived)
    both.settle()
    outcome = both.client.failed(id)
    assert (outcome.failure.status, outcome.failure.disposition) == (Status.CANCELLED, Disposition.NOT_PROCESSED)
    assert outcome.evidence is not None, "the peer's word, under its seal"


def test_a_cancel_is_told_once_however_often_it_comes() -> None:
    hostile = Hostile()
    hostile.send(SEARCHED)
    asked = hostile.side.take(RequestReceived)
    for _ in range(3):
        hostile.send(seal=False, controls=[cancel(1), cancel(1)])
    assert [each.id for each in hostile.side.take_all(RequestCancelled)] == [asked.id]
    hostile.side.session.respond(asked.id, FOUND)
    hostile.send(seal=False, controls=[cancel(1)])
    hostile.output()
    hostile.send(seal=False, controls=[cancel(1)], ack=1)
    assert not hostile.side.take_all(RequestCancelled)


@pytest.mark.parametrize("number", [0, 2, (1 << 64) - 1])
def test_a_cancel_names_a_message_that_came(number: int) -> None:
    hostile = Hostile()
    hostile.send(SEARCHED)
    assert hostile.refused(seal=False, controls=[cancel(number)]) == (Fault.FLIGHT_INVALID, "control.number")


# Held back


def test_at_most_half_of_what_the_peer_takes_goes_at_once_and_the_rest_later() -> None:
    both = Both(Limits(cancels_per_minute=10, request_timeout=1000.0))
    ids = [both.client.request() for _ in range(9)]
    both.settle()
    for id in ids:
        both.client.session.cancel(id)
    both.settle()
    assert both.client.cancelled == [1, 2, 3, 4, 5]
    assert both.client.session.timers.get(Timer.CANCEL) == pytest.approx(both.mono + 12.0)
    both.run(11.9)
    assert len(both.client.cancelled) == 5
    for count in (6, 7, 8, 9):
        both.run(12.0)
        assert len(both.client.cancelled) == count
    both.run(50.0)
    assert both.client.cancelled == list(range(1, 10))
    assert Timer.CANCEL not in both.client.session.timers
    assert len(both.server.take_all(RequestCancelled)) == 9


@pytest.mark.parametrize("limit", [1, 2, 3, 101])
def test_cancels_that_are_held_back_go_out_by_the_timer_alone(limit: int) -> None:
    both = Both(Limits(cancels_per_minute=limit, request_timeout=3600.0))
    ids = [both.client.request() for _ in range(limit // 2 + 3)]
    both.settle()
    for id in ids:
        both.client.session.cancel(id)
    both.settle()
    assert len(both.client.cancelled) == max(1, limit // 2)
    both.run(120.0 / limit * 4)
    assert both.client.cancelled == [*range(1, len(ids) + 1)]


def test_controls_of_one_flight_are_bounded_and_the_rest_follow() -> None:
    both = Both(Limits(controls=4))
    ids = [both.client.request() for _ in range(10)]
    both.settle()
    for id in ids:
        both.client.session.cancel(id)
    both.settle()
    assert [len(each.controls) for each in both.client.flights if each.controls] == [4, 4, 2]
    assert len(both.server.take_all(RequestCancelled)) == 10


def test_a_peer_that_takes_fewer_cancels_gets_fewer() -> None:
    both = Both(bind=False)
    ids = [both.client.request() for _ in range(10)]
    both.limits = Limits(cancels_per_minute=6)
    both.bind()
    both.settle()
    for id in ids:
        both.client.session.cancel(id)
    both.settle()
    assert len(both.client.cancelled) == 3


STEPS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 0.1, 1.0, 7.0, 61.0]), st.integers(1, 4), st.floats(0.0, 60.0)), max_size=40
)


@given(STEPS, st.sampled_from([1, 2, 3, 5, 10]))
def test_an_honest_side_is_never_taken_for_a_flood_whatever_the_network_delays(
    steps: list[tuple[float, int, float]], limit: int
) -> None:
    """Each step: time passes, some calls are cancelled, and the flights of that moment take so long to arrive. They
    keep their order. Lines that stand still for longer than a minute are given up.
    """
    both = Both(Limits(cancels_per_minute=limit, requests_open=1000, request_timeout=86_400.0, span_timeout=86_400.0))
    under_way: list[tuple[float, bytes]] = []
    ids = [both.client.request(PLAIN, note()) for _ in range(sum(count for _, count, _ in steps))]
    while (flight := both.client.output(both.now)) is not None:
        both.server.input(flight, both.now)
    arrives = both.mono
    for seconds, count, delay in steps:
        both.advance(seconds)
        for _ in range(count):
            both.client.session.cancel(ids.pop())
        while (flight := both.client.output(both.now)) is not None:
            arrives = max(arrives, both.mono + delay)
            under_way.append((arrives, flight))
    for arrives, flight in under_way:
        both.mono = arrives
        both.server.input(flight, both.now)
    assert len(both.server.take_all(RequestCancelled)) == len(both.client.cancelled)
