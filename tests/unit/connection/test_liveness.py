"""Heartbeat and liveness: any byte proves life, a quiet line is pinged, a silent one is given up."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.connection import State
from ratatoskr.errors import Fault
from ratatoskr.limits import Limits
from ratatoskr.testing import Pair
from ratatoskr.timers import Timer
from tests.attacks.hostile import AUTHORITY, CLIENT, DEVICE, SERVER, SIDES, HostilePeer
from tests.attacks.victim import Victim

EPSILON = 1 / 1024
INTERVAL, TIMEOUT = Limits().heartbeat_interval, Limits().liveness_timeout


def said(peer: HostilePeer) -> list[str | None]:
    """The controls of the victim since the last call."""
    return [control.WhichOneof("control") for flight in peer.hear() for control in flight.controls]


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
    peer.say(peer.flight(controls=[v1.Control(pong=v1.Pong(token=1))]))
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


def test_pings_have_tokens_of_their_own() -> None:
    peer = HostilePeer(CLIENT).open()
    peer.victim.advance(2 * INTERVAL)
    tokens = [control.ping.token for flight in peer.hear() for control in flight.controls]
    assert len(set(tokens)) == 2


def test_a_pong_and_a_ping_go_together() -> None:
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    victim.holds_writes = True
    peer.say(peer.flight(controls=[v1.Control(ping=v1.Ping(token=1))]))
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


@pytest.mark.parametrize("slept", [TIMEOUT + INTERVAL, 3600.0, 10 * 24 * 3600.0])
def test_our_own_sleep_is_no_silence_of_the_peers(slept: float) -> None:
    """A laptop was closed. Nobody polled, so nobody listened: the peer gets a heartbeat's time, and is pinged."""
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    victim.clock.advance(slept)
    victim.drain()
    assert victim.verdict() is None
    assert said(peer) == ["ping"]
    peer.say(peer.flight(controls=[v1.Control(pong=v1.Pong(token=1))]))
    victim.advance(INTERVAL)
    assert victim.verdict() is None


def test_after_our_own_sleep_a_dead_peer_is_still_given_up() -> None:
    victim = HostilePeer(CLIENT).open().victim
    victim.clock.advance(3600.0)
    victim.drain()
    victim.advance(INTERVAL - EPSILON)
    assert victim.verdict() is None
    victim.advance(EPSILON)
    assert victim.verdict() == (Fault.PEER_SILENT, "liveness")


def test_a_sleep_that_begins_with_a_ping_on_its_way_is_excused() -> None:
    """The deadline of liveness alone comes late: the ping before it was answered into a buffer that nobody read."""
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    victim.advance(TIMEOUT - INTERVAL)
    victim.clock.advance(INTERVAL * 2)
    victim.drain()
    assert victim.verdict() is None


def test_a_driver_that_is_a_little_late_excuses_nobody() -> None:
    victim = HostilePeer(CLIENT).open().victim
    while victim.verdict() is None:
        assert victim.clock.now.mono < 2 * TIMEOUT
        victim.clock.advance(victim.wait.until - victim.clock.now.mono + 0.5)
        victim.drain()
    assert victim.verdict() == (Fault.PEER_SILENT, "liveness")
    assert victim.clock.now.mono == TIMEOUT + 0.5


def test_what_waits_in_the_buffer_is_read_before_the_timer_is_heard() -> None:
    """The driver wakes late, with the answer and the deadline at once."""
    peer = HostilePeer(CLIENT).open()
    victim: Victim = peer.victim
    victim.clock.advance(TIMEOUT)
    victim.connection.receive(
        peer.record(peer.flight(controls=[v1.Control(pong=v1.Pong(token=1))]).SerializeToString())
    )
    victim.drain()
    assert victim.verdict() is None
    assert victim.connection._timers.get(Timer.LIVENESS) == 2 * TIMEOUT
