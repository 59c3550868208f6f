"""Misuse raises LocalProtocolError, says what to do, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.connection import Connection, State
from ratatoskr.errors import Failure, LocalProtocolError, Status, WouldBlock
from ratatoskr.events import RequestFailed, RequestId, RequestReceived, Wait, Writable
from ratatoskr.limits import Limits
from ratatoskr.messages import Kind
from ratatoskr.messages.standard import MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE, STANDARD_KINDS
from tests.attacks.hostile import CLIENT, SERVER_SIDE, HostilePeer, make_victim
from tests.attacks.situations import SITUATIONS, bring
from tests.unit.messages.support import envelope, search

KEYED = Kind(1000, 1, "KEYED", v1.Search, v1.SearchResult, once=True)
NO = Failure(Status.PERMISSION_DENIED, "NO", "not you")
KINDS = STANDARD_KINDS | [KEYED]

Use = Callable[[Connection], object]


def request(kind: Any = MARKETPLACE_SEARCH, message: Any = None, **arguments: Any) -> Use:
    return lambda connection: connection.request(kind, v1.Search() if message is None else message, **arguments)


REQUESTS = {
    "another message": (request(message=v1.SearchResult()), "takes a Search; this is a SearchResult"),
    "a kind that nobody knows": (
        request(Kind(2000, 1, "LOST", v1.Search, v1.SearchResult)),
        r"Config\(kinds=STANDARD_KINDS \| \[LOST\]\)",
    ),
    "a payment without its key": (request(PAYMENT_AUTHORIZE, v1.AuthorizePayment()), "set end_to_end_id"),
    "a payment with two keys": (
        request(PAYMENT_AUTHORIZE, v1.AuthorizePayment(end_to_end_id="A"), key="B"),
        "leave key= out",
    ),
    "once without a key": (request(KEYED), "pass key="),
    "no time": (request(timeout=0.0), "above 0"),
    "negative time": (request(timeout=-1.0), "above 0"),
    "time that is no number": (request(timeout=nan), "above 0"),
    "time without end": (request(timeout=inf), "at most a day"),
    "a day and a bit": (request(timeout=86_400.1), "at most a day"),
    "expiry before the epoch": (request(expires_at=-1.0), "seconds since the epoch"),
    "expiry that is no number": (request(expires_at=nan), "seconds since the epoch"),
    "no expiry ever": (request(expires_at=inf), "seconds since the epoch"),
    "expiry past all fields": (request(expires_at=1e300), "seconds since the epoch"),
    "metadata with a strange name": (request(metadata={"Ä": "1"}), "use 1 to 64"),
    "metadata without a name": (request(metadata={"": "1"}), "use 1 to 64"),
    "metadata that is no text": (request(metadata={"a": "\ud800"}), "no UTF-8"),
    "metadata too long": (request(metadata={"a": "x" * 1025}), "at most 1024"),
    "too many metadata": (request(metadata={str(n): "" for n in range(33)}), "33 entries"),
    "too much metadata": (request(metadata={str(n): "x" * 1000 for n in range(9)}), "the limits are"),
    "a message too long": (request(message=v1.Search(page_token=bytes(250_000))), "envelope_bytes"),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize(("side", "state"), [(CLIENT, State.READY), (CLIENT, State.OPEN), (SERVER_SIDE, State.OPEN)])
def test_a_request_that_cannot_be_made(name: str, side: str, state: State) -> None:
    use, advice = REQUESTS[name]
    peer = bring(side, state, kinds=KINDS)
    victim = peer.victim
    before = (victim.connection.state, victim.wait.until, len(victim.events))
    with pytest.raises(LocalProtocolError, match=advice):
        use(victim.connection)
    if state is State.OPEN:
        peer.hear()
        victim.drain()
        assert (victim.connection.state, victim.wait.until, len(victim.events)) == before
        assert peer.hear() == []
    assert isinstance(request()(victim.connection), RequestId)


def test_a_key_that_is_no_text_is_misuse() -> None:
    victim = bring(CLIENT, State.OPEN, kinds=KINDS).victim
    with pytest.raises(LocalProtocolError, match="UTF-8"):
        victim.connection.request(KEYED, v1.Search(), key="\ud800")


@pytest.mark.parametrize("decide", [lambda c: c.accept(), lambda c: c.reject(NO)], ids=["accept", "reject"])
@pytest.mark.parametrize(("side", "state"), SITUATIONS)
def test_only_a_connection_request_is_decided(side: str, state: State, decide: Use) -> None:
    """In the last two states the decision has lost a race, and is dropped."""
    victim = bring(side, state).victim
    before = len(victim.events)
    if state is State.DECIDING:
        decide(victim.connection)
        with pytest.raises(LocalProtocolError, match="once"):
            decide(victim.connection)
    elif state in (State.CLOSING, State.CLOSED):
        decide(victim.connection)
        victim.drain()
        assert len(victim.events) == before
    else:
        with pytest.raises(LocalProtocolError, match="answers ConnectionRequested"):
            decide(victim.connection)
        victim.drain()
        assert len(victim.events) == before


def test_a_decision_stands() -> None:
    victim = bring(SERVER_SIDE, State.DECIDING).victim
    victim.connection.accept()
    with pytest.raises(LocalProtocolError):
        victim.connection.reject(NO)
    victim.drain()
    with pytest.raises(LocalProtocolError):
        victim.connection.accept()
    assert victim.connection.state is State.OPEN


def test_no_request_after_closed() -> None:
    victim = bring(CLIENT, State.CLOSED).victim
    with pytest.raises(LocalProtocolError, match="make a new one"):
        request()(victim.connection)
    assert isinstance(victim.connection.poll(victim.clock.now), Wait)


def test_a_request_that_races_the_end_has_an_outcome() -> None:
    """The end of the transport is known inside, and Closed has not come yet: that is no misuse."""
    victim = bring(CLIENT, State.OPEN).victim
    connection, now = victim.connection, victim.clock.now
    connection.receive_eof()
    first = connection.poll(now)
    assert isinstance(first, RequestFailed)
    late = [connection.request(MARKETPLACE_SEARCH, v1.Search()) for _ in range(2)]
    events = [connection.poll(now) for _ in range(4)]
    assert [event.id for event in events[1:3] if isinstance(event, RequestFailed)] == late
    assert type(events[3]).__name__ == "Closed"


def answerable(peer: HostilePeer) -> RequestId:
    victim = peer.say(peer.flight(envelope(search())))
    return victim.seen(RequestReceived)[-1].id


def test_an_answer_of_another_class() -> None:
    peer = HostilePeer(CLIENT).open()
    id = answerable(peer)
    with pytest.raises(LocalProtocolError, match="answered by a SearchResult; this is a Search"):
        peer.victim.connection.respond(id, v1.Search())
    peer.victim.connection.respond(id, v1.SearchResult())


def test_an_answer_too_long_may_be_given_shorter() -> None:
    peer = HostilePeer(CLIENT).open()
    id = answerable(peer)
    with pytest.raises(LocalProtocolError, match="envelope_bytes"):
        peer.victim.connection.respond(id, v1.SearchResult(next_page_token=bytes(250_000)))
    peer.victim.connection.respond(id, v1.SearchResult())
    peer.victim.drain()
    assert len([flight for flight in peer.hear() if flight.envelopes]) == 1


@pytest.mark.parametrize("again", [lambda c, id: c.respond(id, v1.SearchResult()), lambda c, id: c.fail(id, NO)])
def test_an_answer_is_given_once(again: Callable[[Connection, RequestId], None]) -> None:
    peer = HostilePeer(CLIENT).open()
    id = answerable(peer)
    peer.victim.connection.respond(id, v1.SearchResult())
    with pytest.raises(LocalProtocolError, match="once"):
        again(peer.victim.connection, id)
    peer.victim.drain()
    assert sum(len(flight.envelopes) for flight in peer.hear()) == 1


def test_only_requests_of_the_peer_are_answered() -> None:
    peer = HostilePeer(CLIENT).open()
    own = peer.victim.connection.request(MARKETPLACE_SEARCH, v1.Search())
    for id in (own, RequestId()):
        with pytest.raises(LocalProtocolError, match="RequestReceived"):
            peer.victim.connection.respond(id, v1.SearchResult())
        with pytest.raises(LocalProtocolError, match="RequestReceived"):
            peer.victim.connection.fail(id, NO)


def test_a_request_is_answered_where_it_came_from() -> None:
    id = answerable(HostilePeer(CLIENT).open())
    other = HostilePeer(CLIENT).open()
    with pytest.raises(LocalProtocolError, match="another session"):
        other.victim.connection.respond(id, v1.SearchResult())


def test_an_answer_after_the_end_is_dropped() -> None:
    peer = HostilePeer(CLIENT).open()
    id = answerable(peer)
    peer.victim.eof()
    peer.victim.connection.respond(id, v1.SearchResult())
    peer.victim.drain()
    assert peer.victim.written() == b""


def test_a_full_queue_says_when_to_come_back() -> None:
    peer = HostilePeer(make_victim(CLIENT, limits=Limits(requests_queued=4, requests_open=1))).open()
    victim = peer.victim
    for _ in range(4):
        request()(victim.connection)
    with pytest.raises(WouldBlock, match="Writable"):
        request()(victim.connection)
    victim.drain()
    assert not victim.seen(Writable)
    assert isinstance(victim.connection.request(MARKETPLACE_SEARCH, v1.Search(), timeout=5.0), RequestId)
    with pytest.raises(WouldBlock):
        request()(victim.connection)
    victim.advance(31.0)
    assert len(victim.seen(Writable)) == 1
    assert isinstance(request()(victim.connection), RequestId)


def test_a_client_needs_a_name_that_can_be_one() -> None:
    with pytest.raises(LocalProtocolError, match="server name"):
        Connection.client(make_victim(CLIENT).connection._config, server_name="ÿ")
