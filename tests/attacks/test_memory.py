"""What a peer can make a connection hold is bounded: a thousand rounds cost no more than a hundred."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from ratatoskr import v1
from ratatoskr.connection import State
from ratatoskr.errors import Fault, WouldBlock
from ratatoskr.events import RequestExpired, RequestFailed, RequestReceived, ResponseReceived
from ratatoskr.limits import Limits
from ratatoskr.messages.standard import MARKETPLACE_SEARCH
from tests.attacks.hostile import SIDES, HostilePeer
from tests.attacks.situations import bring
from tests.attacks.victim import footprint
from tests.unit.messages.support import custom, envelope, failure, found, payment, search

pytestmark = pytest.mark.parametrize("side", SIDES)

Round = Callable[[HostilePeer], None]
SEARCH = envelope(search())
PAYMENT = envelope(payment())
LEEWAY = 4096
"""Bytes by which containers may differ from one moment to another."""


def asks_unknown_kinds(peer: HostilePeer) -> None:
    peer.say(peer.flight(envelope(custom(7, b"?")), ack=peer.heard()))
    peer.victim.advance(0.7)  # as fast as it may break rules


def asks_and_is_answered(peer: HostilePeer) -> None:
    victim = peer.say(peer.flight(PAYMENT, SEARCH, ack=peer.heard()))
    for event in victim.seen(RequestReceived):
        if event.kind is MARKETPLACE_SEARCH:
            victim.connection.respond(event.id, v1.SearchResult())
        else:
            victim.connection.respond(event.id, v1.PaymentAuthorized())
    victim.drain()


def stop_late_handlers(peer: HostilePeer) -> int:
    """The time of all requests runs out, and their handlers end."""
    victim = peer.victim
    victim.advance(31.0)
    expired = victim.seen(RequestExpired)
    for event in expired:
        victim.connection.fail(event.id, failure("STOPPED"))
    victim.drain()
    return len(expired)


def asks_and_is_not_answered(peer: HostilePeer) -> None:
    peer.say(peer.flight(PAYMENT, SEARCH, ack=peer.heard()))
    assert stop_late_handlers(peer) == 2


def seals_nothing_for_long(peer: HostilePeer) -> None:
    for _ in range(3):
        peer.say(peer.flight(SEARCH, sealed=False, ack=peer.heard()))
    peer.say(peer.flight(ack=peer.heard()))
    assert stop_late_handlers(peer) == 3


def pings(peer: HostilePeer) -> None:
    peer.say(peer.flight(controls=[v1.Control(ping=v1.Ping(token=1))], ack=peer.heard()))
    peer.victim.advance(0.2)


def answers(peer: HostilePeer) -> None:
    victim = peer.victim
    peer.hear()
    victim.connection.request(MARKETPLACE_SEARCH, v1.Search(query="lamp"))
    victim.drain()
    (flight,) = [flight for flight in peer.hear() if flight.envelopes]
    leaf = peer.leaves[flight.first_number]
    answer = found(request_number=flight.first_number, request_leaf=leaf)
    peer.say(peer.flight(envelope(answer), ack=peer.heard()))
    victim.advance(0.3)
    assert victim.seen(ResponseReceived)


FLOODS: list[Round] = [
    asks_unknown_kinds,
    asks_and_is_answered,
    asks_and_is_not_answered,
    seals_nothing_for_long,
    pings,
    answers,
]


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__)
def test_rounds_leave_nothing_behind(side: str, flood: Round) -> None:
    peer = HostilePeer(side).open()
    sizes = []
    for rounds in (100, 300):
        for _ in range(rounds):
            flood(peer)
            assert peer.victim.connection.state is State.OPEN, peer.victim.closed
            peer.victim.events.clear()
        sizes.append(footprint(peer.victim.connection))
    assert sizes[1] <= sizes[0] + LEEWAY, f"{sizes[0]} bytes after 100 rounds, {sizes[1]} after 400"


def test_who_never_acknowledges_answers_runs_out_of_slots(side: str) -> None:
    """The answers to its unknown kinds hold its slots, so they are no more than its slots."""
    limits = Limits(errors_per_minute=1000)
    peer = bring(side, State.OPEN, limits=limits)
    victim = peer.victim
    for _ in range(limits.requests_open):
        peer.say(peer.flight(envelope(custom(7, b"?"))))
    assert victim.verdict() is None
    peer.say(peer.flight(envelope(custom(7, b"?"))))
    assert victim.verdict() == (Fault.LIMIT_EXCEEDED, "requests.open")


def test_who_asks_too_much_at_once_runs_out_of_bytes(side: str) -> None:
    limits = Limits(request_bytes_open=100_000)
    peer = bring(side, State.OPEN, limits=limits)
    large = envelope(search(payload=v1.Search(page_token=bytes(60_000)).SerializeToString()))
    victim = peer.say(peer.flight(large, ack=2))
    assert victim.verdict() is None
    peer.say(peer.flight(large, ack=2))
    assert victim.verdict() == (Fault.LIMIT_EXCEEDED, "requests.open")


def test_who_never_answers_costs_slots_and_a_queue(side: str) -> None:
    """Every request times out, slots stay taken, the queue fills: then the application is told, and no more is held."""
    limits = Limits(requests_open=4, requests_queued=8)
    peer = bring(side, State.OPEN, limits=limits)
    victim, asked = peer.victim, 2
    sizes = []
    for _ in range(3):
        with suppress(WouldBlock):
            for _ in range(100):
                victim.connection.request(MARKETPLACE_SEARCH, v1.Search(), timeout=5)
                asked += 1
                victim.drain()
        with pytest.raises(WouldBlock, match="Writable"):
            victim.connection.request(MARKETPLACE_SEARCH, v1.Search())
        for _ in range(4):
            victim.advance(10.0)
            peer.say(peer.flight(ack=peer.heard()))
        sizes.append(footprint(victim.connection))
    assert len(victim.seen(RequestFailed)) == asked
    assert sizes[2] <= sizes[1] + LEEWAY
