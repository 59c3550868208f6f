"""Credit: how many items may come. It is absolute, it is what the reader grants, and it says when a sender goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratatoskr import v1
from ratatoskr.errors import Fault, LocalProtocolError, WouldBlock
from ratatoskr.events import RequestFailed, RequestId, RequestReceived, Writable
from ratatoskr.limits import MAX_CREDIT, Limits
from ratatoskr.messages import Direction
from ratatoskr.session import Session
from tests.unit.messages.support import FEED, PLAIN, custom, end, envelope, item
from tests.unit.session.support import Both, Hostile, note, send

ASKED = envelope(custom(3, b""))


def grant(number: int, items: int) -> v1.Control:
    return v1.Control(grant=v1.Grant(request_number=number, items=items))


# Credit


@pytest.mark.parametrize("credit", [None, 1, 3, 16, 1024])
def test_items_come_up_to_the_credit_of_the_request(credit: int | None) -> None:
    both = Both()
    _, asked = both.stream(credit=credit)
    count = 16 if credit is None else credit
    assert [each.credit for flight in both.client.flights for each in flight.hops] == ([] if count == 16 else [count])
    send(both.server.session, asked.id, count)
    with pytest.raises(WouldBlock, match=f"{count} items were sent or wait, and no more are granted; .* Writable"):
        both.server.session.respond(asked.id, note(), last=False)
    both.settle()
    assert len(both.client.words()) == count
    with pytest.raises(WouldBlock):
        both.server.session.respond(asked.id, note(), last=False)


def test_the_credit_of_a_request_is_the_limit_unless_it_says_otherwise() -> None:
    both = Both(Limits(stream_credit=2))
    _, asked = both.stream()
    send(both.server.session, asked.id, 2)
    with pytest.raises(WouldBlock):
        send(both.server.session, asked.id, 1)


@pytest.mark.parametrize(("items", "refused"), [(2, False), (3, False), (4, True)])
def test_a_peer_that_sends_more_than_was_granted_ends_the_session(items: int, refused: bool) -> None:
    hostile = Hostile(Direction.FROM_CLIENT)
    hostile.side.request(FEED, note(), credit=3)
    hostile.output()
    envelopes = [envelope(item(at, request_leaf=hostile.leaf(1))) for at in range(items)]
    if refused:
        assert hostile.refused(*envelopes, ack=1) == (Fault.LIMIT_EXCEEDED, "stream.credit")
        return
    hostile.send(*envelopes, ack=1)
    last = envelope(item(items, request_leaf=hostile.leaf(1), last=True))
    hostile.send(last, ack=1)
    assert len(hostile.side.words()) == items + 1, "the last answer needs no credit"


@pytest.mark.parametrize(
    "answer",
    [item(1), item(3), item(0), item(3, last=True), end(1), end(3), item(3, last=True, error=v1.Error(code=5))],
)
def test_items_out_of_order_end_the_session(answer: v1.RatatoskrResponse) -> None:
    """Two have come: the next has index 2, and so has the end."""
    hostile = Hostile(Direction.FROM_CLIENT)
    hostile.side.request(FEED, note())
    hostile.output()
    leaf = hostile.leaf(1)
    hostile.send(*(envelope(item(at, request_leaf=leaf)) for at in range(2)), ack=1)
    answer.request_leaf = leaf
    assert hostile.refused(envelope(answer), ack=1) == (Fault.ANSWER_INVALID, "response.item")


@pytest.mark.parametrize("last", [False, True])
def test_items_and_ends_acknowledge_their_question(last: bool) -> None:
    hostile = Hostile(Direction.FROM_CLIENT)
    id = hostile.side.request(FEED, note())
    hostile.output()
    answer = envelope(item(0, request_leaf=hostile.leaf(1), last=last))
    assert hostile.refused(answer, ack=0) == (Fault.ACK_INVALID, "flight.ack")
    hostile.side.session.end(Fault.ACK_INVALID)
    hostile.side.collect()
    assert [type(each) for each in hostile.side.outcomes(id)] == [RequestFailed]


def test_credit_is_absolute_so_grants_may_be_lost_repeated_and_late() -> None:
    hostile = Hostile()
    session = hostile.side.session
    hostile.send(ASKED, hops=[v1.Hop(index=0, credit=2)])
    asked = hostile.side.take(RequestReceived)
    send(session, asked.id, 2)
    for items, more in [(2, 0), (1, 0), (0, 0), (4, 2), (4, 0), (3, 0), (5, 1), (MAX_CREDIT, 3)]:
        with pytest.raises(WouldBlock):
            session.respond(asked.id, note(), last=False)
        hostile.send(seal=False, controls=[grant(1, items)])
        assert [each.id for each in hostile.side.take_all(Writable)] == ([asked.id] if more else [])
        send(session, asked.id, more)


def test_the_largest_of_several_grants_in_one_flight_counts() -> None:
    hostile = Hostile()
    hostile.send(ASKED, hops=[v1.Hop(index=0, credit=1)], controls=[grant(1, 4), grant(1, 3)])
    asked = hostile.side.take(RequestReceived)
    send(hostile.side.session, asked.id, 4)
    with pytest.raises(WouldBlock):
        send(hostile.side.session, asked.id, 1)


def test_grants_say_how_many_in_all_and_go_out_together() -> None:
    both = Both()
    id, asked = both.stream(credit=2)
    send(both.server.session, asked.id, 1)
    both.settle()
    both.client.session.grant(id, 3)
    both.client.session.grant(id, 4)
    both.settle()
    assert [each for flight in both.client.flights for each in flight.controls] == [grant(1, 9)]
    send(both.server.session, asked.id, 8)
    with pytest.raises(WouldBlock):
        send(both.server.session, asked.id, 1)
    both.settle()
    assert len(both.client.words()) == 9


def test_a_grant_before_the_number_goes_with_the_request() -> None:
    both = Both()
    id = both.client.request(FEED, note(), credit=2)
    both.client.session.grant(id, 3)
    both.settle()
    assert [each.credit for flight in both.client.flights for each in flight.hops] == [5]
    assert not any(flight.controls for flight in both.client.flights)
    send(both.server.session, both.server.take(RequestReceived).id, 5)
    both.settle()
    assert len(both.client.words()) == 5


def test_a_grant_to_a_call_that_is_over_or_unknown_changes_nothing() -> None:
    both = Both()
    _, asked = both.stream()
    both.server.session.respond(asked.id)
    late = both.server.output(both.now)
    assert late is not None
    hostile = Hostile()
    hostile.send(ASKED, envelope(custom(2, b"")))
    hostile.side.session.respond(hostile.side.take(RequestReceived).id)
    hostile.send(seal=False, controls=[grant(1, 50), grant(2, 50)])
    assert not hostile.side.take_all(Writable)


@pytest.mark.parametrize("number", [0, 2, (1 << 64) - 1])
def test_a_grant_names_a_message_that_came(number: int) -> None:
    hostile = Hostile()
    hostile.send(ASKED)
    assert hostile.refused(seal=False, controls=[grant(number, 50)]) == (Fault.FLIGHT_INVALID, "control.number")


# Writable


def test_a_blocked_stream_is_told_of_its_room_and_no_other() -> None:
    both = Both()
    streams = [both.stream(credit=1) for _ in range(3)]
    session = both.server.session
    for _, asked in streams:
        send(session, asked.id, 1)
    for _, asked in streams[:2]:
        with pytest.raises(WouldBlock):
            send(session, asked.id, 1)
    both.settle()
    assert not both.server.take_all(Writable), "room there is, and no credit"
    both.client.session.grant(streams[1][0], 1)
    both.client.session.grant(streams[2][0], 1)
    both.settle()
    assert [each.id for each in both.server.take_all(Writable)] == [streams[1][1].id]
    both.client.session.grant(streams[1][0], 1)
    both.settle()
    assert not both.server.take_all(Writable), "it is said once"


# Misuse


def grant_to(id: RequestId | None, items: int) -> Callable[[Session, RequestId], None]:
    return lambda session, own: session.grant(own if id is None else id, items)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (grant_to(None, 0), "grant 0 items: at least one"),
        (grant_to(None, -1), "grant -1 items: at least one"),
        (grant_to(None, 9), r"11 items would be granted and have not come; Limits.stream_credit_ahead is 10"),
        (grant_to(RequestId(), 1), "is no request of ours"),
        (lambda s, own: s.request(FEED, note(), credit=0), "credit=0; at least one item, and at most"),
        (lambda s, own: s.request(FEED, note(), credit=11), "credit=11; at least one item, and at most .* 10"),
        (lambda s, own: s.request(PLAIN, note(), credit=1), "PLAIN .* is no stream: it has one answer, and no credit"),
    ],
)
def test_misuse_of_credit_changes_nothing(use: Callable[[Session, RequestId], object], message: str) -> None:
    both = Both(Limits(stream_credit=2, stream_credit_ahead=10))
    id, asked = both.stream()
    with pytest.raises(LocalProtocolError, match=message):
        use(both.client.session, id)
    both.client.session.grant(id, 8)
    both.settle()
    send(both.server.session, asked.id, 2)
    both.settle()
    both.client.session.grant(id, 2)
    assert len(both.client.words()) == 2
    assert not both.client.session.fresh


def test_credit_is_granted_to_requests_of_this_session_that_are_streams() -> None:
    both, other = Both(), Both()
    plain, feed = both.client.request(PLAIN, note()), other.client.request(FEED, note())
    with pytest.raises(LocalProtocolError, match=r"PLAIN .* is no stream"):
        both.client.session.grant(plain, 1)
    with pytest.raises(LocalProtocolError, match="belongs to another session"):
        both.client.session.grant(feed, 1)


def test_a_grant_after_the_outcome_is_none() -> None:
    both = Both(Limits(stream_credit=2, stream_credit_ahead=3))
    id, asked = both.stream()
    both.server.session.respond(asked.id)
    both.settle()
    for _ in range(10):
        both.client.session.grant(id, 1)
    both.settle()
    assert not any(flight.controls for flight in both.client.flights)
    with pytest.raises(LocalProtocolError, match="at least one"):
        both.client.session.grant(id, 0)


@pytest.mark.parametrize(("more", "allowed"), [(-1, True), (0, True), (1, False)])
@pytest.mark.parametrize("came", [0, 3])
def test_so_many_items_may_be_granted_and_not_have_come(came: int, more: int, allowed: bool) -> None:
    """Each that comes makes room for another."""
    both = Both(Limits(stream_credit_ahead=20))
    id, asked = both.stream(credit=5)
    send(both.server.session, asked.id, came)
    both.settle()
    if allowed:
        both.client.session.grant(id, 15 + came + more)
        return
    with pytest.raises(LocalProtocolError, match="21 items would be granted"):
        both.client.session.grant(id, 15 + came + more)
    both.client.session.grant(id, 15 + came)
