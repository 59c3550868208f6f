"""Who may go on with a session: its own client, once for each attempt, from where both ends stand. Nobody else does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ratatoskr.connection import State
from ratatoskr.errors import Fault
from ratatoskr.events import ConnectionRequested, Opened
from ratatoskr.identity import Identity, Role
from ratatoskr.limits import Limits
from ratatoskr.messages import Position
from ratatoskr.messages.standard import MARKETPLACE_SEARCH
from ratatoskr.session.resumable import CLIENT_PROOF, SERVER_PROOF
from ratatoskr.v1 import Search
from tests.attacks.hostile import AUTHORITY, DEVICE, SERVER_SIDE, HostilePeer, make_config
from tests.attacks.returning import KEPT, SEARCH, Session, prove

LAST_ATTEMPT = (1 << 64) - 1
SPAN = 8


@pytest.fixture(params=["lost", "alive"])
def session(request: pytest.FixtureRequest) -> Session:
    """A server's session, whose line is lost, or lives."""
    session = Session(SERVER_SIDE)
    if request.param == "lost":
        session.lose()
    return session


def untouched(session: Session) -> Callable[[], None]:
    """Returns a check that nothing has changed for the session since now, and that its owner may go on."""
    session.peer.hear()
    before = (session.kept.attempt, session.kept.session.positions(), session.kept.transport)

    def check() -> None:
        assert (session.kept.attempt, session.kept.session.positions(), session.kept.transport) == before
        session.goes_on()
        session.says(SEARCH)
        assert session.victim.connection.state is State.OPEN

    return check


def begins_anew(peer: HostilePeer, session: Session) -> None:
    """A session begins as if there were no other one."""
    (opened,) = peer.victim.seen(Opened)
    assert not opened.resumed
    assert opened.session_id != session.kept.session_id
    assert peer.accepted().resumed is None


def is_sent_away(peer: HostilePeer, reason: str) -> None:
    """The client is told why, and nobody opened anything."""
    peer.victim.finish()
    closed = peer.victim.closed
    assert closed is not None
    assert closed.fault is Fault.REJECTED
    assert closed.failure is not None
    assert closed.failure.reason == reason
    assert not peer.victim.seen(Opened)
    answer = peer.accepted()
    assert answer.failure is not None
    assert answer.failure.reason == reason


# Who

FORGED: dict[str, Callable[[Session, bytes], bytes]] = {
    "zeros": lambda _, h: bytes(32),
    "the server's": lambda session, h: prove(SERVER_PROOF, session.secret, h),
    "no label": lambda session, h: prove(b"", session.secret, h),
    "of another handshake": lambda session, h: prove(CLIENT_PROOF, session.secret, bytes(32)),
    "of another session": lambda _, h: prove(CLIENT_PROOF, Session(SERVER_SIDE).secret, h),
    "another bit": lambda session, h: flipped(prove(CLIENT_PROOF, session.secret, h)),
}


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("how", FORGED)
def test_who_does_not_hold_the_secret_has_a_session_of_its_own(session: Session, how: str) -> None:
    still = untouched(session)
    begins_anew(session.comes(session.account(proof=lambda h: FORGED[how](session, h))), session)
    still()


STRANGERS: dict[str, Callable[[], Identity]] = {
    "another device": lambda: AUTHORITY.device("device-2"),
    "other keys of the same device": lambda: AUTHORITY.device(DEVICE.certificate.subject),
    "another role of the same name": lambda: AUTHORITY.provider(DEVICE.certificate.subject),
    "another tenant": lambda: AUTHORITY.issue(Role.DEVICE, DEVICE.certificate.subject, tenant="another"),
}


@pytest.mark.parametrize("who", STRANGERS)
def test_who_is_not_the_client_of_the_session_has_one_of_its_own(session: Session, who: str) -> None:
    """Even one who holds the secret, and knows both places."""
    still = untouched(session)
    begins_anew(session.comes(session.account(), identity=STRANGERS[who]()), session)
    still()


def test_a_session_id_of_nobody_begins_anew(session: Session) -> None:
    still = untouched(session)
    begins_anew(session.comes(session.account(session_id=bytes(32))), session)
    still()


def test_a_session_that_has_ended_is_as_none() -> None:
    session = Session(SERVER_SIDE)
    account = session.account()
    session.lose()
    session.kept.abandon()
    begins_anew(session.comes(account), session)


def test_a_server_of_other_keys_goes_on_with_no_session(session: Session) -> None:
    """What was sealed between two keys goes on between these two."""
    other = AUTHORITY.server("yggdrasil.test")
    session.config = make_config(SERVER_SIDE, session_timeout=KEPT, identity=other)
    peer = session.comes(session.account())
    (opened,) = peer.victim.seen(Opened)
    assert not opened.resumed


def test_a_recorded_m3_opens_nothing(session: Session) -> None:
    first = session.line(session.account())
    first.begin()
    recorded = first.m3()
    still = untouched(session)
    second = session.line()
    second.begin()
    second.victim.feed(recorded)
    assert second.victim.verdict() == (Fault.REFUSED, "noise.forged")
    assert not second.victim.seen(ConnectionRequested)
    still()


