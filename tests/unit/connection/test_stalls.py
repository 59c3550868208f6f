"""Our own stalls: they are told, once each, and a peer that nobody listened to is excused, within bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratatoskr import v1
from ratatoskr.connection import State
from ratatoskr.connection.liveness import MAX_EXCUSES
from ratatoskr.errors import Fault
from ratatoskr.events import Closed, GoingAway, Output, Stalled, Transmit
from ratatoskr.limits import Limits
from tests.attacks.hostile import CLIENT, SERVER_SIDE, SIDES, HostilePeer, make_victim
from tests.attacks.situations import SITUATIONS, bring
from tests.attacks.victim import Victim
from tests.unit.connection.support import EPSILON, GO_AWAY, INTERVAL, LATE, PING, TIMEOUT, pong, said, sleep, stalls
from tests.unit.messages.support import envelope, search

SEARCH = envelope(search())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("late", "told"), [(LATE - EPSILON, []), (LATE, []), (LATE + EPSILON, [LATE + EPSILON]), (3600.0, [3600.0])]
)
def test_a_driver_that_is_late_by_more_than_half_a_heartbeat_is_told(side: str, late: float, told: list[float]) -> None:
    victim = HostilePeer(side).open().victim
    assert victim.wait.until == INTERVAL
    assert sleep(victim, INTERVAL + late) == told
    assert stalls(victim) == []


def test_half_a_heartbeat_is_half_of_the_limit() -> None:
    victim = HostilePeer(make_victim(CLIENT, limits=Limits(heartbeat_interval=4.0))).open().victim
    assert sleep(victim, 6.0) == []
    assert sleep(victim, 6.0 + EPSILON) == [2.0 + EPSILON]


@pytest.mark.parametrize("byte", [b"", b"\x10"], ids=["nothing came", "bytes came"])
def test_a_loop_that_was_blocked_says_so_whatever_it_finds(byte: bytes) -> None:
    """Also where bytes lay in the socket all the time: they prove that the peer lives, not that anybody listened."""
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    victim.clock.advance(23.0)
    victim.connection.receive(byte)
    assert stalls(victim) == [8.0]
    assert said(peer) == ([] if byte else ["ping"])
    victim.advance(1.0)
    assert len(victim.seen(Stalled)) == 1


def test_a_stall_comes_before_what_it_was_blind_for() -> None:
    victim = HostilePeer(CLIENT).open().victim
    victim.clock.advance(23.0)
    victim.connection.receive_eof()
    victim.drain()
    stalled, closed = victim.events
    assert isinstance(stalled, Stalled)
    assert isinstance(closed, Closed)


def test_a_poll_before_the_deadline_is_no_stall() -> None:
    """However long nobody polled: nothing was due."""
    victim = HostilePeer(CLIENT).open().victim
    assert sleep(victim, INTERVAL - EPSILON) == []
    assert sleep(victim, LATE + EPSILON) == []


@pytest.mark.parametrize(("control", "output"), [(GO_AWAY, GoingAway), (PING, Transmit)])
@pytest.mark.parametrize(("late", "told"), [(LATE, []), (LATE + EPSILON, [LATE + EPSILON])])
def test_after_anything_but_wait_a_poll_is_due_at_once(
    control: v1.Control, output: type[Output], late: float, told: list[float]
) -> None:
    """An application that works on an event for long, or a driver that blocks until it has written."""
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    victim.connection.receive(peer.record(peer.flight(controls=[control]).SerializeToString()))
    assert isinstance(victim.connection.poll(victim.clock.now), output)
    victim.connection.sent()
    assert sleep(victim, late) == told


@pytest.mark.parametrize(("side", "state"), SITUATIONS)
def test_only_an_open_connection_speaks_of_stalls(side: str, state: State) -> None:
    victim = bring(side, state).victim
    told = sleep(victim, 3600.0)
    assert len(told) == (state in (State.OPEN, State.DRAINING))


def test_a_stall_before_the_opening_is_told_to_nobody() -> None:
    peer = HostilePeer(CLIENT)
    peer.challenge()
    answer = peer.response()
    peer.victim.clock.advance(3600.0)
    peer.victim.feed(answer)
    assert peer.victim.connection.state is State.OPEN
    assert peer.victim.seen(Stalled) == []


@pytest.mark.parametrize("slept", [TIMEOUT + INTERVAL, 3600.0, 10 * 24 * 3600.0])
def test_our_own_sleep_is_no_silence_of_the_peers(slept: float) -> None:
    """A laptop was closed. Nobody polled, so nobody listened: the peer gets a heartbeat's time, and is pinged."""
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    assert sleep(victim, slept) == [slept - INTERVAL]
    assert victim.verdict() is None
    assert said(peer) == ["ping"]
    pong(peer)
    victim.advance(INTERVAL)
    assert victim.verdict() is None


