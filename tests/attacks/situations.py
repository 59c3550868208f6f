"""A victim in each of its states."""

from __future__ import annotations

from typing import Any

from ratatoskr.connection import State
from ratatoskr.events import RequestId
from ratatoskr.messages.standard import MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE
from ratatoskr.v1 import AuthorizePayment, Money, Search
from tests.attacks.hostile import CLIENT, SERVER_SIDE, HostilePeer, make_victim

SITUATIONS = [
    (CLIENT, State.READY),
    (CLIENT, State.GREETED),
    (CLIENT, State.REQUESTED),
    (CLIENT, State.OPEN),
    (CLIENT, State.DRAINING),
    (CLIENT, State.CLOSING),
    (CLIENT, State.CLOSED),
    (SERVER_SIDE, State.LISTENING),
    (SERVER_SIDE, State.CHALLENGED),
    (SERVER_SIDE, State.DECIDING),
    (SERVER_SIDE, State.OPEN),
    (SERVER_SIDE, State.DRAINING),
    (SERVER_SIDE, State.CLOSING),
    (SERVER_SIDE, State.CLOSED),
]
"""Every state of every role."""


def ask(peer: HostilePeer) -> tuple[RequestId, RequestId]:
    """Let the victim ask two things: a deferred one, then a payment, which its flight puts first."""
    connection = peer.victim.connection
    search = connection.request(MARKETPLACE_SEARCH, Search(query="lamp"))
    payment = connection.request(
        PAYMENT_AUTHORIZE,
        AuthorizePayment(
            end_to_end_id="ORDER-1",
            debtor_account="DE89370400440532013000",
            creditor_account="FR7630006000011234567890189",
            amount=Money(currency="EUR", units=12),
        ),
    )
    peer.victim.drain()
    return search, payment


def bring(side: str, state: State, **changes: Any) -> HostilePeer:
    """A hostile peer whose victim is in that state; an open one has two requests on their way."""
    peer = HostilePeer(make_victim(side, **changes))
    match state:
        case State.READY:
            pass
        case State.GREETED | State.LISTENING:
            peer.victim.drain()
        case State.CHALLENGED:
            peer.begin()
        case State.DECIDING:
            peer.begin()
            peer.request()
        case State.REQUESTED:
            peer.challenge()
        case _:
            _past_opening(peer.open(), state)
    assert peer.victim.connection.state is state
    return peer


def _past_opening(peer: HostilePeer, state: State) -> None:
    victim = peer.victim
    victim.holds_writes = state is State.CLOSING  # its last words wait for the write that is under way
    ask(peer)
    match state:
        case State.DRAINING:
            victim.connection.close()
            victim.drain()
        case State.CLOSING:
            victim.feed(b"\x1f\0\0\6" + bytes(6))
        case State.CLOSED:
            victim.eof()
