"""Heartbeat, liveness and round trips: any byte proves life, a quiet line is pinged, a silent one is given up."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.connection import State
from ratatoskr.errors import Fault
from ratatoskr.events import Stalled
from ratatoskr.limits import Limits
from ratatoskr.testing import Pair
from ratatoskr.timers import Timer
from tests.attacks.hostile import AUTHORITY, CLIENT, DEVICE, SERVER, SIDES, HostilePeer, make_victim
from tests.attacks.victim import Victim
from tests.unit.connection.support import EPSILON, INTERVAL, LATE, PING, TIMEOUT, asked, pong, said


@pytest.mark.parametrize("side", SIDES)
def test_a_quiet_line_is_pinged_every_interval(side: str) -> None:
    peer = HostilePeer(side).open()
    peer.victim.advance(INTERVAL - EPSILON)
    assert said(peer) == []
    peer.victim.advance(EPSILON)
    assert said(peer) == ["ping"]
    peer.victim.advance(INTERVAL)
    assert said(peer) == ["ping"]


@pytest.mark.parametrize("side", SIDES)
def test_a_silent_peer_is_given_up_without_waiting_for_what_is_unwritten(side: str) -> None:
    peer = HostilePeer(side).open()
    victim = peer.victim
    victim.advance(TIMEOUT - EPSILON)
    assert victim.verdict() is None
    victim.advance(EPSILON)
    assert victim.verdict() == (Fault.PEER_SILENT, "liveness")
    (disconnect,) = victim.disconnects
    assert disconnect.abort


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("interval", [1.0, 14.0, 16.0])
def test_the_limits_set_both_times(side: str, interval: float) -> None:
    """A byte at 0.5 s puts both off; nothing else does."""
    peer = HostilePeer(make_victim(side, limits=Limits(heartbeat_interval=interval, liveness_timeout=20.0))).open()
    victim = peer.victim
    victim.advance(0.5)
    pong(peer)
    victim.advance(interval - EPSILON)
    assert said(peer) == []
    victim.advance(EPSILON)
    assert said(peer) == ["ping"]
    victim.advance(20.0 - interval - EPSILON)
    assert victim.verdict() is None
    victim.advance(EPSILON)
    assert victim.verdict() == (Fault.PEER_SILENT, "liveness")
    assert victim.clock.now.mono == 20.5
    assert victim.seen(Stalled) == []


def test_any_byte_proves_life() -> None:
    """One byte of a record that never ends will do: it is another timer's business that it ends."""
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    victim.advance(TIMEOUT - EPSILON)
    said(peer)
    victim.feed(peer.record(peer.flight().SerializeToString())[:1])
    victim.advance(INTERVAL - EPSILON)
    assert said(peer) == []
    assert victim.verdict() is None
    victim.advance(EPSILON)
    assert said(peer) == ["ping"]


def test_no_bytes_prove_no_life() -> None:
    """Some transports deliver empty messages."""
    victim = HostilePeer(CLIENT).open().victim
    victim.advance(TIMEOUT - EPSILON)
    victim.connection.receive(b"")
    victim.drain()
    victim.advance(EPSILON)
    assert victim.verdict() == (Fault.PEER_SILENT, "liveness")


def test_a_byte_between_two_heartbeats_moves_the_next_one() -> None:
    peer = HostilePeer(CLIENT).open()
    peer.victim.advance(10.0)
    pong(peer)
    peer.victim.advance(INTERVAL - EPSILON)
    assert said(peer) == []
    peer.victim.advance(EPSILON)
    assert said(peer) == ["ping"]


@pytest.mark.parametrize("side", SIDES)
def test_a_ping_is_answered_once_for_all_that_came_together(side: str) -> None:
    peer = HostilePeer(side).open()
    peer.say(peer.flight(controls=[v1.Control(ping=v1.Ping(token=token)) for token in (1, 2, 3)]))
    (flight,) = peer.hear()
    (control,) = flight.controls
    assert control.pong.token == 3


@pytest.mark.parametrize("side", SIDES)
def test_pings_of_several_flights_that_are_read_together_are_answered_once(side: str) -> None:
    peer = HostilePeer(side).open()
    flights = [peer.flight(controls=[v1.Control(ping=v1.Ping(token=token))]) for token in (1, 2, 3)]
    peer.victim.feed(b"".join(peer.record(flight.SerializeToString()) for flight in flights))
    (flight,) = peer.hear()
    (control,) = flight.controls
    assert control.pong.token == 3


def test_a_pong_and_a_ping_go_together() -> None:
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    victim.holds_writes = True
    peer.say(peer.flight(controls=[PING]))
    victim.advance(INTERVAL)
    peer.say(peer.flight(controls=[v1.Control(ping=v1.Ping(token=2))]))
    victim.holds_writes = False
    victim.sent()
    victim.drain()
    assert said(peer) == ["pong", "ping", "pong"]