def test_after_our_own_sleep_a_dead_peer_is_still_given_up() -> None:
    """Both timers are late by the same stall, which gives one heartbeat and not two."""
    victim = HostilePeer(CLIENT).open().victim
    victim.advance(TIMEOUT - 1.0)
    assert len(sleep(victim, 3600.0)) == 1
    victim.advance(INTERVAL - EPSILON)
    assert victim.verdict() is None
    victim.advance(EPSILON)
    assert victim.verdict() == (Fault.PEER_SILENT, "liveness")
    assert len(victim.seen(Stalled)) == 1


def test_a_sleep_that_begins_with_a_ping_on_its_way_is_excused() -> None:
    """The deadline of liveness alone comes late: the ping before it was answered into a buffer that nobody read."""
    victim = HostilePeer(CLIENT).open().victim
    victim.advance(TIMEOUT - INTERVAL)
    assert sleep(victim, INTERVAL * 2) == [INTERVAL]
    assert victim.verdict() is None


def test_a_stall_takes_no_time_away() -> None:
    """The peer was heard a moment before it: it has longer than one heartbeat."""
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    victim.advance(INTERVAL - 1.0)
    pong(peer)
    assert sleep(victim, 1.0 + LATE + EPSILON) == [LATE + EPSILON]
    victim.advance(INTERVAL - 1.0 + TIMEOUT - victim.clock.now.mono - EPSILON)
    assert victim.verdict() is None
    victim.advance(EPSILON)
    assert victim.verdict() == (Fault.PEER_SILENT, "liveness")


@pytest.mark.parametrize("nap", [100.0, 3600.0])
def test_naps_excuse_a_silent_peer_so_many_times_in_a_row(nap: float) -> None:
    peer = HostilePeer(CLIENT).open()
    victim = peer.victim
    for _ in range(MAX_EXCUSES):
        sleep(victim, nap)
    assert victim.verdict() is None
    pong(peer)
    for _ in range(MAX_EXCUSES):
        sleep(victim, nap)
        assert victim.verdict() is None
    sleep(victim, nap)
    assert victim.verdict() == (Fault.PEER_SILENT, "liveness")


def test_the_opening_begins_with_all_excuses() -> None:
    """The decision about a client took as long as it liked."""
    victim = bring(SERVER_SIDE, State.DECIDING).victim
    victim.clock.advance(3600.0)
    victim.connection.accept()
    assert stalls(victim) == []
    for _ in range(MAX_EXCUSES):
        assert len(sleep(victim, 3600.0)) == 1
    assert victim.verdict() is None
    sleep(victim, 3600.0)
    assert victim.verdict() == (Fault.PEER_SILENT, "liveness")


@pytest.mark.parametrize("late", [0.5, LATE, LATE + EPSILON, INTERVAL, TIMEOUT])
def test_a_driver_that_is_always_late_gives_up_a_dead_peer(late: float) -> None:
    victim = HostilePeer(CLIENT).open().victim
    while victim.verdict() is None:
        assert victim.clock.now.mono < TIMEOUT + (MAX_EXCUSES + 1) * (INTERVAL + late)
        victim.clock.advance(victim.wait.until - victim.clock.now.mono + late)
        victim.drain()
    assert victim.verdict() == (Fault.PEER_SILENT, "liveness")


