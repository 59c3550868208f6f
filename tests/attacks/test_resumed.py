"""What a peer may say over the line on which a session goes on, and what a server may claim about one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.connection import State
from ratatoskr.errors import Disposition, Fault
from ratatoskr.events import Opened, RequestFailed, RequestReceived, ResponseReceived, SessionEnded
from ratatoskr.limits import Limits
from ratatoskr.messages import Position
from ratatoskr.session.charges import NEWS
from ratatoskr.session.resumable import CLIENT_PROOF, SERVER_PROOF
from tests.attacks.hostile import AUTHORITY, CLIENT, SERVER_SIDE, SIDES, HostilePeer, make_victim
from tests.attacks.returning import KEPT, SEARCH, Session, prove
from tests.attacks.situations import ask
from tests.attacks.victim import footprint
from tests.unit.messages.support import authorized, envelope

PING = v1.Control(ping=v1.Ping(token=1))
CANCEL = v1.Control(cancel=v1.Cancel(request_number=1))


def grant(items: int) -> v1.Control:
    return v1.Control(grant=v1.Grant(request_number=1, items=items))


@pytest.fixture(params=SIDES)
def session(request: pytest.FixtureRequest) -> Session:
    """A session that has gone on over another line."""
    session = Session(request.param)
    session.lose()
    session.goes_on()
    return session


# Numbers


@pytest.mark.parametrize("wrong", [-3, -1, 1, 2])
def test_numbers_go_on_without_a_gap_and_without_a_repetition(session: Session, wrong: int) -> None:
    flight = session.peer.flight(SEARCH, ack=1)
    flight.first_number += wrong
    session.peer.say(flight)
    assert session.victim.verdict() == (Fault.FLIGHT_INVALID, "flight.number")
    assert not session.victim.seen(RequestReceived)
    assert session.kept.ended


@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("side", SIDES)
def test_what_was_not_sent_again_cannot_be_acknowledged(side: str, beyond: int) -> None:
    """It was sent over the old line, and the peer has said that it did not come."""
    session = Session(side, limits=Limits(flight_messages=3))
    for _ in range(2):
        ask(session.peer)
    outbox = session.kept.session._sender._outbox
    session.lose()
    peer = session.line(session.account(received=Position(1, outbox.chain_at(1) or b"", 0)))
    if side == SERVER_SIDE:
        peer.begin()
        peer.request()
        peer.victim.holds_writes = True
        peer.victim.connection.accept(session=session.kept)
        peer.victim.drain()
    else:
        peer.challenge()
        peer.victim.holds_writes = True
        peer.answer()
    assert peer.victim.seen(Opened)[0].resumed
    assert outbox.sent < outbox.last == 6
    peer.take_over(session.peer)
    peer.say(peer.flight(ack=outbox.sent + beyond))
    peer.victim.holds_writes = False
    peer.victim.sent()
    peer.victim.drain()
    assert peer.victim.verdict() == ((Fault.ACK_INVALID, "flight.ack") if beyond else None)


@pytest.mark.parametrize("side", SIDES)
def test_what_was_not_sealed_over_the_old_line_is_due_over_this_one(side: str) -> None:
    session = Session(side, limits=Limits(span_timeout=5.0))
    session.says(SEARCH, sealed=False)
    session.lose()
    session.victim.clock.advance(20.0)
    session.goes_on()
    session.victim.advance(4.999)
    assert session.victim.closed is None
    session.victim.advance(0.001)
    assert session.victim.verdict() == (Fault.SEAL_OVERDUE, "span.time")


def test_what_comes_over_the_old_line_is_not_read_any_more() -> None:
    session = Session(SERVER_SIDE)
    old = session.peer
    flight = old.record(old.make_serializer(position=old.serializer.position).pack([]))
    session.goes_on()
    before = session.kept.session.positions()
    old.victim.feed(flight)
    assert old.victim.verdict() == (Fault.SESSION_REPLACED, "session.replaced")
    assert session.kept.session.positions() == before
    assert session.victim.connection.state is State.OPEN


# Floods


def flood(session: Session, control: v1.Control, most: int = 10_000) -> int:
    """So many are taken until the session ends."""
    for count in range(most):
        session.peer.say(session.peer.flight(controls=[control], sealed=False, ack=1))
        if session.victim.closed is not None:
            return count
    return most


@pytest.mark.parametrize("resumes", [0, 1, 30])
@pytest.mark.parametrize("side", SIDES)
def test_a_flood_of_controls_has_what_is_said_again_free_and_no_more(side: str, resumes: int) -> None:
    session = Session(side)
    for _ in range(resumes):
        session.lose()
        session.goes_on()
    assert flood(session, PING) == Limits().control_burst + (NEWS if resumes else 0)
    assert session.victim.verdict() == (Fault.LIMIT_EXCEEDED, "controls.rate")


@pytest.mark.parametrize("side", SIDES)
def test_a_flood_of_controls_over_many_lines_is_one_flood(side: str) -> None:
    """Of each line three are free."""
    session = Session(side)
    taken = 0
    while taken < 1000:
        taken += flood(session, PING, NEWS + 1)
        if session.victim.closed is not None:
            break
        session.lose()
        session.goes_on()
    lines = session.attempts
    assert taken == Limits().control_burst + NEWS * lines
    assert lines == Limits().control_burst - NEWS


@pytest.mark.parametrize("side", SIDES)
def test_a_flood_of_cancels_over_many_lines_is_one_flood(side: str) -> None:
    session = Session(side)
    taken = 0
    while taken < 1000:
        taken += flood(session, CANCEL, 30)
        if session.victim.closed is not None:
            break
        session.lose()
        session.goes_on()
    assert taken == Limits().cancels_per_minute
    assert session.victim.verdict() == (Fault.LIMIT_EXCEEDED, "cancels.rate")


@pytest.mark.parametrize("side", SIDES)
def test_a_flood_of_grants_has_one_free_for_each_open_call_of_each_line(side: str) -> None:
    session = Session(side)
    calls, taken = 3, 0
    while taken < 1000:
        taken += flood(session, grant(1), calls + NEWS + 1)
        if session.victim.closed is not None:
            break
        session.lose()
        session.goes_on()
    assert taken == Limits().control_burst + (calls + NEWS) * session.attempts
    assert session.victim.verdict() == (Fault.LIMIT_EXCEEDED, "controls.rate")


@pytest.mark.parametrize("side", SIDES)
def test_who_comes_again_and_again_costs_no_more_memory(side: str) -> None:
    session = Session(side)
    sizes = []
    for _ in range(2):
        for _ in range(20):
            session.lose()
            session.goes_on()
        sizes.append(footprint(session.kept))
    assert sizes[1] <= sizes[0] + 2048


# What a server claims


def still_goes_on(session: Session) -> None:
    """The honest server is found, and the calls are answered."""
    peer = session.goes_on(attempt=session.kept.attempt + 1)
    leaves = peer.leaves
    place = {"request_number": 1, "request_leaf": leaves[1]}
    session.says(envelope(authorized(**place)), ack=2)
    assert session.victim.seen(ResponseReceived)


@pytest.fixture
def client() -> Session:
    """A client's session, whose line is lost."""
    session = Session(CLIENT)
    session.peer.hear()
    session.lose()
    return session


