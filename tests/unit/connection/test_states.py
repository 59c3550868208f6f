"""Every move of the table is made, and no other; every method of a call does in every state what it says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from ratatoskr import v1
from ratatoskr.connection import Connection, State
from ratatoskr.connection.machine import Machine
from ratatoskr.connection.states import DEADLINES, RECORD_INPUTS, TRANSITIONS, Input
from ratatoskr.errors import Disposition, Failure, Fault, LocalProtocolError, Status
from ratatoskr.events import Closed, Disconnect, RequestFailed, RequestId, RequestReceived, Wait
from ratatoskr.timers import Now
from tests.attacks.hostile import CLIENT, SERVER_SIDE, HostilePeer, make_victim
from tests.attacks.situations import SITUATIONS, bring
from tests.unit.messages.support import FEED, KINDS, custom, envelope, search

Recipe = Callable[[], object]
ALERT = b"\x1f\0\0\6\0\1\0\0\0\7"
NO = Failure(Status.PERMISSION_DENIED, "NO", "not you")


def drained(side: str) -> None:
    """Both sides say DISCONNECT."""
    peer = HostilePeer(side).open()
    peer.victim.connection.close()
    peer.victim.drain()
    peer.say(peer.flight(controls=[v1.Control(disconnect=v1.Disconnect())]))


def decided(decision: Callable[[HostilePeer], object]) -> None:
    peer = bring(SERVER_SIDE, State.DECIDING)
    decision(peer)
    peer.victim.drain()


def broken(side: str, state: State) -> None:
    """The peer writes a record of no type."""
    bring(side, state).victim.feed(b"\xff\xff\xff\xff")


def ended(side: str, state: State) -> None:
    bring(side, state).victim.eof()


def replaced(state: State) -> None:
    """Another connection goes on with the session."""
    peer = bring(SERVER_SIDE, state)
    connection, now = peer.victim.connection, peer.victim.clock.now
    connection.replaced()
    disconnect, closed, wait = (connection.poll(now) for _ in range(3))
    assert isinstance(disconnect, Disconnect)
    assert disconnect.abort
    assert isinstance(closed, Closed)
    assert closed.fault is Fault.SESSION_REPLACED
    assert isinstance(wait, Wait)


WITH_SESSION = (State.DECIDING, State.OPEN, State.DRAINING, State.CLOSING)
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
    **{(state, Input.REPLACED): partial(replaced, state) for state in WITH_SESSION},
    **{(state, Input.FAULT): partial(broken, side, state) for side, state in LIVE},
    **{(state, Input.EOF): partial(ended, side, state) for side, state in LIVE},
}


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[tuple[State, Input, State]]:
    """What every machine of the test does."""
    seen: list[tuple[State, Input, State]] = []
    move, replaced = Machine.move, Machine.replaced

    def watched(self: Machine, input: Input, now: Now) -> None:
        before = self.state
        move(self, input, now)
        seen.append((before, input, self.state))

    def ended(self: Machine) -> None:
        before = self.state
        replaced(self)
        seen.append((before, Input.REPLACED, self.state))

    monkeypatch.setattr(Machine, "move", watched)
    monkeypatch.setattr(Machine, "replaced", ended)
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


# The methods of a call

BEFORE_OPEN = {row for row in SITUATIONS if row[1] not in {State.OPEN, State.DRAINING, State.CLOSING, State.CLOSED}}


class Calls:
    """A victim in one of its states, with streams both ways: ours, one of ours that failed, and one of the peer's."""

    def __init__(self, side: str, state: State) -> None:
        opened = (side, state) not in BEFORE_OPEN
        self.state = state
        self.peer = bring(side, State.OPEN if opened else state, kinds=KINDS)
        self.victim = self.peer.victim
        self.connection = self.victim.connection
        self.failed = self.connection.request(FEED, v1.GoAway())
        self.connection.cancel(self.failed)
        self.own = self.connection.request(FEED, v1.GoAway(), credit=1)
        self.theirs: RequestId = RequestId()
        if state is not State.READY:  # its first poll would end it
            self.victim.drain()
        if opened:
            self.victim = self.peer.say(self.peer.flight(envelope(custom(3, b""))))
            self.theirs = self.victim.seen(RequestReceived)[-1].id
            self._move()
        self.peer_heard()
        self.victim.events.clear()
        assert self.connection.state is state

    def _move(self) -> None:
        match self.state:
            case State.DRAINING:
                self.connection.close()
                self.victim.drain()
            case State.CLOSING:
                self.victim.holds_writes = True
                self.connection.respond(self.theirs, v1.GoAway(), last=False)
                self.victim.drain()  # a write is under way, and its last words wait for that
                self.victim.feed(b"\x1f\0\0\6" + bytes(6))
            case State.CLOSED:
                self.victim.eof()

    def peer_heard(self) -> list[v1.Flight]:
        """What the victim has said since the last call, once it talks in flights."""
        talks = self.state in {State.OPEN, State.DRAINING}
        return self.peer.hear() if talks else []

    def after(self, use: Callable[[Connection], object]) -> list[v1.Flight]:
        """What the peer hears of it. Neither it nor misuse moves the connection."""
        use(self.connection)
        if self.state is State.READY:
            return []
        self.victim.drain()
        assert self.connection.state is self.state
        return self.peer_heard()

    @property
    def outcomes(self) -> list[tuple[RequestId, str]]:
        if self.state is State.READY:
            self.victim.drain()
        return [(each.id, each.failure.reason) for each in self.victim.seen(RequestFailed)]


