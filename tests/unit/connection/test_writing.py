"""Transmit is on loan until sent(): flights are made when they are asked for, so batching comes by itself."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.connection import State
from ratatoskr.errors import Fault
from ratatoskr.events import RequestFailed, RequestReceived, ResponseReceived, Transmit, Wait
from ratatoskr.limits import Limits
from ratatoskr.messages.standard import MARKETPLACE_SEARCH
from ratatoskr.timers import Timer
from tests.attacks.hostile import CLIENT, SERVER_SIDE, SIDES, HostilePeer
from tests.attacks.situations import SITUATIONS, bring
from tests.unit.messages.support import envelope, found, payment, search

EPSILON = 1 / 1024


def ask(peer: HostilePeer, count: int = 1) -> None:
    for _ in range(count):
        peer.victim.connection.request(MARKETPLACE_SEARCH, v1.Search(query="lamp"))


def test_while_a_write_is_under_way_the_next_flight_fills() -> None:
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    victim.holds_writes = True
    for _ in range(10):
        ask(peer)
        victim.drain()
    assert [len(flight.envelopes) for flight in peer.hear()] == [1]
    victim.sent()
    victim.drain()
    assert [len(flight.envelopes) for flight in peer.hear()] == [9]


def test_events_and_timers_go_on_while_a_write_is_under_way() -> None:
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    victim.holds_writes = True
    ask(peer)
    victim.connection.request(MARKETPLACE_SEARCH, v1.Search(), timeout=2.0)
    victim.drain()
    peer.say(peer.flight(envelope(search())))
    assert victim.seen(RequestReceived)
    victim.advance(2.0)
    assert len(victim.seen(RequestFailed)) == 1


def test_one_transmit_for_each_poll_that_wants_one() -> None:
    peer = HostilePeer(CLIENT).open()
    connection, now = peer.victim.connection, peer.victim.clock.now
    ask(peer)
    assert isinstance(connection.poll(now), Transmit)
    ask(peer)
    assert isinstance(connection.poll(now), Wait)
    connection.sent()
    assert isinstance(connection.poll(now), Transmit)
    assert isinstance(connection.poll(now), Wait)


@pytest.mark.parametrize(("side", "state"), SITUATIONS)
def test_a_stray_sent_changes_nothing(side: str, state: State) -> None:
    victim = bring(side, state).victim
    if state is State.CLOSING:
        return  # its write is on loan: this sent() is no stray one
    before, wait = len(victim.events), victim.wait.until
    victim.connection.sent()
    victim.connection.sent()
    victim.drain()
    assert len(victim.events) == before
    assert victim.connection.state is (State.GREETED if state is State.READY else state)
    if state is not State.READY:
        assert victim.wait.until == wait


@pytest.mark.parametrize("side", SIDES)
def test_output_that_is_not_taken_ends_the_connection(side: str) -> None:
    """Nothing that is unwritten is waited for: the transport is stuck."""
    peer = HostilePeer(side).open()
    victim = peer.victim
    victim.advance(7.0)
    victim.holds_writes = True
    victim.connection.request(MARKETPLACE_SEARCH, v1.Search(), timeout=3600.0)
    victim.drain()
    for _ in range(3):  # the peer lives and talks
        victim.advance(9.0)
        peer.say(peer.flight(controls=[v1.Control(pong=v1.Pong())]))
    victim.advance(3.0 - EPSILON)
    assert victim.verdict() is None
    victim.advance(EPSILON)
    assert victim.verdict() == (Fault.WRITE_STALLED, "timer.write")
    (disconnect,) = victim.disconnects
    assert disconnect.abort


def test_each_write_has_its_own_time() -> None:
    """A deadline that an earlier write set is not the later one's."""
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    ask(peer)
    victim.drain()
    victim.advance(20.0)
    victim.holds_writes = True
    ask(peer)
    victim.drain()
    victim.advance(20.0)
    assert victim.verdict() is None
    victim.sent()
    victim.drain()
    victim.advance(4.0)
    assert victim.verdict() is None


def test_a_stalled_handshake_ends_by_its_own_deadline_first() -> None:
    victim = bring(SERVER_SIDE, State.LISTENING).victim
    victim.holds_writes = True
    victim.advance(10.0)
    assert victim.connection.state is State.CLOSING
    assert victim.written()[:1] == b"\x1f"
    victim.advance(5.0)
    assert victim.verdict() == (Fault.HANDSHAKE_TIMEOUT, "timer.handshake")