# Which of two


@pytest.mark.parametrize("accepted", [1, 2, 7])
def test_an_attempt_is_accepted_once_and_none_below_it(session: Session, accepted: int) -> None:
    session.goes_on(attempt=accepted)
    for attempt in {1, accepted - 1, accepted} - {0}:
        session.attempts = accepted
        still = untouched(session)
        is_sent_away(session.comes(session.account(attempt=attempt)), "RESUME_STALE")
        still()
        accepted += 1


def test_the_later_of_two_that_race_wins_though_it_comes_first(session: Session) -> None:
    early, late = (session.asks(session.account(attempt=attempt)) for attempt in (1, 2))
    late.victim.connection.accept(session=session.kept)
    late.victim.drain()
    early.victim.connection.accept(session=session.kept)
    early.victim.drain()
    is_sent_away(early, "RESUME_STALE")
    (opened,) = late.victim.seen(Opened)
    assert opened.resumed
    assert session.kept.transport is late.victim.connection


def test_the_earlier_of_two_that_race_is_replaced(session: Session) -> None:
    early, late = (session.asks(session.account(attempt=attempt)) for attempt in (1, 2))
    for peer in (early, late):
        peer.victim.connection.accept(session=session.kept)
        peer.victim.drain()
    early.victim.drain()
    assert early.victim.verdict() == (Fault.SESSION_REPLACED, "session.replaced")
    assert session.kept.transport is late.victim.connection


def test_who_counts_to_the_end_comes_no_more(session: Session) -> None:
    """It harms itself alone; its session goes on while the line lives."""
    session.goes_on(attempt=LAST_ATTEMPT)
    session.says(SEARCH)
    session.attempts = 0
    is_sent_away(session.comes(session.account(attempt=LAST_ATTEMPT)), "RESUME_STALE")
    assert session.victim.connection.state is State.OPEN


# From where

PLACES: dict[str, Callable[[Position, Position], dict[str, Any]]] = {
    "received below its own ack": lambda received, _: {"received": Position(0, received.chain, 0)},
    "received beyond all": lambda received, _: {"received": received._replace(number=received.number + 1)},
    "received up to eternity": lambda received, _: {"received": received._replace(number=(1 << 64) - 1)},
    "received something else": lambda received, _: {"received": received._replace(chain=flipped(received.chain))},
    "received the chain before": lambda received, sent: {"received": received._replace(chain=sent.chain)},
    "sent less": lambda _, sent: {"sent": sent._replace(number=sent.number - 1, sealed=0)},
    "sent nothing": lambda _, sent: {"sent": Position(0, sent.chain, 0)},
    "sent something else": lambda _, sent: {"sent": sent._replace(chain=flipped(sent.chain))},
}


@pytest.mark.parametrize("where", PLACES)
def test_who_contradicts_what_was_said_is_sent_away(session: Session, where: str) -> None:
    still = untouched(session)
    true = session.account()
    changes = PLACES[where](true.received, true.sent)
    is_sent_away(session.comes(session.account(**changes)), "SESSION_DIVERGED")
    still()


def test_what_was_received_but_not_acknowledged_may_be_lacking() -> None:
    """Whoever says less than it had, and not less than it acknowledged, has it again: this costs it a handshake."""
    session = Session(SERVER_SIDE)
    true = session.account()
    assert true.received.number == 2
    before = Position(1, session.kept.session._sender._outbox.chain_at(1) or b"", 0)
    session.lose()
    session.peer.questions = session.peer.make_serializer(
        direction=session.peer.direction.other, peer_kid=DEVICE.kid, position=before
    )
    peer = session.goes_on(received=before)
    again = [flight for flight in peer.hear() if flight.envelopes]
    assert [(flight.first_number, len(flight.envelopes), flight.HasField("seal")) for flight in again] == [(2, 1, True)]
    assert peer.questions.position.chain == true.received.chain


@pytest.mark.parametrize("unsealed", [SPAN - 1, SPAN, SPAN + 1])
def test_a_seal_is_lacking_over_a_span_at_most(unsealed: int) -> None:
    session = Session(SERVER_SIDE, limits=Limits(span_messages=SPAN, flight_messages=SPAN, seal_delay=0.001))
    server = session.victim.connection
    for _ in range(SPAN):
        server.request(MARKETPLACE_SEARCH, Search(query="lamp"))
    session.victim.drain()
    session.victim.advance(0.01)
    true = session.account()
    assert true.received.number == true.received.sealed == SPAN + 2
    session.lose()
    account = session.account(received=true.received._replace(sealed=true.received.number - unsealed))
    peer = session.comes(account)
    if unsealed <= SPAN:
        (opened,) = peer.victim.seen(Opened)
        assert opened.resumed
        peer.accepted()
        peer.take_over(session.peer)
        first = peer.hear()[0]
        assert (first.first_number, len(first.envelopes), first.HasField("seal")) == (SPAN + 3, 0, True)
    else:
        is_sent_away(peer, "SESSION_DIVERGED")
        session.goes_on()