def test_two_honest_ends_stay_together_for_a_day() -> None:
    pair = Pair(client=AUTHORITY.client_config(DEVICE), server=AUTHORITY.server_config(identity=SERVER))
    pair.open()
    pair.run(seconds=24 * 3600.0)
    assert pair.client.events == []
    assert pair.server.events == []
    assert pair.client.connection.state is State.OPEN


def test_what_waits_in_the_buffer_is_read_before_the_timer_is_heard() -> None:
    """The driver wakes late, with bytes and the deadline at once."""
    peer = HostilePeer(CLIENT).open()
    victim: Victim = peer.victim
    victim.clock.advance(TIMEOUT)
    victim.connection.receive(peer.record(peer.flight(controls=[PING]).SerializeToString()))
    victim.drain()
    assert victim.verdict() is None
    assert victim.connection._timers.get(Timer.LIVENESS) == 2 * TIMEOUT


# Round trips


def test_the_handshake_gives_the_first_round_trip_and_each_ping_the_next() -> None:
    pair = Pair(client=AUTHORITY.client_config(DEVICE), server=AUTHORITY.server_config(identity=SERVER), latency=0.125)
    ends = [pair.client.connection, pair.server.connection]
    assert [end.round_trip for end in ends] == [None, None]
    pair.open()
    assert [end.round_trip for end in ends] == [0.25, 0.25]
    pair.client.link.latency = 0.25
    pair.run(seconds=INTERVAL - 1.0)
    assert [end.round_trip for end in ends] == [0.25, 0.25]
    pair.run(seconds=2.0)
    assert [end.round_trip for end in ends] == [0.375, 0.375]


@pytest.mark.parametrize("side", SIDES)
def test_a_round_trip_begins_when_the_ping_is_handed_out(side: str) -> None:
    """Not when it was decided upon: a write was under way."""
    peer = HostilePeer(side).open()
    victim = peer.victim
    victim.holds_writes = True
    peer.say(peer.flight(controls=[PING]))
    victim.advance(INTERVAL + 2.0)
    assert asked(peer) == []
    victim.sent()
    victim.drain()
    (token,) = asked(peer)
    victim.advance(0.5)
    pong(peer, token)
    assert victim.connection.round_trip == 0.5


@pytest.mark.parametrize("side", SIDES)
def test_a_peer_invents_no_round_trip(side: str) -> None:
    peer = HostilePeer(side).open()
    victim = peer.victim
    for token in range(-1, 3):  # before there is a ping
        victim.advance(0.5)
        pong(peer, token % (1 << 64))
    assert victim.connection.round_trip == 0.0  # the handshake's
    victim.advance(INTERVAL)
    (token,) = asked(peer)
    victim.advance(0.25)
    for other in (0, 1, token - 1, token + 1):
        pong(peer, other)
    peer.say(peer.flight(controls=[v1.Control(ping=v1.Ping(token=token))]))
    assert victim.connection.round_trip == 0.0
    victim.advance(0.25)
    pong(peer, token)
    assert victim.connection.round_trip == 0.5
    victim.advance(1.0)
    pong(peer, token)  # again
    assert victim.connection.round_trip == 0.5


def test_no_token_is_guessed_from_those_before() -> None:
    peer = HostilePeer(CLIENT).open()
    peer.victim.advance(2 * INTERVAL)
    first, second = asked(peer)
    assert abs(second - first) > 1 << 32
    assert min(first, second) > 1 << 32


def test_the_last_ping_alone_is_outstanding() -> None:
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    victim.advance(2 * INTERVAL)
    first, second = asked(peer)
    victim.advance(1.0)
    pong(peer, first)
    assert victim.connection.round_trip == 0.0
    pong(peer, second)
    assert victim.connection.round_trip == 1.0


@pytest.mark.parametrize(("late", "measured"), [(LATE, INTERVAL + LATE), (LATE + EPSILON, 0.0)])
def test_what_a_stall_ran_into_is_no_round_trip(late: float, measured: float) -> None:
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    victim.advance(INTERVAL)
    (token,) = asked(peer)
    victim.clock.advance(INTERVAL + late)
    pong(peer, token)
    assert victim.connection.round_trip == measured


def test_a_handshake_that_a_stall_ran_into_gives_none() -> None:
    peer = HostilePeer(CLIENT)
    second = peer.m2()
    peer.victim.clock.advance(3600.0)
    peer.victim.feed(second)
    peer.answer()
    assert peer.victim.connection.state is State.OPEN
    assert peer.victim.connection.round_trip is None
