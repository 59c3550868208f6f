"""Every state's deadline, and every other timer of the connection: not a moment before, and then by name."""

from __future__ import annotations

import pytest

from ratatoskr.connection import State
from ratatoskr.connection.states import DEADLINES
from ratatoskr.errors import Fault
from ratatoskr.events import Closed
from ratatoskr.limits import Limits
from ratatoskr.testing import Clock, Pair
from ratatoskr.timers import Timer
from tests.attacks.hostile import AUTHORITY, CLIENT, DEVICE, SERVER, SERVER_SIDE, HostilePeer
from tests.attacks.situations import bring

EPSILON = 1 / 1024
LIMITS = Limits(
    handshake_timeout=10.0,
    accept_timeout=7.0,
    liveness_timeout=45.0,
    heartbeat_interval=15.0,
    drain_timeout=20.0,
    close_timeout=5.0,
    request_timeout=3600.0,
)

STATES = [
    (CLIENT, State.GREETED, Timer.HANDSHAKE, 10.0, Fault.HANDSHAKE_TIMEOUT),
    (CLIENT, State.REQUESTED, Timer.ACCEPT, 7.0 + 10.0, Fault.ACCEPT_TIMEOUT),
    (CLIENT, State.OPEN, Timer.LIVENESS, 45.0, Fault.PEER_SILENT),
    (CLIENT, State.DRAINING, Timer.DRAIN, 20.0, Fault.DRAIN_TIMEOUT),
    (SERVER_SIDE, State.LISTENING, Timer.HANDSHAKE, 10.0, Fault.HANDSHAKE_TIMEOUT),
    (SERVER_SIDE, State.CHALLENGED, Timer.HANDSHAKE, 10.0, Fault.HANDSHAKE_TIMEOUT),
    (SERVER_SIDE, State.DECIDING, Timer.ACCEPT, 7.0, Fault.ACCEPT_TIMEOUT),
    (SERVER_SIDE, State.OPEN, Timer.LIVENESS, 45.0, Fault.PEER_SILENT),
    (SERVER_SIDE, State.DRAINING, Timer.DRAIN, 20.0, Fault.DRAIN_TIMEOUT),
]


@pytest.mark.parametrize(("side", "state", "timer", "seconds", "fault"), STATES)
def test_a_silent_peer_holds_no_state_for_ever(
    side: str, state: State, timer: Timer, seconds: float, fault: Fault
) -> None:
    assert DEADLINES[state] is timer
    victim = bring(side, state, limits=LIMITS).victim
    victim.advance(seconds - EPSILON)
    assert victim.connection.state is state
    assert timer in victim.connection._timers
    victim.advance(EPSILON)
    closed = victim.closed
    assert closed is not None
    assert closed.fault is fault
    assert closed.rule in (f"timer.{timer.name.lower()}", "liveness")


def test_the_table_covers_all_states() -> None:
    assert {state for _, state, *_ in STATES} == set(DEADLINES) - {State.CLOSING}


def test_a_transport_that_does_not_end_is_cut() -> None:
    """CLOSING waits for the last write and for the end, five seconds in all."""
    victim = bring(CLIENT, State.CLOSING, limits=LIMITS).victim
    assert victim.wait.timer is Timer.CLOSE
    victim.advance(5.0 - EPSILON)
    assert victim.connection.state is State.CLOSING
    assert not victim.disconnects
    victim.advance(EPSILON)
    (disconnect,) = victim.disconnects
    assert disconnect.abort
    assert disconnect.code == Fault.RECORD_MALFORMED.code
    assert isinstance(victim.events[-1], Closed)
    assert victim.events[-1].fault is Fault.RECORD_MALFORMED


def test_the_handshake_has_one_deadline_for_all_its_messages() -> None:
    """A first message at the last moment does not buy time for the third."""
    peer = HostilePeer(SERVER_SIDE)
    peer.victim.advance(9.0)
    peer.begin()
    assert peer.victim.connection.state is State.CHALLENGED
    peer.victim.advance(1.0 - EPSILON)
    assert peer.victim.verdict() is None
    peer.victim.advance(EPSILON)
    assert peer.victim.verdict() == (Fault.HANDSHAKE_TIMEOUT, "timer.handshake")


def test_a_client_waits_no_longer_than_the_server_says() -> None:
    """Its own accept timeout is a minute, the server announced ten seconds; the way back has its own time."""
    peer = bring(CLIENT, State.REQUESTED, limits=Limits(accept_timeout=60.0))
    peer.victim.advance(20.0 - EPSILON)
    assert peer.victim.verdict() is None
    peer.victim.advance(EPSILON)
    assert peer.victim.verdict() == (Fault.ACCEPT_TIMEOUT, "timer.accept")


@pytest.mark.parametrize("size", [1, 3, 4, 5, 99], ids="{} bytes".format)
def test_a_record_that_begins_ends_in_time(size: int) -> None:
    """Slow loris: bytes that come one by one put nothing off. Liveness is no help to it either."""
    victim = bring(SERVER_SIDE, State.OPEN, limits=LIMITS).victim
    record = b"\x10\0\1\0" + bytes(256)
    victim.feed(record[:size])
    for at in range(size, size + 10):
        victim.advance(2.75)
        victim.feed(record[at : at + 1])
    victim.advance(2.5 - EPSILON)
    assert victim.verdict() is None
    victim.advance(EPSILON)
    assert victim.verdict() == (Fault.RECORD_STALLED, "timer.record")


def test_each_record_has_its_own_time() -> None:
    """The end of one record and the beginning of the next in one chunk: the clock starts anew."""
    peer = HostilePeer(SERVER_SIDE).open()
    first, second = (peer.record(peer.flight(ack=0).SerializeToString()) for _ in range(2))
    victim = peer.victim
    victim.feed(first[:10])
    victim.advance(29.0)
    victim.feed(first[10:] + second[:10])
    victim.advance(30 - EPSILON)
    assert victim.verdict() is None
    victim.feed(second[10:])
    victim.advance(1.0)
    assert victim.verdict() is None


def test_a_clock_before_the_epoch_raises_nothing() -> None:
    """A battery is empty, or an administrator was clumsy: certificates are judged, and that is all."""
    clock = Clock(wall=-5.0)
    pair = Pair(client=AUTHORITY.client_config(DEVICE), server=AUTHORITY.server_config(identity=SERVER), clock=clock)
    pair.run(seconds=1)
    closed = pair.client.closed
    assert closed is not None
    assert closed.rule == "certificate.not_yet_valid"
