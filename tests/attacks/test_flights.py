"""Whatever an authenticated peer puts into a flight: one clear Closed that names the rule, and nothing delivered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.connection import State
from ratatoskr.errors import Disposition, Fault
from ratatoskr.events import RequestFailed, RequestReceived, ResponseReceived
from ratatoskr.messages import Rule
from tests.attacks.hostile import SIDES, HostilePeer
from tests.attacks.situations import bring
from tests.unit.messages.support import authorized, custom, envelope, failure, field, found, payment, search

Make = Callable[[HostilePeer], v1.Flight | bytes]

SEARCH = envelope(search())
PAYMENT = envelope(payment())


def plain(*envelopes: bytes, **fields: Any) -> Make:
    return lambda peer: peer.flight(*envelopes, **fields)


def asked(peer: HostilePeer) -> dict[str, Any]:
    """Where the victim's payment stands: number 1."""
    peer.hear()
    return {"request_number": 1, "request_leaf": peer.leaves[1]}


def answer(**changes: Any) -> Make:
    """An answer to the victim's payment, with something wrong in it."""
    return lambda peer: peer.flight(envelope(authorized(**(asked(peer) | changes))), ack=2)


def answered_twice(peer: HostilePeer) -> v1.Flight:
    once = envelope(authorized(**asked(peer)))
    return peer.flight(once, once, ack=2)


def unsealed_before(count: int) -> Make:
    """So many deferred requests in earlier flights, none of them under a seal."""

    def make(peer: HostilePeer) -> v1.Flight:
        for _ in range(count):
            assert peer.say(peer.flight(SEARCH, sealed=False)).connection.state is State.OPEN
            peer.victim.events.clear()
        return peer.flight(SEARCH, sealed=False)

    return make


def controls(*controls: v1.Control) -> Make:
    return lambda peer: peer.flight(controls=controls)


def after_disconnect(peer: HostilePeer) -> v1.Flight:
    peer.say(peer.flight(controls=[v1.Control(disconnect=v1.Disconnect())]))
    return peer.flight(PAYMENT)


def ack_taken_back(peer: HostilePeer) -> v1.Flight:
    peer.say(peer.flight(ack=2))
    return peer.flight(ack=1)


def seal(**changes: Any) -> Make:
    def make(peer: HostilePeer) -> v1.Flight:
        flight = peer.flight(PAYMENT)
        flight.seal.MergeFrom(v1.Seal(**changes))
        return flight

    return make


PING = v1.Control(ping=v1.Ping(token=1))
METADATA = [v1.MetadataEntry(name="n", value="v" * 230)] * 32

