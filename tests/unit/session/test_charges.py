"""Charges: what a peer may cost us for nothing, to the last one; and that who keeps to the rules is never charged."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.errors import Fault, ProtocolFault, WouldBlock
from ratatoskr.events import ItemReceived, RequestCancelled, RequestReceived
from ratatoskr.limits import MAX_CREDIT, Limits
from ratatoskr.messages import Direction
from ratatoskr.session.charges import Charges
from tests.unit.messages.support import FEED, custom, end, envelope, item, search
from tests.unit.session.support import Both, Hostile, note

SEARCHED, ASKED = envelope(search()), envelope(custom(3, b""))
NONSENSE = {
    "unknown kind": envelope(custom(77, b"")),
    "no payload": envelope(search(payload=b"\xff")),
    "no valid payload": envelope(custom(1, v1.Search(query="x" * 2000).SerializeToString())),
}
PING = v1.Control(ping=v1.Ping(token=1))
CONTROLS, CANCELS, ERRORS = ((Fault.LIMIT_EXCEEDED, f"{each}.rate") for each in ("controls", "cancels", "errors"))


def cancel(number: int) -> v1.Control:
    return v1.Control(cancel=v1.Cancel(request_number=number))


def grant(number: int, items: int) -> v1.Control:
    return v1.Control(grant=v1.Grant(request_number=number, items=items))


# Cancels


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(("count", "refused"), [(4, False), (5, False), (6, True)])
def test_cancels_of_a_minute_are_bounded(count: int, refused: bool, same: bool) -> None:
    """Of requests that are open, or always of the same one. Nothing else is charged for them."""
    hostile = Hostile(limits=Limits(cancels_per_minute=5, control_burst=1, control_rate=0.001))
    hostile.send(*[SEARCHED] * 6)
    numbers = [1] * count if same else list(range(1, count + 1))
    for number in numbers[:-1]:
        hostile.send(seal=False, controls=[cancel(number)])
    if refused:
        assert hostile.refused(seal=False, controls=[cancel(numbers[-1])]) == CANCELS
    else:
        hostile.send(seal=False, controls=[cancel(numbers[-1])])
        assert len(hostile.side.take_all(RequestCancelled)) == (1 if same else count)


@pytest.mark.parametrize(("count", "refused"), [(4, False), (5, False), (6, True)])
def test_cancels_of_one_flight_are_charged_one_by_one(count: int, refused: bool) -> None:
    """Before anything of the flight is delivered: a request and its cancel cost nobody a handler."""
    hostile = Hostile(limits=Limits(cancels_per_minute=5))
    controls = [cancel(number) for number in range(1, count + 1)]
    if refused:
        assert hostile.refused(*[SEARCHED] * count, controls=controls) == CANCELS
    else:
        hostile.send(*[SEARCHED] * count, controls=controls)
        assert not hostile.side.take_all(RequestReceived)


def test_a_minute_later_there_are_as_many_again() -> None:
    hostile = Hostile(limits=Limits(cancels_per_minute=5))
    hostile.send(SEARCHED)
    for _ in range(3):
        for _ in range(5):
            hostile.send(seal=False, controls=[cancel(1)])
        hostile.mono += 60.001
    for _ in range(5):
        hostile.send(seal=False, controls=[cancel(1)])
    hostile.mono += 11.9
    assert hostile.refused(seal=False, controls=[cancel(1)]) == CANCELS


def test_rapid_reset_ends_the_session() -> None:
    """A request and its cancel in flights of their own, as fast as the line: a hundred handlers, and no more."""
    hostile = Hostile(limits=Limits(requests_open=1000))
    for number in range(1, 101):
        hostile.send(SEARCHED)
        hostile.send(seal=False, controls=[cancel(number)])
    hostile.send(SEARCHED)
    assert hostile.refused(seal=False, controls=[cancel(101)]) == CANCELS


# Requests that break a rule


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
@pytest.mark.parametrize(("count", "refused"), [(4, False), (5, False), (6, True)])
def test_requests_that_break_a_rule_are_bounded(nonsense: bytes, count: int, refused: bool) -> None:
    hostile = Hostile(limits=Limits(errors_per_minute=5))
    for _ in range(count - 1):
        hostile.send(nonsense)
    if refused:
        assert hostile.refused(SEARCHED, nonsense) == ERRORS
    else:
        hostile.send(SEARCHED, nonsense)
        assert len(hostile.side.take_all(RequestReceived)) == 1


def test_patience_with_nonsense_is_regained() -> None:
    hostile = Hostile(limits=Limits(errors_per_minute=1))
    for ack in range(5):
        hostile.send(NONSENSE["unknown kind"], ack=ack)
        hostile.output()
        hostile.mono += 60.001


def test_requests_that_expired_or_came_too_late_are_nobodys_fault() -> None:
    hostile = Hostile(limits=Limits(errors_per_minute=1))
    for _ in range(10):
        hostile.send(envelope(search(expires_at_ms=1)))
    hostile.side.session.drain("")
    for _ in range(10):
        hostile.send(NONSENSE["unknown kind"])
    assert not hostile.side.take_all(RequestReceived)


# Grants


def test_grants_are_controls_where_no_item_was_sent() -> None:
    hostile = Hostile(limits=Limits(control_burst=3))
    hostile.send(ASKED)
    for items in (50, 50, 10):
        hostile.send(seal=False, controls=[grant(1, items)])
    assert hostile.refused(seal=False, controls=[grant(1, 60)]) == CONTROLS


@pytest.mark.parametrize("items", [MAX_CREDIT, 1], ids=["more", "no more"])
@pytest.mark.parametrize(("count", "refused"), [(6, False), (7, False), (8, True)])
def test_a_grant_is_free_once_for_each_item_that_was_sent(count: int, refused: bool, items: int) -> None:
    """Five were sent, and two wait; two more are paid for."""
    hostile = Hostile(limits=Limits(control_burst=2, outbox_messages=5))
    hostile.send(ASKED)
    asked = hostile.side.take(RequestReceived)
    for _ in range(7):
        hostile.side.session.respond(asked.id, note(), last=False)
    hostile.output()
    for _ in range(count - 1):
        hostile.send(seal=False, controls=[grant(1, items)])
    if refused:
        assert hostile.refused(seal=False, controls=[grant(1, items)]) == CONTROLS
    else:
        hostile.send(seal=False, controls=[grant(1, items)])


def test_a_grant_that_crosses_the_end_is_free_too() -> None:
    hostile = Hostile(limits=Limits(control_burst=1))
    hostile.send(ASKED)
    asked = hostile.side.take(RequestReceived)
    for _ in range(10):
        hostile.side.session.respond(asked.id, note(), last=False)
    hostile.side.session.respond(asked.id)
    hostile.output()
    for at in range(11):
        hostile.send(seal=False, controls=[grant(1, 17 + at)])
    assert hostile.refused(seal=False, controls=[grant(1, 40)]) == CONTROLS


def test_free_grants_that_are_saved_up_are_bounded() -> None:
    """By what may be on its way, one more for each stream, and one again over a new transport."""
    charges = Charges(Limits(outbox_messages=5, requests_open=2, control_burst=1))
    for _ in range(100):
        charges.items_sent(100)
        charges.resumed(2)
    for _ in range(9 + 3 + 1):  # one is paid for
        charges.grant(1.0)
    with pytest.raises(ProtocolFault, match=r"more than 10\.0 controls a second"):
        charges.grant(1.0)


# Who keeps to the rules

STINGY = Limits(control_burst=1, control_rate=0.001, requests_open=4, outbox_messages=6, stream_credit_ahead=1000)


def test_an_application_that_grants_for_each_item_or_without_reason_is_never_charged() -> None:
    both = Both(STINGY)
    id, asked = both.stream(credit=1)
    for _ in range(100):
        both.client.session.grant(id, 1)
        both.settle()
    assert not any(flight.controls for flight in both.client.flights), "no item has come: the peer has credit still"
    for at in range(101):
        both.server.session.respond(asked.id, note(at), last=False)
        both.run(0.03)
    assert len(both.client.take_all(ItemReceived)) == 101
    with pytest.raises(WouldBlock):
        both.server.session.respond(asked.id, note(), last=False)


def test_the_most_grants_that_a_reader_may_owe_are_free() -> None:
    """One for each item that is on its way, and one for each stream whose last item it has acknowledged."""
    both = Both(STINGY)
    streams = [both.stream() for _ in range(STINGY.requests_open)]
    session = both.server.session

    def say(count: int) -> list[bytes]:
        flights = []
        for at in range(count):
            session.respond(streams[at % len(streams)][1].id, note(), last=False)
            flight = both.server.output(both.now)
            assert flight is not None
            flights.append(flight)
        return flights

    for flight in say(len(streams)):
        both.client.input(flight, both.now)
    both.run(0.05)
    assert both.server.session._sender.done, "all is acknowledged, and nothing granted"
    grants = []
    for under_way in (None, *say(STINGY.outbox_messages)):
        if under_way is not None:
            both.client.input(under_way, both.now)
        for id, _ in streams:
            both.client.session.grant(id, 1)
            if (said := both.client.output(both.now)) is not None:
                grants.append(said)
    for _, asked in streams:
        session.respond(asked.id)
    for flight in grants:
        both.server.input(flight, both.now)
    assert len(grants) == len(streams) + STINGY.outbox_messages


def test_credit_for_which_an_item_had_to_come_first_is_granted_with_it() -> None:
    both = Both()
    id, asked = both.stream(credit=2)
    both.client.session.grant(id, 3)
    both.client.session.grant(id, 3)
    both.settle()
    assert not any(flight.controls for flight in both.client.flights)
    both.server.session.respond(asked.id, note(), last=False)
    both.settle()
    assert both.client.flights[-1].controls == [grant(1, 8)]
    both.client.session.grant(id, 1)
    both.settle()
    assert both.client.flights[-1].controls == [grant(1, 8)], "again it waits for an item"


def test_streams_are_granted_credit_in_their_order() -> None:
    """There are fewer controls in a flight than streams; none starves."""
    both = Both(Limits(controls=4))
    streams = dict(both.stream(credit=1) for _ in range(7))
    for asked in streams.values():
        both.server.session.respond(asked.id, note(), last=False)
    both.settle()
    for id in streams:
        both.client.session.grant(id, 1)
    both.settle()
    granted = [[each.grant.request_number for each in flight.controls] for flight in both.client.flights]
    assert [each for each in granted if each] == [[1, 2, 3, 4], [5, 6, 7]]


# Flights that bring nothing


def test_items_and_what_they_acknowledge_bring_something() -> None:
    hostile = Hostile(Direction.FROM_CLIENT, Limits(control_burst=1, control_rate=0.001))
    hostile.side.request(FEED, note(), credit=50)
    hostile.output()
    for at in range(50):
        hostile.send(envelope(item(at, request_leaf=hostile.leaf(1))), seal=False, ack=1)
    hostile.send(envelope(end(50, request_leaf=hostile.leaf(1))), seal=False, ack=1)
    assert len(hostile.side.take_all(ItemReceived)) == 50


def test_a_flight_with_controls_is_charged_for_these_alone() -> None:
    hostile = Hostile(limits=Limits(control_burst=2, control_rate=0.001, cancels_per_minute=10))
    hostile.send(SEARCHED)
    hostile.send(seal=False, controls=[PING])
    hostile.send(seal=False, controls=[cancel(1)])
    hostile.send(seal=False, controls=[PING])
    assert hostile.refused(seal=False) == CONTROLS