USES: dict[str, Callable[[Connection, RequestId], object]] = {
    "cancel": lambda connection, id: connection.cancel(id),
    "grant": lambda connection, id: connection.grant(id, 1),
    "retry": lambda connection, id: connection.retry(id),
    "respond": lambda connection, id: connection.respond(id, v1.GoAway(), last=False),
}


@pytest.mark.parametrize("method", USES)
@pytest.mark.parametrize(("side", "state"), SITUATIONS)
def test_ids_of_nothing_are_misuse_in_every_state(side: str, state: State, method: str) -> None:
    calls = Calls(side, state)

    def misuse(connection: Connection) -> None:
        with pytest.raises(LocalProtocolError):
            USES[method](connection, RequestId())

    assert calls.after(misuse) == []
    assert calls.outcomes == ([(calls.failed, "CANCELLED")] if state is State.READY else [])


@pytest.mark.parametrize(("side", "state"), SITUATIONS)
def test_a_request_may_be_cancelled_in_every_state(side: str, state: State) -> None:
    calls = Calls(side, state)
    heard = calls.after(lambda connection: connection.cancel(calls.own))
    cancelled = [each for flight in heard for each in flight.controls if each.HasField("cancel")]
    assert len(cancelled) == (state in {State.OPEN, State.DRAINING})
    outcomes = [reason for id, reason in calls.outcomes if id is calls.own]
    assert outcomes == (["CANCELLED"] if (side, state) in BEFORE_OPEN else [])


@pytest.mark.parametrize(("side", "state"), SITUATIONS)
def test_credit_may_be_granted_in_every_state(side: str, state: State) -> None:
    """It is said with the request, or when an item has come."""
    calls = Calls(side, state)
    assert calls.after(lambda connection: connection.grant(calls.own, 1)) == []
    assert [id for id, _ in calls.outcomes if id is calls.own] == []


@pytest.mark.parametrize(("side", "state"), SITUATIONS)
def test_what_has_no_outcome_is_retried_in_no_state(side: str, state: State) -> None:
    calls = Calls(side, state)
    if state is State.CLOSING:
        assert isinstance(calls.connection.retry(calls.own), RequestId)
        return

    def misuse(connection: Connection) -> None:
        with pytest.raises(LocalProtocolError, match="make a new one" if state is State.CLOSED else "no outcome yet"):
            connection.retry(calls.own)

    assert calls.after(misuse) == []


@pytest.mark.parametrize(("side", "state"), SITUATIONS)
def test_what_failed_is_retried_until_the_end(side: str, state: State) -> None:
    """Where no requests are taken any more the retry fails by event; after Closed it is misuse."""
    calls = Calls(side, state)
    if state is State.CLOSED:
        with pytest.raises(LocalProtocolError, match="make a new one"):
            calls.connection.retry(calls.failed)
        return
    heard = calls.after(lambda connection: connection.retry(calls.failed))
    assert sum(len(flight.envelopes) for flight in heard) == (state is State.OPEN)
    failures = [each for each in calls.victim.seen(RequestFailed) if each.id is not calls.failed]
    assert [each.failure.disposition for each in failures] == (
        [Disposition.NOT_PROCESSED] if state in {State.DRAINING, State.CLOSING} else []
    )


@pytest.mark.parametrize(("side", "state"), sorted({*SITUATIONS} - BEFORE_OPEN, key=str))
def test_items_are_sent_while_calls_go_on_and_dropped_afterwards(side: str, state: State) -> None:
    calls = Calls(side, state)
    heard = calls.after(lambda connection: connection.respond(calls.theirs, v1.GoAway(), last=False))
    assert sum(len(flight.envelopes) for flight in heard) == (state in {State.OPEN, State.DRAINING})
    assert calls.outcomes == []
