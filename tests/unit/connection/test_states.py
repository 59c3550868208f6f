"""Every move of the table is made, and no other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from ratatoskr import v1
from ratatoskr.connection import State
from ratatoskr.connection.machine import Machine
from ratatoskr.connection.states import DEADLINES, RECORD_INPUTS, TRANSITIONS, Input
from ratatoskr.errors import Failure, Fault, Status
from ratatoskr.timers import Now
from tests.attacks.hostile import CLIENT, SERVER_SIDE, HostilePeer, make_victim
from tests.attacks.situations import SITUATIONS, bring
from tests.unit.messages.support import envelope, search

Recipe = Callable[[], object]
ALERT = b"\x1f\0\0\6\0\1\0\0\0\7"
NO = Failure(Status.PERMISSION_DENIED, "NO", "not you")


def drained(side: str) -> None:
    """Both sides say DISCONNECT."""
    peer = HostilePeer(side).open()
    peer.victim.connection.close()
    peer.victim.drain()
    peer.say(peer.flight(controls=[v1.Control(disconnect=v1.Disconnect())]))


def decided(decision: Callable[[HostilePeer], None]) -> None:
    peer = bring(SERVER_SIDE, State.DECIDING)
    decision(peer)
    peer.victim.drain()


def broken(side: str, state: State) -> None:
    """The peer writes a record of no type."""
    bring(side, state).victim.feed(b"\xff\xff\xff\xff")


def ended(side: str, state: State) -> None:
    bring(side, state).victim.eof()


LIVE = [row for row in SITUATIONS if row[1] not in (State.READY, State.CLOSING, State.CLOSED)]
MOVES: dict[tuple[State, Input], Recipe] = {
    (State.READY, Input.START): lambda: make_victim(CLIENT).drain(),
    (State.GREETED, Input.M2): lambda: bring(CLIENT, State.REQUESTED),
    (State.REQUESTED, Input.RESPONSE): lambda: bring(CLIENT, State.OPEN),
    (State.LISTENING, Input.M1): lambda: bring(SERVER_SIDE, State.CHALLENGED),
    (State.CHALLENGED, Input.M3): lambda: bring(SERVER_SIDE, State.DECIDING),
    (State.DECIDING, Input.ACCEPT): lambda: decided(lambda peer: peer.victim.connection.accept()),
    (State.DECIDING, Input.REJECT): lambda: decided(lambda peer: peer.victim.connection.reject(NO)),
    (State.GREETED, Input.ALERT): lambda: bring(CLIENT, State.GREETED).victim.feed(ALERT),
    (State.REQUESTED, Input.ALERT): lambda: bring(CLIENT, State.REQUESTED).victim.feed(ALERT),
    (State.CHALLENGED, Input.ALERT): lambda: bring(SERVER_SIDE, State.CHALLENGED).victim.feed(ALERT),
    (State.OPEN, Input.DRAIN): lambda: bring(CLIENT, State.DRAINING),
    (State.DRAINING, Input.OVER): lambda: drained(SERVER_SIDE),
    (State.CLOSING, Input.EOF): lambda: ended(CLIENT, State.CLOSING),
    **{(state, Input.FAULT): partial(broken, side, state) for side, state in LIVE},
    **{(state, Input.EOF): partial(ended, side, state) for side, state in LIVE},
}


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[tuple[State, Input, State]]:
    """What every machine of the test does."""
    seen: list[tuple[State, Input, State]] = []
    move = Machine.move

    def watched(self: Machine, input: Input, now: Now) -> None:
        before = self.state
        move(self, input, now)
        seen.append((before, input, self.state))

    monkeypatch.setattr(Machine, "move", watched)
    return seen


@pytest.mark.parametrize("cell", MOVES, ids=lambda cell: f"{cell[0].name}-{cell[1].name}")
def test_each_move_is_made(cell: tuple[State, Input], moves: list[tuple[State, Input, State]]) -> None:
    MOVES[cell]()
    assert (*cell, TRANSITIONS[cell]) in moves


def test_flights_move_nothing(moves: list[tuple[State, Input, State]]) -> None:
    """DATA is an input of two states, and leaves both where they are: its cells say which records may come."""
    for state in (State.OPEN, State.DRAINING):
        peer = bring(CLIENT, state)
        moves.clear()
        peer.say(peer.flight(envelope(search())))
        assert moves == []
        assert TRANSITIONS[state, Input.DATA] is state


def test_the_table_holds_no_other_move() -> None:
    assert {*MOVES, (State.OPEN, Input.DATA), (State.DRAINING, Input.DATA)} == set(TRANSITIONS)


def test_every_state_is_reached_and_left() -> None:
    befores = {before for before, _ in TRANSITIONS}
    afters = set(TRANSITIONS.values())
    assert befores == set(State) - {State.CLOSED}
    assert afters == set(State) - {State.READY, State.LISTENING}


def test_every_state_but_the_first_and_the_last_has_a_deadline() -> None:
    assert set(DEADLINES) == set(State) - {State.READY, State.CLOSED}


@pytest.mark.parametrize(("side", "state"), SITUATIONS)
def test_only_records_with_a_cell_may_come(side: str, state: State) -> None:
    victim = bring(side, state).victim
    allowed = {type for type, input in RECORD_INPUTS.items() if (state, input) in TRANSITIONS}
    if state is State.READY:  # it reads nothing before its first poll
        assert victim.connection._machine.allowed == {}
    else:
        assert set(victim.connection._machine.allowed) == allowed


@pytest.mark.parametrize(("side", "state"), SITUATIONS)
def test_the_end_of_the_transport_ends_every_state(side: str, state: State) -> None:
    victim = bring(side, state).victim
    victim.eof()
    victim.eof()
    assert victim.connection.state is State.CLOSED
    closed = victim.closed
    assert closed is not None
    if state in (State.CLOSING, State.CLOSED):
        assert closed.fault in (Fault.RECORD_MALFORMED, Fault.TRANSPORT_LOST)
    else:
        assert (closed.fault, closed.rule, closed.detail) == (
            Fault.TRANSPORT_LOST,
            "transport.eof",
            "the transport ended",
        )
    assert victim.wait.timer is None