def test_a_driver_that_is_a_little_late_excuses_nobody() -> None:
    victim = HostilePeer(CLIENT).open().victim
    while victim.verdict() is None:
        assert victim.clock.now.mono < 2 * TIMEOUT
        victim.clock.advance(victim.wait.until - victim.clock.now.mono + 0.5)
        victim.drain()
    assert victim.verdict() == (Fault.PEER_SILENT, "liveness")
    assert victim.clock.now.mono == TIMEOUT + 0.5
    assert victim.seen(Stalled) == []


# What else the peer owed meanwhile


def begin_record(peer: HostilePeer) -> bytes:
    record = peer.record(peer.flight().SerializeToString())
    peer.victim.feed(record[:10])
    return record[10:]


def begin_span(peer: HostilePeer) -> bytes:
    peer.say(peer.flight(SEARCH, sealed=False))
    return peer.record(peer.flight().SerializeToString())


def begin_write(peer: HostilePeer) -> bytes:
    peer.victim.holds_writes = True
    peer.say(peer.flight(controls=[PING]))
    return b""


def pay(victim: Victim, end: bytes) -> None:
    victim.feed(end)
    victim.holds_writes = False
    victim.sent()
    victim.drain()


Begin = Callable[[HostilePeer], bytes]
DEBTS = pytest.mark.parametrize(
    ("begin", "verdict"),
    [
        (begin_record, (Fault.RECORD_STALLED, "timer.record")),
        (begin_span, (Fault.SEAL_OVERDUE, "span.time")),
        (begin_write, (Fault.WRITE_STALLED, "timer.write")),
    ],
)
"""What is to end within 30 s, and how it ends the connection otherwise. Returns the bytes that end it, if any do."""
PATIENT = Limits(liveness_timeout=36_000.0, span_timeout=30.0)


@DEBTS
@pytest.mark.parametrize("slept", [31.0, 3600.0])
def test_what_nobody_listened_for_is_not_overdue(begin: Begin, verdict: object, slept: float) -> None:
    """It lay in the socket. The driver polls before it reads, and before it says what it has written."""
    peer = HostilePeer(make_victim(SERVER_SIDE, limits=PATIENT)).open()
    victim = peer.victim
    end = begin(peer)
    assert len(sleep(victim, slept)) == 1
    assert victim.verdict() is None
    pay(victim, end)
    victim.advance(2 * INTERVAL)
    assert victim.verdict() is None


@DEBTS
def test_a_debt_is_due_one_heartbeat_after_the_stall(begin: Begin, verdict: object) -> None:
    peer = HostilePeer(make_victim(SERVER_SIDE, limits=PATIENT)).open()
    victim = peer.victim
    begin(peer)
    sleep(victim, 31.0)
    victim.advance(INTERVAL - EPSILON)
    assert victim.verdict() is None
    victim.advance(EPSILON)
    assert victim.verdict() == verdict


@DEBTS
def test_a_debt_is_excused_once(begin: Begin, verdict: object) -> None:
    """With a driver that is late each time it would never be due."""
    peer = HostilePeer(make_victim(SERVER_SIDE, limits=PATIENT)).open()
    victim = peer.victim
    begin(peer)
    sleep(victim, 31.0)
    assert victim.verdict() is None
    sleep(victim, 31.0)
    assert victim.verdict() == verdict


@DEBTS
def test_each_debt_is_excused(begin: Begin, verdict: object) -> None:
    peer = HostilePeer(make_victim(SERVER_SIDE, limits=PATIENT)).open()
    victim = peer.victim
    for _ in range(3):
        end = begin(peer)
        sleep(victim, 31.0)
        pay(victim, end)
        victim.advance(INTERVAL)
        assert victim.verdict() is None


@DEBTS
def test_a_debt_that_is_due_later_is_left_alone(begin: Begin, verdict: object) -> None:
    """It is due at 44 s; a heartbeat after the stall is 38 s."""
    peer = HostilePeer(make_victim(SERVER_SIDE, limits=PATIENT)).open()
    victim = peer.victim
    victim.advance(14.0)
    begin(peer)
    assert len(sleep(victim, 9.0)) == 1
    victim.advance(21.0 - EPSILON)
    assert victim.verdict() is None
    victim.advance(EPSILON)
    assert victim.verdict() == verdict