def test_one_signature_pays_for_all_that_was_read_together() -> None:
    """Sixteen payments in sixteen records, read at once: sixteen answers in one flight under one seal."""
    peer = HostilePeer(SERVER_SIDE).open()
    victim = peer.victim
    stream = b"".join(peer.record(peer.flight(envelope(payment(f"ORDER-{n}"))).SerializeToString()) for n in range(16))
    peer.hear()
    victim.connection.receive(stream)
    while isinstance(output := victim.connection.poll(victim.clock.now), RequestReceived):
        victim.events.append(output)
    assert isinstance(output, Wait), "it spoke before it was answered"
    for request in victim.seen(RequestReceived):
        victim.connection.respond(request.id, v1.PaymentAuthorized())
    victim.drain()
    (flight,) = peer.hear()
    assert len(flight.envelopes) == 16
    assert flight.HasField("seal")


def test_one_event_for_each_poll_and_the_state_matches_it() -> None:
    peer = HostilePeer(SERVER_SIDE)
    peer.begin()
    peer.request()
    connection, now = peer.victim.connection, peer.victim.clock.now
    connection.accept()
    seen = [(connection.state.name, "")]
    for _ in range(2):
        output = connection.poll(now)
        seen.append((connection.state.name, type(output).__name__))
    assert seen == [("DECIDING", ""), ("OPEN", "Opened"), ("OPEN", "Transmit")]
    assert len(connection.session_id) == 32


def test_an_acknowledgement_travels_alone_after_its_delay() -> None:
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    peer.say(peer.flight(envelope(search())))
    assert victim.wait.timer is Timer.ACK
    victim.advance(Limits().ack_delay - EPSILON)
    assert peer.hear() == []
    victim.advance(EPSILON)
    (flight,) = peer.hear()
    assert flight.ack == 1
    assert not flight.HasField("seal")


def test_an_acknowledgement_rides_on_what_is_said_anyway() -> None:
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    peer.say(peer.flight(envelope(search())))
    ask(peer)
    victim.drain()
    (flight,) = peer.hear()
    assert flight.ack == 1
    victim.advance(0.1)
    assert peer.hear() == []


def test_a_number_is_acknowledged_when_its_event_was_taken() -> None:
    peer = HostilePeer(CLIENT).open()
    connection, clock = peer.victim.connection, peer.victim.clock
    connection.receive(peer.record(peer.flight(envelope(search()), envelope(search())).SerializeToString()))
    assert isinstance(connection.poll(clock.now), RequestReceived)
    assert connection._session._inbox.delivered == 1
    assert isinstance(connection.poll(clock.now), RequestReceived)
    assert connection._session._inbox.delivered == 2


@pytest.mark.parametrize("side", SIDES)
def test_a_long_session_changes_its_keys(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The channel says when; the connection carries on through it, both ways."""
    monkeypatch.setattr("ratatoskr.channel.records.RECORDS_PER_KEY", 4)
    peer = HostilePeer(side).open()
    for _ in range(20):
        ask(peer)
        peer.victim.drain()
        peer.say(peer.flight(envelope(search()), ack=peer.heard()))
    assert peer.victim.connection.state is State.OPEN
    assert len(peer.victim.seen(RequestReceived)) == 20


def test_an_answer_that_waits_in_the_buffer_is_in_time() -> None:
    """The driver comes late, with the answer and its deadline at once: it reads first."""
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    victim.connection.request(MARKETPLACE_SEARCH, v1.Search(), timeout=5.0)
    victim.drain()
    peer.hear()
    answer = envelope(found(request_number=1, request_leaf=peer.leaves[1]))
    victim.connection.receive(peer.record(peer.flight(answer, ack=1).SerializeToString()))
    victim.clock.advance(5.0)
    victim.drain()
    assert len(victim.seen(ResponseReceived)) == 1
    assert not victim.seen(RequestFailed)


def test_the_rest_of_a_record_that_waits_in_the_buffer_is_in_time() -> None:
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    record = peer.record(peer.flight(envelope(search())).SerializeToString())
    victim.feed(record[:9])
    victim.connection.receive(record[9:])
    victim.clock.advance(Limits().record_timeout)
    victim.drain()
    assert len(victim.seen(RequestReceived)) == 1
    assert victim.verdict() is None
