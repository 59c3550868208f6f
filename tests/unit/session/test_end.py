"""The end of a session: drained, ended by a fault, or ended by the peer."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.errors import Disposition, Fault, ProtocolFault, Status, WouldBlock
from ratatoskr.events import GoingAway, RequestFailed, RequestReceived, ResponseReceived, SpanSealed, Writable
from ratatoskr.limits import Limits
from ratatoskr.messages import Direction
from ratatoskr.timers import Timer
from tests.unit.messages.support import CLIENT, KINDS, Forger, envelope, failure, found, search, validator, verify_key
from tests.unit.session.support import FOUND, PAY, Both, Hostile, Side, paid, pay, send

SEARCHED = envelope(search())
GO_AWAY = v1.Control(go_away=v1.GoAway(reason="maintenance"))
DISCONNECT = v1.Control(disconnect=v1.Disconnect())


def said(side: Side) -> list[str | None]:
    """The controls that a side said, in order."""
    return [control.WhichOneof("control") for flight in side.flights for control in flight.controls]


# Draining


def test_an_idle_session_is_over_once_both_have_said_so() -> None:
    both = Both()
    both.client.session.drain("the shop closes")
    assert both.client.session.draining
    both.settle()
    assert both.server.take(GoingAway).reason == "the shop closes"
    assert (said(both.client), said(both.server)) == (["go_away", "disconnect"], ["disconnect"])
    assert both.client.session.over
    assert both.server.session.over
    assert both.client.events == both.server.events == []
    assert all(each.HasField("seal") for each in [*both.server.flights, both.client.flights[-1]])


@pytest.mark.parametrize("first", ["client", "server"])
def test_open_calls_complete_and_queued_ones_fail(first: str) -> None:
    both = Both(Limits(requests_open=2))
    ids = [both.client.request() for _ in range(4)]
    both.settle()
    getattr(both, first).session.drain("")
    both.settle()
    refused = both.client.take_all(RequestFailed)
    assert [each.id for each in refused] == ids[2:]
    assert {(each.failure.reason, each.failure.disposition) for each in refused} == {
        ("GOING_AWAY", Disposition.NOT_PROCESSED)
    }
    assert "disconnect" not in [*said(both.client), *said(both.server)]
    both.run(5.0)
    for _ in range(2):
        both.serve()
    both.run(1.0)
    assert [each.id for each in both.client.take_all(ResponseReceived)] == ids[:2]
    assert both.client.session.over
    assert both.server.session.over


def test_new_requests_fail_on_either_side() -> None:
    both = Both()
    both.client.session.drain("")
    both.settle()
    for side in (both.client, both.server):
        id = side.request()
        side.collect()
        (failed,) = side.outcomes(id)
        assert isinstance(failed, RequestFailed)
        assert (failed.failure.status, failed.failure.disposition) == (Status.UNAVAILABLE, Disposition.NOT_PROCESSED)


def test_a_request_that_crosses_the_goaway_is_answered() -> None:
    """Before either side says DISCONNECT."""
    both = Both()
    id = both.server.request()
    crossing = both.server.output(both.now)
    assert crossing is not None
    both.client.session.drain("")
    leaving = both.client.output(both.now)
    assert leaving is not None
    both.client.input(crossing, both.now)
    both.server.input(leaving, both.now)
    both.settle()
    (failed,) = both.server.outcomes(id)
    assert isinstance(failed, RequestFailed)
    assert failed.failure.disposition is Disposition.NOT_PROCESSED
    assert not both.client.take_all(RequestReceived), "the application of the side that leaves is not asked any more"
    both.run(1.0)
    assert both.client.session.over
    assert both.server.session.over


def test_both_sides_may_leave_at_once() -> None:
    both = Both()
    both.client.request(PAY, pay())
    both.settle()
    for side in (both.client, both.server):
        side.session.drain("")
        side.session.drain("again")
    both.settle()
    both.serve(paid())
    both.run(1.0)
    assert both.client.session.over
    assert both.server.session.over
    assert not both.client.take_all(GoingAway), "who leaves himself needs no telling"
    assert said(both.client) == said(both.server) == ["go_away", "disconnect"]


def test_nothing_is_left_unsealed_at_the_end() -> None:
    both = Both()
    both.client.request()
    both.settle()
    asked = both.serve()
    both.client.session.drain("")
    both.run(0.1)
    assert both.client.session.over
    receipt = asked.evidence.receipt()
    assert receipt is not None
    receipt.verify(verify_key(CLIENT))
    assert both.server.take_all(SpanSealed)
    assert both.client.take(ResponseReceived).evidence.receipt() is not None


@pytest.mark.parametrize("reason", ["x" * 100_000, "😀" * 1000, "a\ud800b"], ids=["long", "wide", "no text"])
def test_a_reason_is_cut_to_what_a_flight_has_room_for(reason: str) -> None:
    both = Both(Limits(record_bytes=4096, envelope_bytes=3072))
    both.server.request(PAY, pay())
    both.settle()
    both.client.session.respond(both.client.take(RequestReceived).id, paid())
    both.client.session.drain(reason)
    both.settle()
    assert len(both.server.take(GoingAway).reason.encode()) <= 128
    assert all(each.ByteSize() <= 4096 - 16 for each in both.client.flights)


def test_room_in_a_blocked_queue_is_told_when_draining_empties_it() -> None:
    both = Both(Limits(requests_open=1, requests_queued=1))
    both.client.request()
    both.settle()
    both.client.request()
    with pytest.raises(WouldBlock):
        both.client.request()
    both.client.session.drain("")
    both.client.collect()
    assert [type(each) for each in both.client.events] == [RequestFailed, Writable]


# The peer's part


def test_a_peer_that_goes_away_is_told_about_once() -> None:
    hostile = Hostile()
    queued = hostile.side.request()
    hostile.send(controls=[GO_AWAY, GO_AWAY])
    hostile.send(controls=[GO_AWAY])
    assert [each.reason for each in hostile.side.take_all(GoingAway)] == ["maintenance"]
    assert len(hostile.side.outcomes(queued)) == 1


def test_a_disconnect_without_goaway_ends_the_session_too() -> None:
    hostile = Hostile()
    queued = hostile.side.request()
    hostile.send(controls=[DISCONNECT])
    assert [type(each) for each in hostile.side.outcomes(queued)] == [RequestFailed]
    flight = hostile.output()
    assert flight is not None
    assert [each.WhichOneof("control") for each in flight.controls] == ["disconnect"]
    assert hostile.side.session.over


def test_after_disconnect_a_peer_may_only_acknowledge() -> None:
    hostile = Hostile(Direction.FROM_CLIENT)
    hostile.side.request()
    hostile.output()
    hostile.send(controls=[DISCONNECT], ack=0)
    hostile.send(ack=1)
    answer = envelope(found(request_leaf=hostile.leaf(1)))
    assert hostile.refused(answer, ack=1) == (Fault.FLIGHT_INVALID, "disconnect.final")


def test_the_last_request_of_a_peer_that_leaves_may_come_with_its_goaway() -> None:
    hostile = Hostile()
    hostile.send(SEARCHED, controls=[GO_AWAY])
    assert [type(each) for each in hostile.side.events] == [RequestReceived, GoingAway]


@pytest.mark.parametrize("unsealed_in", ["the same flight", "an earlier flight"])
def test_a_peer_seals_before_it_disconnects(unsealed_in: str) -> None:
    """Otherwise it could end a session cleanly and leave us without receipts."""
    hostile = Hostile()
    if unsealed_in == "the same flight":
        assert hostile.refused(SEARCHED, seal=False, controls=[DISCONNECT]) == (Fault.SEAL_MISSING, "disconnect.seal")
    else:
        hostile.send(SEARCHED, seal=False)
        assert hostile.refused(seal=False, controls=[DISCONNECT]) == (Fault.SEAL_MISSING, "disconnect.seal")


def test_a_disconnect_with_a_code_ends_the_session_with_a_fault() -> None:
    hostile = Hostile()
    control = v1.Control(disconnect=v1.Disconnect(code=4443, reason="seal.signature"))
    assert hostile.refused(SEARCHED, controls=[control]) == (Fault.DISCONNECTED, "disconnect.fault")


def test_a_peer_s_words_are_quoted_and_cut_in_the_log() -> None:
    hostile = Hostile()
    control = v1.Control(disconnect=v1.Disconnect(code=1, reason="line\n" * 1000))
    with pytest.raises(ProtocolFault) as caught:
        hostile.send(controls=[control])
    assert "\n" not in caught.value.detail
    assert len(caught.value.detail) < 200


def test_a_side_does_not_disconnect_while_something_is_undelivered_or_unacknowledged() -> None:
    both = Both()
    both.client.request()
    both.settle()
    asked = both.server.take(RequestReceived)
    both.client.session.drain("")
    both.settle()
    assert said(both.server) == []
    both.server.session.respond(asked.id, FOUND)
    answer = both.server.output(both.now)
    assert answer is not None
    assert said(both.server) == [], "the answer is not acknowledged"
    both.client.session.receive(answer, both.now)
    built = both.client.session.build(both.now, [])
    assert built is None or not v1.Flight.FromString(built).controls, "the answer is not taken"
    both.run(1.0)
    assert both.client.session.over


# Faults


def test_the_last_flight_names_the_fault_under_a_seal() -> None:
    both = Both()
    both.client.request()
    both.settle()
    last = both.client.session.last_flight(both.now, 4429, "controls.rate")
    opening, forger = validator(kinds=KINDS), Forger()
    opening.open(forger.flight(*both.client.flights[0].envelopes, seal=False))
    opened = opening.open(last)
    assert opened.sealed is not None
    (control,) = opened.controls
    assert (control.disconnect.code, control.disconnect.reason) == (4429, "controls.rate")


@pytest.mark.parametrize("fault", [Fault.SEAL_INVALID, Fault.TRANSPORT_LOST, Fault.CLEAN])
def test_at_the_end_every_request_has_exactly_one_outcome(fault: Fault) -> None:
    both = Both(Limits(requests_open=3))
    answered = both.client.request()
    both.settle()
    both.serve()
    both.settle()
    given_up = both.client.request(timeout=1.0)
    both.run(2.0)
    numbered = [both.client.request() for _ in range(2)]
    both.settle()
    queued = both.client.request()
    both.client.session.end(fault)
    both.client.collect()
    for id, disposition in [
        (given_up, Disposition.MAYBE),
        (numbered[0], Disposition.MAYBE),
        (numbered[1], Disposition.MAYBE),
        (queued, Disposition.NOT_PROCESSED),
    ]:
        (outcome,) = both.client.outcomes(id)
        assert isinstance(outcome, RequestFailed)
        assert outcome.failure.disposition is disposition
    assert [type(each) for each in both.client.outcomes(answered)] == [ResponseReceived]
    before = len(both.client.events)
    both.client.session.end(Fault.TRANSPORT_LOST)
    both.client.collect()
    assert len(both.client.events) == before, "a second end changes nothing"


def test_after_the_end_requests_fail_and_answers_are_dropped() -> None:
    both = Both()
    both.client.request()
    both.settle()
    asked = both.server.take(RequestReceived)
    second = both.client.request()
    both.settle()
    for side in (both.client, both.server):
        side.session.end(Fault.PEER_SILENT)
        side.collect()
        assert side.session.timers.earliest == float("inf")
    assert len(both.client.outcomes(second)) == 1
    both.server.session.respond(asked.id, FOUND)
    both.server.session.fail(both.server.take(RequestReceived).id, failure())
    assert both.server.session.build(both.now, []) is None
    late = both.client.request()
    both.client.collect()
    (failed,) = both.client.outcomes(late)
    assert isinstance(failed, RequestFailed)
    assert (failed.failure.reason, failed.failure.disposition) == ("PEER_SILENT", Disposition.NOT_PROCESSED)


def test_nothing_waits_to_be_sent_after_the_end() -> None:
    """Items, credit and cancels go with the session."""
    both = Both(Limits(cancels_per_minute=1))
    streams = [both.stream() for _ in range(4)]
    for _, asked in streams:
        send(both.server.session, asked.id, 1)
    both.settle()
    send(both.server.session, streams[0][1].id, 15)
    with pytest.raises(WouldBlock):
        send(both.server.session, streams[0][1].id, 1)
    for id, _ in streams:
        both.client.session.grant(id, 1)
    for id, _ in streams[2:]:
        both.client.session.cancel(id)
    for side in (both.client, both.server):
        side.session.end(Fault.TRANSPORT_LOST)
    assert not both.client.session._asking.has_controls
    waiting = both.server.session._sender.streams
    assert (len(waiting), waiting._bytes, waiting._blocked) == (0, 0, {})
    for side in (both.client, both.server):
        assert side.output(both.now) is None


def test_timers_stand_still_after_the_end() -> None:
    hostile = Hostile()
    hostile.send(SEARCHED, seal=False)
    assert Timer.SPAN in hostile.side.session.timers
    hostile.side.session.end(Fault.TRANSPORT_LOST)
    hostile.mono += 1000.0
    assert hostile.output() is None


def test_events_of_the_connection_keep_their_place() -> None:
    side = Side(Direction.FROM_CLIENT, Limits())
    one, two = Writable(), GoingAway("")
    side.session.tell(one)
    side.session.tell(two)
    side.collect()
    assert side.events == [one, two]
