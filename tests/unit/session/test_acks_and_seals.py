"""Acks and seals: when they travel, alone or on flights, and what ends a session that keeps them from us."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.errors import Fault, ProtocolFault
from ratatoskr.events import RequestReceived, ResponseReceived, SpanSealed
from ratatoskr.limits import Limits
from ratatoskr.messages import Direction
from ratatoskr.timers import Timer
from tests.unit.messages.support import authorized, envelope, failure, found, payment, search
from tests.unit.session.support import FOUND, PAY, Both, Hostile, paid, pay

SEARCHED, PAYMENT = envelope(search()), envelope(payment())


# Acks


def test_what_was_taken_is_acknowledged_alone_a_little_later() -> None:
    both = Both()
    both.client.request()
    both.settle()
    assert both.server.flights == []
    both.run(0.0199)
    assert both.server.flights == []
    both.run(0.0002)
    (alone,) = both.server.flights
    assert (alone.ack, len(alone.envelopes), alone.first_number) == (1, 0, 1)
    assert not alone.HasField("seal")
    both.run(0.1)
    assert len(both.server.flights) == 1, "once"


def test_an_ack_rides_on_an_answer() -> None:
    both = Both()
    both.client.request()
    both.settle()
    both.serve()
    both.settle()
    (flight,) = both.server.flights
    assert (flight.ack, len(flight.envelopes)) == (1, 1)
    assert Timer.ACK not in both.server.session.timers


def test_an_answer_stops_an_ack_that_was_to_travel_alone() -> None:
    both = Both()
    both.client.request()
    both.settle()
    assert Timer.ACK in both.server.session.timers
    both.serve()
    both.settle()
    assert Timer.ACK not in both.server.session.timers
    both.run(0.2)
    assert [len(each.envelopes) for each in both.server.flights] == [1]


def test_what_was_not_taken_is_not_acknowledged() -> None:
    both = Both()
    for _ in range(3):
        both.client.request()
    flight = both.client.output(both.now)
    assert flight is not None
    session = both.server.session
    session.receive(flight, both.now)
    session.schedule_ack(both.now)
    assert Timer.ACK not in session.timers
    for taken in (1, 2, 3):
        assert isinstance(session.take(), RequestReceived)
        session.schedule_ack(both.now)
        session.fire(Timer.ACK, both.now)
        built = session.build(both.now, [])
        assert built is not None
        assert v1.Flight.FromString(built).ack == taken


def test_answers_that_no_caller_waits_for_are_acknowledged_too() -> None:
    both = Both()
    both.client.request(timeout=1.0)
    both.settle()
    asked = both.server.take(RequestReceived)
    both.server.session.respond(asked.id, FOUND)
    late = both.server.output(both.now)
    assert late is not None
    both.advance(2.0)
    both.client.output(both.now)
    both.client.input(late, both.now)
    both.client.output(both.now)
    both.run(0.1)
    assert both.client.flights[-1].ack == 1
    assert both.server.session._answering.calls.open == 0


@pytest.mark.parametrize(
    ("acks", "refused"),
    [([0, 1, 2, 3], False), ([3, 3], False), ([0, 4], True), ([2, 1], True), ([1, 0], True), ([(1 << 64) - 1], True)],
)
def test_an_ack_neither_goes_back_nor_names_what_was_never_sent(acks: list[int], refused: bool) -> None:
    hostile = Hostile(Direction.FROM_CLIENT)
    for _ in range(3):
        hostile.side.request()
    hostile.output()
    *valid, last = acks
    for ack in valid:
        hostile.send(seal=False, ack=ack)
    if refused:
        assert hostile.refused(SEARCHED, ack=last) == (Fault.ACK_INVALID, "flight.ack")
    else:
        hostile.send(seal=False, ack=last)


def test_an_answer_acknowledges_its_question() -> None:
    """A peer that answers and never acknowledges would fill the outbox."""
    hostile = Hostile(Direction.FROM_CLIENT)
    hostile.side.request()
    hostile.output()
    assert hostile.refused(envelope(found(request_leaf=hostile.leaf(1))), ack=0) == (Fault.ACK_INVALID, "flight.ack")


# Our seals


def test_deferred_messages_are_sealed_after_a_while() -> None:
    both = Both()
    id = both.client.request()
    both.settle()
    both.advance(0.1)
    both.client.request()
    both.settle()
    assert len(both.client.flights) == 2
    both.run(0.149)
    assert not any(each.HasField("seal") for each in both.client.flights)
    both.run(0.002)
    seal = both.client.flights[-1]
    assert seal.HasField("seal")
    assert (len(seal.envelopes), seal.first_number) == (0, 3)
    assert [each.messages for each in both.server.take_all(SpanSealed)] == [2]
    both.run(1.0)
    assert sum(each.HasField("seal") for each in both.client.flights) == 1
    assert not both.client.outcomes(id)


def test_a_payment_seals_the_searches_before_it() -> None:
    both = Both()
    both.client.request()
    both.settle()
    searched = both.server.take(RequestReceived)
    assert searched.evidence.receipt() is None
    both.client.request(PAY, pay())
    both.settle()
    assert [each.messages for each in both.server.take_all(SpanSealed)] == [1], "the payment was never without"
    assert searched.evidence.receipt() is not None
    assert Timer.SEAL not in both.client.session.timers
    both.run(1.0)
    assert sum(each.HasField("seal") for each in both.client.flights) == 1


def test_an_answer_to_a_payment_is_sealed_at_once_and_one_to_a_search_later() -> None:
    both = Both()
    both.client.request()
    both.settle()
    both.serve()
    both.settle()
    assert not both.server.flights[-1].HasField("seal")
    both.client.request(PAY, pay())
    both.settle()
    both.serve(paid())
    both.settle()
    assert both.server.flights[-1].HasField("seal")
    assert both.client.take(ResponseReceived).evidence.receipt() is not None


def test_an_error_of_an_unknown_or_sealed_kind_is_sealed() -> None:
    both = Both()
    both.client.request(PAY, pay())
    both.settle()
    both.server.session.fail(both.server.take(RequestReceived).id, failure())
    both.settle()
    assert both.server.flights[-1].HasField("seal")


def test_a_seal_says_when_by_the_wall_clock() -> None:
    both = Both()
    both.client.request(PAY, pay())
    both.advance(5.0)
    both.settle()
    assert both.client.flights[0].seal.signed_at_ms == both.now.wall_ms


# The peer's seals


def test_a_peer_that_does_not_seal_in_time_is_given_up() -> None:
    hostile = Hostile(limits=Limits(span_timeout=30.0))
    hostile.send(SEARCHED, seal=False)
    hostile.mono += 29.0
    hostile.send(SEARCHED, seal=False)
    hostile.mono += 0.99
    hostile.output()
    hostile.mono += 0.02
    with pytest.raises(ProtocolFault) as caught:
        hostile.output()
    assert (caught.value.fault, caught.value.rule) == (Fault.SEAL_OVERDUE, "span.time")


def test_a_seal_ends_the_wait_and_the_next_unsealed_message_begins_another() -> None:
    hostile = Hostile(limits=Limits(span_timeout=30.0, request_timeout=3600.0))
    for _ in range(5):
        hostile.send(SEARCHED, seal=False, hops=[v1.Hop(index=0, timeout_ms=3_600_000)])
        assert hostile.side.session.timers.get(Timer.SPAN) == hostile.mono + 30.0
        hostile.mono += 29.0
        hostile.output()
        hostile.send()
        assert Timer.SPAN not in hostile.side.session.timers
    hostile.mono += 3000.0
    hostile.output()


def test_a_message_under_its_own_seal_starts_no_wait() -> None:
    hostile = Hostile()
    hostile.send(PAYMENT)
    assert Timer.SPAN not in hostile.side.session.timers
    assert not hostile.side.take_all(SpanSealed)


@pytest.mark.parametrize(("count", "refused"), [(4, False), (5, False), (6, True)])
def test_a_span_is_bounded(count: int, refused: bool) -> None:
    hostile = Hostile(limits=Limits(span_messages=5, flight_messages=5))
    for _ in range(count - 1):
        hostile.send(SEARCHED, seal=False)
    if refused:
        assert hostile.refused(SEARCHED, seal=False) == (Fault.SEAL_OVERDUE, "span.length")
    else:
        hostile.send(SEARCHED, seal=False)


@pytest.mark.parametrize("answer", [False, True])
def test_a_payment_or_its_answer_without_a_seal_is_not_delivered(answer: bool) -> None:
    if not answer:
        assert Hostile().refused(PAYMENT, seal=False) == (Fault.SEAL_MISSING, "seal.missing")
        return
    hostile = Hostile(Direction.FROM_CLIENT)
    hostile.side.request(PAY, pay())
    hostile.output()
    unsealed = envelope(authorized(request_leaf=hostile.leaf(1)))
    assert hostile.refused(unsealed, seal=False, ack=1) == (Fault.SEAL_MISSING, "seal.missing")
