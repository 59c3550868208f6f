"""Money moves only under a true seal: of this session, this direction, this place, and by the certified key."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.connection import State
from ratatoskr.errors import Fault
from ratatoskr.events import RequestReceived, ResponseReceived, SpanSealed
from ratatoskr.messages import Receipt
from ratatoskr.messages.standard import MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE
from tests.attacks.hostile import SIDES, HostilePeer
from tests.attacks.plans import FORGED_SEALS, Asked, Plan
from tests.attacks.situations import bring
from tests.unit.messages.support import authorized, envelope, payment, search

pytestmark = pytest.mark.parametrize("side", SIDES)

SEARCH = envelope(search())
PAYMENT = envelope(payment())


def expected(how: str) -> tuple[Fault, str]:
    if how == "none":
        return Fault.SEAL_MISSING, "seal.missing"
    return Fault.SEAL_INVALID, "seal.form" if how in ("suite 2", "cut") else "seal.signature"


@pytest.mark.parametrize("how", ["none", *FORGED_SEALS])
@pytest.mark.parametrize("before", [(), (SEARCH,), (PAYMENT,), (SEARCH, PAYMENT, SEARCH)], ids=len)
def test_a_payment_under_another_seal_is_not_delivered(side: str, how: str, before: tuple[bytes, ...]) -> None:
    """Neither alone, nor behind honest messages in the same flight or in an earlier one."""
    peer = bring(side, State.OPEN)
    asked = Asked.of(peer)
    makes = tuple((lambda _, each=each: each) for each in (*before, PAYMENT))
    if before:
        peer.say(peer.flight(*before, ack=2))
    delivered = len(peer.victim.seen(RequestReceived))
    assert delivered == len(before)
    victim = peer.say(Plan(makes, seal=how).render(peer, asked))
    assert len(victim.seen(RequestReceived)) == delivered
    assert victim.verdict() == expected(how)


@pytest.mark.parametrize("how", ["none", *FORGED_SEALS])
def test_an_answer_under_another_seal_is_not_delivered(side: str, how: str) -> None:
    peer = bring(side, State.OPEN)
    asked = Asked.of(peer)
    plan = Plan((lambda asked: envelope(authorized(**asked.place(1))),), seal=how)
    victim = peer.say(plan.render(peer, asked))
    assert not victim.seen(ResponseReceived)
    assert victim.verdict() == expected(how)


def test_a_seal_of_an_earlier_flight_does_not_serve_again(side: str) -> None:
    peer = bring(side, State.OPEN)
    first = peer.flight(PAYMENT)
    peer.say(first)
    victim = peer.say(peer.flight(PAYMENT, seal=first.seal))
    assert len(victim.seen(RequestReceived)) == 1
    assert victim.verdict() == (Fault.SEAL_INVALID, "seal.signature")


def test_a_flight_of_another_session_is_not_replayed_into_this_one(side: str) -> None:
    """The same words under the same key, once more in a session of the same two parties."""
    other = bring(side, State.OPEN)
    flight = other.flight(PAYMENT)
    other.say(flight)
    assert len(other.victim.seen(RequestReceived)) == 1
    victim = bring(side, State.OPEN).say(flight)
    assert not victim.seen(RequestReceived)
    assert victim.verdict() == (Fault.SEAL_INVALID, "seal.signature")


def test_a_flight_of_the_victims_own_is_not_reflected(side: str) -> None:
    peer = bring(side, State.OPEN)
    (flight,) = peer.hear()
    victim = peer.say(flight)
    assert not victim.seen(RequestReceived)
    assert victim.verdict() == (Fault.SEAL_INVALID, "seal.signature")


def test_an_answer_belongs_to_the_session_of_its_question(side: str) -> None:
    """The leaf binds session, place and bytes: an answer of another session is not even a candidate."""
    other = bring(side, State.OPEN)
    elsewhere = Asked.of(other).place(1)
    peer = bring(side, State.OPEN)
    victim = peer.say(peer.flight(envelope(authorized(**elsewhere)), ack=2))
    assert victim.verdict() == (Fault.ANSWER_INVALID, "response.request")
    assert not victim.seen(ResponseReceived)


def test_a_search_is_delivered_before_its_seal_and_proved_after_it(side: str) -> None:
    peer = bring(side, State.OPEN)
    victim = peer.say(peer.flight(SEARCH, SEARCH, sealed=False))
    requests = victim.seen(RequestReceived)
    assert [request.kind for request in requests] == [MARKETPLACE_SEARCH] * 2
    assert [request.evidence.receipt() for request in requests] == [None, None]
    assert not victim.seen(SpanSealed)

    peer.say(peer.flight(PAYMENT))
    assert [event.messages for event in victim.seen(SpanSealed)] == [2]
    payment = victim.seen(RequestReceived)[-1]
    assert payment.kind is PAYMENT_AUTHORIZE
    for request in (*requests, payment):
        assert_proves(peer, request.evidence.receipt(), request.received.envelope)


def assert_proves(peer: HostilePeer, receipt: Receipt | None, said: bytes) -> None:
    assert receipt is not None
    receipt.verify(peer.identity.certificate.verify_key)
    assert receipt.envelope == said
    assert receipt.signer == peer.identity.kid
    assert receipt.recipient == peer.victim_identity.kid


def test_a_span_that_stays_open_ends_the_session_after_a_minute(side: str) -> None:
    peer = bring(side, State.OPEN)
    peer.say(peer.flight(SEARCH, sealed=False))
    victim = peer.victim
    victim.advance(20.0)
    peer.say(peer.flight(controls=[v1.Control(ping=v1.Ping(token=1))], sealed=False))  # it lives
    victim.advance(39.0)
    peer.say(peer.flight(SEARCH, sealed=False))  # more messages do not put it off
    victim.advance(0.999)
    assert victim.verdict() is None
    victim.advance(0.001)
    assert victim.verdict() == (Fault.SEAL_OVERDUE, "span.time")


def test_a_seal_without_messages_closes_the_span(side: str) -> None:
    peer = bring(side, State.OPEN)
    peer.say(peer.flight(SEARCH, sealed=False))
    victim = peer.say(peer.flight())
    assert [event.messages for event in victim.seen(SpanSealed)] == [1]
    victim.advance(40.0)
    assert victim.verdict() is None
    assert victim.seen(RequestReceived)[0].evidence.receipt() is not None


def test_what_is_sealed_twice_is_one_span(side: str) -> None:
    """A second seal over nothing new is no event, and is charged as a flight that brings nothing."""
    peer = bring(side, State.OPEN)
    victim = peer.say(peer.flight(SEARCH))
    peer.say(peer.flight())
    assert not victim.seen(SpanSealed)  # delivered under its seal
    assert victim.verdict() is None
    assert isinstance(victim.seen(RequestReceived)[0].request, v1.RatatoskrRequest)