BROKEN: dict[str, tuple[Make, str]] = {
    "no flight": (lambda _: b"\xff" * 20, "flight.malformed"),
    "nothing": (lambda _: b"", "flight.number"),
    "a megabyte of empty controls": (lambda _: field(5, b"") * 100_000, "flight.budget"),
    "nested groups": (lambda _: b"\x0b" * 5000, "flight.budget"),
    "a number again": (plain(first_number=0), "flight.number"),
    "a number left out": (plain(SEARCH, first_number=2), "flight.number"),
    "the last number there is": (plain(SEARCH, first_number=(1 << 64) - 1), "flight.number"),
    "too many envelopes": (plain(*[SEARCH] * 257), "flight.count"),
    "too many controls": (controls(*[PING] * 17), "flight.controls"),
    "a hop of no envelope": (plain(hops=[v1.Hop(index=0)]), "flight.hops"),
    "a hop past the envelopes": (plain(SEARCH, hops=[v1.Hop(index=1)]), "flight.hops"),
    "a hop twice": (plain(SEARCH, hops=[v1.Hop(index=0)] * 2), "flight.hops"),
    "hops out of order": (plain(SEARCH, SEARCH, hops=[v1.Hop(index=1), v1.Hop(index=0)]), "flight.hops"),
    "a hop of years": (plain(SEARCH, hops=[v1.Hop(timeout_ms=(1 << 32) - 1)]), "flight.hops"),
    "a span without end": (unsealed_before(256), "span.length"),
    "an empty envelope": (plain(b""), "envelope.form"),
    "an envelope of form 0": (plain(b"\0" + SEARCH[1:]), "envelope.form"),
    "an envelope of form 3": (plain(b"\3" + SEARCH[1:]), "envelope.form"),
    "an envelope of noise": (plain(b"\1" + b"\xff" * 9), "envelope.malformed"),
    "a payment with an unknown field": (plain(PAYMENT + field(99, 1)), "envelope.canonical"),
    "a payment with a field twice": (plain(PAYMENT + PAYMENT[1:]), "envelope.canonical"),
    "an envelope too long": (plain(envelope(search(payload=bytes(240 * 1024)))), "envelope.length"),
    "an envelope of crumbs": (plain(SEARCH + field(7, b"") * 5000), "envelope.budget"),
    "a connection request": (plain(envelope(search(type=1))), "request.type"),
    "a connection response": (plain(envelope(search(type=2))), "request.type"),
    "no type": (plain(envelope(search(type=0))), "request.type"),
    "a negative type": (plain(envelope(search(type=-5))), "request.type"),
    "a short nonce": (plain(envelope(search(nonce=bytes(range(15))))), "request.nonce"),
    "a long nonce": (plain(envelope(search(nonce=bytes(range(17))))), "request.nonce"),
    "a nonce of zeros": (plain(envelope(search(nonce=bytes(16)))), "request.nonce"),
    "too many metadata": (plain(envelope(search(metadata=[v1.MetadataEntry()] * 33))), "request.metadata"),
    "too much metadata": (plain(envelope(search(metadata=METADATA))), "request.metadata"),
    "a short leaf": (answer(request_leaf=b"short"), "response.leaf"),
    "another leaf": (answer(request_leaf=bytes(32)), "response.request"),
    "an answer to nothing": (answer(request_number=3), "response.request"),
    "an answer to another kind": (answer(operation=2), "response.request"),
    "an answer of an unknown kind": (answer(operation=99), "response.request"),
    "an answer twice": (answered_twice, "response.request"),
    "an answer with nothing in it": (plain(b"\2" + field(2, bytes(32))), "response.result"),
    "a stream's item": (answer(index=1), "response.unary"),
    "an answer without end": (answer(last=False), "response.unary"),
    "an error among items": (
        plain(envelope(found(operation=5, last=False, error=v1.Error(code=5)))),
        "response.error",
    ),
    "a cancel of nothing": (controls(v1.Control(cancel=v1.Cancel(request_number=1))), "control.number"),
    "a grant of nothing": (controls(v1.Control(grant=v1.Grant(request_number=1, items=9))), "control.number"),
    "an error with a book in it": (
        answer(error=v1.Error(code=3, violations=[v1.FieldViolation(field="f")] * 9)),
        "response.violations",
    ),
    "an answer to what it has not read": (
        lambda peer: peer.flight(envelope(authorized(**asked(peer)))),
        "flight.ack",
    ),
    "an ack of the future": (plain(ack=3), "flight.ack"),
    "an ack of eternity": (plain(ack=(1 << 64) - 1), "flight.ack"),
    "an ack taken back": (ack_taken_back, "flight.ack"),
    "a payment without a seal": (plain(PAYMENT, sealed=False), "seal.missing"),
    "an answer without a seal": (
        lambda peer: peer.flight(envelope(authorized(**asked(peer))), ack=2, sealed=False),
        "seal.missing",
    ),
    "a seal of another suite": (seal(signature_suite=2), "seal.form"),
    "a seal cut short": (seal(signature=bytes(63)), "seal.form"),
    "a seal of zeros": (seal(signature=bytes(64)), "seal.signature"),
    "a seal of another time": (seal(signed_at_ms=1), "seal.signature"),
    "a message after the last word": (after_disconnect, "disconnect.final"),
    "an end with a fault": (controls(v1.Control(disconnect=v1.Disconnect(code=4440))), "disconnect.fault"),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", BROKEN)
def test_a_flight_that_breaks_a_rule_ends_the_session_by_its_name(side: str, name: str) -> None:
    make, rule = BROKEN[name]
    ends = []
    for in_pieces in (False, True):
        peer = bring(side, State.OPEN)
        flight = make(peer)
        peer.hear()
        size = len(flight) if isinstance(flight, bytes) else flight.ByteSize()
        victim = peer.say(flight, [1 + size // 10_000] if in_pieces else [])
        closed = victim.closed
        assert closed is not None, victim.events
        ends.append(closed.rule)

        # nothing was delivered, and each request of the victim's has one outcome
        assert not victim.seen(RequestReceived)
        assert not victim.seen(ResponseReceived)
        failed = victim.seen(RequestFailed)
        assert [event.failure.disposition for event in failed] == [Disposition.MAYBE] * 2
        assert len({event.id for event in failed}) == 2

        # the peer is told the fault, in a sealed flight of its own, and nothing else
        last = peer.hear()[-1]
        assert last.HasField("seal")
        assert not last.envelopes
        (control,) = last.controls
        assert control.disconnect.code == closed.code
        assert control.disconnect.reason == rule
        (disconnect,) = victim.disconnects
        assert disconnect.code == closed.code
        assert not disconnect.abort
    assert ends == [rule, rule]


def test_the_table_names_every_rule_that_ends_a_session() -> None:
    rules = {rule.id for rule in Rule if rule.fault is not None}
    assert rules <= {rule for _, rule in BROKEN.values()}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("flood", [[PING], [v1.Control()], [v1.Control(pong=v1.Pong())], []], ids=str)
def test_a_flood_of_nothing_ends_the_session(side: str, flood: list[v1.Control]) -> None:
    """Twenty at once are within the rule, the twenty-first is not; a second later ten more are."""
    peer = bring(side, State.OPEN)
    for count in (20, 10):
        for _ in range(count):
            assert peer.say(peer.flight(controls=flood)).connection.state is State.OPEN
        peer.victim.advance(1.0 if count == 20 else 0.0)
    victim = peer.say(peer.flight(controls=flood))
    closed = victim.closed
    assert closed is not None
    assert (closed.fault, closed.rule) == (Fault.LIMIT_EXCEEDED, "controls.rate")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "request_",
    [
        custom(1, b""),
        search(operation=99),
        search(payload=b"\xff"),
        search("x" * 257),
        search(expires_at_ms=1),
        payment(nonce=bytes(range(16))),
        payment(payload=b"\xff"),
        payment(payload=b""),
    ],
    ids=[
        "unknown type",
        "unknown operation",
        "malformed",
        "schema",
        "expired",
        "nonce of other key",
        "malformed payment",
        "empty payment",
    ],
)
def test_a_fault_of_one_call_ends_that_call_alone(side: str, request_: v1.RatatoskrRequest) -> None:
    peer = bring(side, State.OPEN)
    peer.hear()
    victim = peer.say(peer.flight(SEARCH, envelope(request_), SEARCH, ack=2))
    assert len(victim.seen(RequestReceived)) == 2
    assert victim.connection.state is State.OPEN
    (flight,) = peer.hear()
    (error,) = [v1.RatatoskrResponse.FromString(each[1:]) for each in flight.envelopes]
    assert error.request_number == 2
    assert error.error.disposition == v1.DISPOSITION_NOT_PROCESSED
    assert (error.type, error.operation) == (request_.type, request_.operation)
    if (request_.type, request_.operation) != (10, 1):
        assert flight.HasField("seal")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("changes", "disposition"),
    [
        ({"payload": b"\xff"}, Disposition.MAYBE),
        ({"payload": b""}, Disposition.MAYBE),
        ({"payload": v1.PaymentAuthorized(payment_id="p").SerializeToString() + field(99, 1)}, Disposition.MAYBE),
        ({"error": v1.Error()}, Disposition.MAYBE),
        ({"error": v1.Error(code=99, disposition=v1.Disposition.ValueType(99))}, Disposition.MAYBE),
        ({"error": v1.Error(code=3, reason="NO", disposition=v1.DISPOSITION_FAILED)}, Disposition.FAILED),
    ],
)
def test_an_answer_of_nonsense_fails_its_call_alone(
    side: str, changes: dict[str, Any], disposition: Disposition
) -> None:
    peer = bring(side, State.OPEN)
    victim = peer.say(answer(**changes)(peer))
    (failed,) = victim.seen(RequestFailed)
    assert failed.failure.disposition is disposition
    assert failed.evidence is not None
    assert failed.evidence.receipt() is not None
    assert victim.connection.state is State.OPEN


def test_failures_of_the_peer_are_named_as_they_came() -> None:
    peer = bring("client", State.OPEN)
    error = v1.Error(code=9, reason="NO_FUNDS", message="no", disposition=v1.DISPOSITION_FAILED, retry_delay_ms=1500)
    victim = peer.say(answer(error=error)(peer))
    (failed,) = victim.seen(RequestFailed)
    assert failed.failure == failure("NO_FUNDS", retry_delay=1.5)