FORGED: dict[str, Callable[[Session, bytes], bytes]] = {
    "zeros": lambda _, h: bytes(32),
    "the client's": lambda session, h: prove(CLIENT_PROOF, session.secret, h),
    "of another handshake": lambda session, h: prove(SERVER_PROOF, session.secret, bytes(32)),
    "of another session": lambda _, h: prove(SERVER_PROOF, Session(CLIENT).secret, h),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_server_that_holds_the_keys_and_not_the_secret_is_left(client: Session, how: str) -> None:
    """Nothing is sent to it, and nothing that it says is delivered."""
    peer = client.line(client.account(proof=lambda h: FORGED[how](client, h)))
    peer.challenge()
    response = peer.response()
    peer.take_over(client.peer)
    serializer = peer.make_serializer(position=peer.serializer.position)
    peer.victim.feed(response + peer.record(serializer.pack([], ack=1)))
    closed = peer.victim.finish()
    assert (closed.fault, closed.rule) == (Fault.REFUSED, "resume.proof")
    assert not peer.victim.seen(Opened)
    assert not peer.records()
    still_goes_on(client)


PLACES: dict[str, Callable[[Position, Position], dict[str, Any]]] = {
    "received less than it acknowledged": lambda received, _: {"received": Position(0, received.chain, 0)},
    "received more": lambda received, _: {"received": received._replace(number=received.number + 1)},
    "received something else": lambda received, sent: {"received": received._replace(chain=sent.chain)},
    "sent less": lambda _, sent: {"sent": sent._replace(number=sent.number - 1, sealed=0)},
    "sent something else": lambda received, sent: {"sent": sent._replace(chain=received.chain)},
}


@pytest.mark.parametrize("where", PLACES)
def test_a_server_that_contradicts_what_was_said_ends_the_session(client: Session, where: str) -> None:
    true = client.account()
    peer = client.meets(client.account(**PLACES[where](true.received, true.sent)))
    closed = peer.victim.finish()
    assert (closed.fault, closed.rule) == (Fault.SESSION_DIVERGED, "resume.positions")
    failed = peer.victim.seen(RequestFailed)
    assert [event.id for event in failed] == [client.calls[1], client.calls[0]]
    assert {(event.failure.reason, event.failure.disposition) for event in failed} == {
        ("SESSION_DIVERGED", Disposition.MAYBE)
    }
    assert client.kept.ended
    assert not peer.victim.seen(Opened)


def test_a_server_cannot_go_on_with_a_session_that_nobody_named() -> None:
    session = Session(CLIENT)
    true = session.account()
    peer = HostilePeer(make_victim(CLIENT, session_timeout=KEPT), kept=KEPT, grant=true.grant)
    peer.challenge()
    assert peer.victim.connection.state is State.REQUESTED
    peer.answer()
    closed = peer.victim.finish()
    assert (closed.fault, closed.rule) == (Fault.REFUSED, "resume.unasked")
    assert not peer.victim.seen(Opened)


@pytest.mark.parametrize("claims", [True, False])
def test_a_session_is_not_named_to_a_server_of_other_keys(client: Session, claims: bool) -> None:
    """Of the same name. It may begin another session, and not go on with this one, even where it has the secret."""
    other = AUTHORITY.server("yggdrasil.test")
    peer = client.line(identity=other, grant=client.account().grant if claims else None)
    peer.challenge()
    peer.answer()
    assert peer.asked.resume is None
    if claims:
        assert peer.victim.finish().rule == "resume.unasked"
        still_goes_on(client)
    else:
        assert [event.fault for event in peer.victim.seen(SessionEnded)] == [Fault.SESSION_UNKNOWN]
        assert len(peer.victim.seen(RequestFailed)) == 2
        assert not peer.victim.seen(Opened)[0].resumed


def test_nothing_is_read_before_the_server_s_answer(client: Session) -> None:
    peer = client.line(client.account())
    peer.challenge()
    peer.response()
    peer.take_over(client.peer)
    peer.victim.feed(peer.record(client.peer.flight(ack=1).SerializeToString()))
    assert peer.victim.finish().fault is Fault.RECORD_MALFORMED
    assert not peer.victim.events[:-1]
    still_goes_on(client)
