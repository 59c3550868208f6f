"""Slots: how many requests may be open, when a slot is taken, when it is free again, and what exceeding it ends."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.errors import Fault
from ratatoskr.events import RequestExpired, RequestFailed, RequestReceived, ResponseReceived
from ratatoskr.limits import Limits
from ratatoskr.messages import Direction
from tests.unit.messages.support import PLAIN, custom, envelope, failure, field, found, payment, search
from tests.unit.session.support import FOUND, LAMP, PAY, Both, Hostile, pay

SEARCHED, PAYMENT = envelope(search()), envelope(payment())


def requests_of(size: int) -> bytes:
    """A request of a deferred kind whose envelope has exactly so many bytes."""
    frame = len(envelope(custom(2, field(1, bytes(1000))))) - 1000
    made = envelope(custom(2, field(1, bytes(size - frame))))
    assert len(made) == size
    return made


# The side that asks


@pytest.mark.parametrize("open_", [1, 2, 5])
def test_requests_wait_for_a_slot(open_: int) -> None:
    both = Both(Limits(requests_open=open_))
    ids = [both.client.request() for _ in range(open_ + 1)]
    both.settle()
    assert len(both.server.take_all(RequestReceived)) == open_
    assert sum(len(each.envelopes) for each in both.client.flights) == open_
    assert not both.client.outcomes(ids[-1])


def test_an_answer_frees_a_slot_for_the_next_request() -> None:
    both = Both(Limits(requests_open=2))
    ids = [both.client.request(message=v1.Search(query=str(at))) for at in range(20)]
    answered = []
    for _ in range(20):
        both.settle()
        answered.append(both.serve().message)
    both.settle()
    assert [each.id for each in both.client.take_all(ResponseReceived)] == ids
    assert answered == [v1.Search(query=str(at)) for at in range(20)]


def test_a_failure_frees_a_slot_as_an_answer_does() -> None:
    both = Both(Limits(requests_open=1))
    for at in range(5):
        both.client.request(PLAIN, v1.GoAway(reason=str(at)), timeout=1.0)
    both.run(20.0)
    assert len(both.client.take_all(RequestFailed)) == 5
    assert len(both.server.take_all(RequestReceived)) == 1, "four timed out before they had a slot"


def test_a_call_that_its_caller_gave_up_keeps_its_slot() -> None:
    """Otherwise a peer that never answers would be sent more and more."""
    both = Both(Limits(requests_open=1))
    both.client.request(timeout=1.0)
    first = both.client.output(both.now)
    assert first is not None
    both.advance(1.0)
    both.client.request()
    both.client.output(both.now)
    assert len(both.client.take_all(RequestFailed)) == 1
    assert sum(len(each.envelopes) for each in both.client.flights) == 1


@pytest.mark.parametrize(("more", "flights"), [(-1, 1), (0, 1), (1, 0)])
def test_bytes_of_open_requests_are_bounded(more: int, flights: int) -> None:
    """Charged with 128 bytes beside the payload; an eighth is for payments, the third request has the rest exactly."""
    both = Both(Limits(request_bytes_open=20_000))
    for _ in range(2):
        both.client.request(PLAIN, v1.GoAway(reason="x" * 5000))
    both.settle()
    used = 2 * (5003 + 128)
    both.client.request(PLAIN, v1.GoAway(reason="x" * (20_000 - 20_000 // 8 - used - 128 - 3 + more)))
    before = len(both.client.flights)
    both.settle()
    assert len([each for each in both.client.flights[before:] if each.envelopes]) == flights


def test_a_request_that_is_longer_than_all_slots_goes_alone() -> None:
    both = Both(Limits(request_bytes_open=1000))
    both.client.request(PLAIN, v1.GoAway(reason="x" * 5000))
    both.client.request(PLAIN, v1.GoAway(reason="y"))
    both.settle()
    (asked,) = both.server.take_all(RequestReceived)
    both.server.session.respond(asked.id, v1.GoAway())
    both.settle()
    assert len(both.server.take_all(RequestReceived)) == 1


def test_slots_of_the_two_directions_are_their_own() -> None:
    both = Both(Limits(requests_open=1))
    both.client.request()
    both.server.request()
    both.settle()
    assert len(both.server.take_all(RequestReceived)) == len(both.client.take_all(RequestReceived)) == 1


# The side that is asked


@pytest.mark.parametrize(("count", "refused"), [(2, False), (3, False), (4, True)])
@pytest.mark.parametrize("divided", [False, True])
def test_a_peer_has_so_many_slots(count: int, refused: bool, divided: bool) -> None:
    hostile = Hostile(limits=Limits(requests_open=3))
    if divided:
        for _ in range(count - 1):
            hostile.send(SEARCHED)
    envelopes = [SEARCHED] * (1 if divided else count)
    if refused:
        assert hostile.refused(*envelopes) == (Fault.LIMIT_EXCEEDED, "requests.open")
    else:
        hostile.send(*envelopes)
        assert len(hostile.side.take_all(RequestReceived)) == count


@pytest.mark.parametrize(("more", "refused"), [(-1, False), (0, False), (1, True)])
def test_a_peer_has_so_many_bytes(more: int, refused: bool) -> None:
    hostile = Hostile(limits=Limits(request_bytes_open=10_000))
    hostile.send(requests_of(4000))
    last = requests_of(6000 + more)
    if refused:
        assert hostile.refused(last) == (Fault.LIMIT_EXCEEDED, "requests.open")
    else:
        hostile.send(last)


def test_one_request_may_be_longer_than_all_bytes() -> None:
    hostile = Hostile(limits=Limits(request_bytes_open=1000))
    hostile.send(requests_of(5000))
    assert hostile.refused(SEARCHED) == (Fault.LIMIT_EXCEEDED, "requests.open")


def test_a_slot_is_free_when_the_answer_is_acknowledged_and_not_before() -> None:
    hostile = Hostile(limits=Limits(requests_open=1))
    hostile.send(SEARCHED)
    hostile.side.session.respond(hostile.side.take(RequestReceived).id, FOUND)
    assert hostile.output() is not None
    twin = Hostile(limits=Limits(requests_open=1))
    twin.send(SEARCHED)
    twin.side.session.respond(twin.side.take(RequestReceived).id, FOUND)
    twin.output()
    assert twin.refused(SEARCHED, ack=0) == (Fault.LIMIT_EXCEEDED, "requests.open")
    hostile.send(SEARCHED, ack=1)
    assert len(hostile.side.take_all(RequestReceived)) == 1


@pytest.mark.parametrize(
    "refused", [envelope(custom(77, b"")), envelope(search(payload=b"\xff")), envelope(search(expires_at_ms=1))]
)
def test_a_request_that_the_session_refuses_holds_a_slot_until_it_is_acknowledged(refused: bytes) -> None:
    hostile = Hostile(limits=Limits(requests_open=2))
    hostile.send(refused, refused)
    assert hostile.refused(refused) == (Fault.LIMIT_EXCEEDED, "requests.open")

    patient = Hostile(limits=Limits(requests_open=2))
    for number in range(1, 20):
        patient.send(refused, ack=number - 1)
        assert patient.output() is not None


@pytest.mark.parametrize("ended", [True, False])
def test_a_request_that_expired_holds_its_slot_until_its_handler_has_ended(ended: bool) -> None:
    hostile = Hostile(limits=Limits(requests_open=1))
    hostile.send(SEARCHED, hops=[v1.Hop(index=0, timeout_ms=10)])
    hostile.mono += 1.0
    flight = hostile.output()
    assert flight is None or not flight.envelopes, "its caller knows by itself"
    (expired,) = hostile.side.take_all(RequestExpired)
    if ended:
        hostile.side.session.fail(expired.id, failure("STOPPED"))
        flight = hostile.output()
        assert flight is not None
        assert len(flight.envelopes) == 1
        hostile.send(SEARCHED, ack=1)
    else:
        assert hostile.refused(SEARCHED) == (Fault.LIMIT_EXCEEDED, "requests.open")


def test_of_a_flight_with_one_request_too_many_nothing_is_delivered() -> None:
    hostile = Hostile(limits=Limits(requests_open=2))
    assert hostile.refused(SEARCHED, PAYMENT, SEARCHED) == (Fault.LIMIT_EXCEEDED, "requests.open")


def test_answers_in_a_flight_with_a_fault_are_not_delivered_and_the_calls_end_unknown() -> None:
    hostile = Hostile(Direction.FROM_CLIENT, Limits(requests_open=1))
    id = hostile.side.request()
    hostile.output()
    answer = envelope(found(request_leaf=hostile.leaf(1)))
    assert hostile.refused(answer, SEARCHED, SEARCHED, ack=1) == (Fault.LIMIT_EXCEEDED, "requests.open")
    hostile.side.session.end(Fault.LIMIT_EXCEEDED)
    hostile.side.collect()
    assert [type(each) for each in hostile.side.outcomes(id)] == [RequestFailed]


def test_an_error_in_a_flight_with_a_fault_is_not_delivered() -> None:
    hostile = Hostile(Direction.FROM_CLIENT, Limits(requests_open=1))
    id = hostile.side.request()
    late = hostile.side.request(timeout=1.0)
    hostile.output()
    answer = envelope(found(request_leaf=hostile.leaf(1), error=v1.Error(code=5, reason="NO")))
    assert hostile.refused(answer, SEARCHED, SEARCHED, ack=1)[1] == "requests.open"
    hostile.side.session.end(Fault.LIMIT_EXCEEDED)
    hostile.side.collect()
    (outcome,) = hostile.side.outcomes(id)
    assert isinstance(outcome, RequestFailed)
    assert outcome.failure.reason == "LIMIT_EXCEEDED"
    assert len(hostile.side.outcomes(late)) == 1


def test_accounting_comes_back_to_nothing() -> None:
    """After any amount of business every slot and every byte is free."""
    limits = Limits(requests_open=3, request_bytes_open=2000)
    both = Both(limits)
    for at in range(30):
        both.client.request(message=LAMP)
        both.server.request(PAY, pay(f"P {at}"), timeout=0.5 if at % 3 == 0 else 20.0)
    for _ in range(60):
        both.run(0.1)
        for side in (both.client, both.server):
            for at, asked in enumerate(side.take_all(RequestReceived)):
                answer = FOUND if side is both.server else v1.PaymentAuthorized()
                if at % 2:
                    side.session.fail(asked.id, failure())
                else:
                    side.session.respond(asked.id, answer)
    both.run(60.0)
    for side in (both.client, both.server):
        assert len(side.take_all(ResponseReceived)) + len(side.take_all(RequestFailed)) == 30
        session = side.session
        assert (session._answering.calls.open, session._answering.calls._bytes_open) == (0, 0)
        assert session._asking.calls.empty
        assert (session._asking.calls._bytes_open, session._asking.calls._queued_bytes) == (0, 0)
        assert session._sender.done
