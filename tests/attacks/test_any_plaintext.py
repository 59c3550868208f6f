"""Anything that an authenticated peer protects correctly: nothing is raised, and what is valid is all that counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratatoskr.connection import State
from ratatoskr.errors import Disposition, Fault, FaultClass
from ratatoskr.events import Closed, Event, RequestFailed, RequestReceived, ResponseReceived
from ratatoskr.identity import VerifyKey
from tests.attacks.hostile import SIDES, HostilePeer
from tests.attacks.plans import Asked, Plan, good_plans, plans
from tests.attacks.situations import bring
from tests.unit.messages.support import envelope, payment, search

pytestmark = pytest.mark.parametrize("side", SIDES)
STATES = (State.OPEN, State.DRAINING)


def summary(event: Event) -> tuple[Any, ...]:
    """What is the same in two sessions."""
    match event:
        case RequestReceived():
            return ("request", event.kind, event.message.SerializeToString(), event.metadata)
        case ResponseReceived():
            return ("response", event.received.number, event.message.SerializeToString(), event.replayed)
        case RequestFailed():
            return ("failed", event.failure)
        case Closed():
            return ("closed", event.fault, event.rule)
        case _:
            return (type(event).__name__,)


def judge(peer: HostilePeer) -> None:
    """What must hold whatever was said: sealed kinds only under a true seal, one outcome for each call, one Closed."""
    victim = peer.victim
    closed = victim.finish()
    key: VerifyKey = peer.identity.certificate.verify_key
    for event in victim.events:
        if isinstance(event, RequestReceived | ResponseReceived):
            receipt = event.evidence.receipt()
            if event.received.kind is not None and event.received.kind.sealed:
                assert receipt is not None, f"{event} was delivered without a seal"
            if receipt is not None:
                receipt.verify(key)
                assert receipt.session_id == peer.session_id
                assert receipt.envelope == event.received.envelope
    outcomes = [event.id for event in victim.events if isinstance(event, ResponseReceived | RequestFailed)]
    assert len(outcomes) == len(set(outcomes)) == 2
    for failed in victim.seen(RequestFailed):
        if failed.received is None:
            assert failed.failure.disposition is Disposition.MAYBE
    assert sum(isinstance(event, Closed) for event in victim.events) == 1
    if closed.fault.cls is FaultClass.SESSION and closed.fault is not Fault.DISCONNECTED:
        assert peer.hear()[-1].controls[-1].disconnect.code == closed.code


@pytest.mark.parametrize("state", STATES)
@given(plaintexts=st.lists(st.one_of(st.binary(max_size=80), st.binary(min_size=4000, max_size=6000)), max_size=4))
@settings(max_examples=100)
def test_any_plaintext(side: str, state: State, plaintexts: list[bytes]) -> None:
    peer = bring(side, state)
    for plaintext in plaintexts:
        peer.say(plaintext)
    judge(peer)


@pytest.mark.parametrize("state", STATES)
@given(
    plan=st.lists(plans, min_size=1, max_size=5),
    chunks=st.lists(st.integers(1, 300), max_size=3),
    pauses=st.lists(st.sampled_from([0.0, 0.01, 0.3, 16.0, 31.0]), min_size=5, max_size=5),
)
@settings(max_examples=250)
def test_any_flight(side: str, state: State, plan: list[Plan], chunks: list[int], pauses: list[float]) -> None:
    peer = bring(side, state)
    asked = Asked.of(peer)
    for each, pause in zip(plan, pauses, strict=False):
        peer.say(each.render(peer, asked), chunks)
        peer.victim.advance(pause)
    judge(peer)


@given(plan=st.lists(st.one_of(plans, good_plans), min_size=1, max_size=5), chunks=st.lists(st.integers(1, 90)))
@settings(max_examples=120)
def test_whole_and_in_pieces_give_the_same_events(side: str, plan: list[Plan], chunks: list[int]) -> None:
    seen = []
    for sizes in ([], chunks, [1]):
        peer = bring(side, State.OPEN)
        asked = Asked.of(peer)
        stream = b"".join(peer.record(each.render(peer, asked)) for each in plan)
        peer.victim.feed(stream, sizes)
        peer.victim.finish()
        seen.append([summary(event) for event in peer.victim.events])
    assert seen[0] == seen[1] == seen[2]


@given(good=st.lists(good_plans, min_size=1, max_size=4), bad=plans, whole=st.booleans())
@settings(max_examples=100)
def test_what_came_before_the_fault_is_delivered(side: str, good: list[Plan], bad: Plan, *, whole: bool) -> None:
    """Valid flights before an invalid one count, even where all came in one chunk."""
    peer = bring(side, State.OPEN)
    asked = Asked.of(peer)
    stream = b"".join(peer.record(each.render(peer, asked)) for each in good)
    expected = sum(len(each.envelopes) for each in good)
    forged = peer.record(bad.render(peer, asked))
    if whole:
        peer.victim.feed(stream + forged)
    else:
        peer.victim.feed(stream)
        peer.victim.feed(forged)
    assert len(peer.victim.seen(RequestReceived)) >= expected
    judge(peer)


def test_a_honest_plan_is_taken_whole(side: str) -> None:
    """The plans are not refused for a reason of their own."""
    peer = bring(side, State.OPEN)
    asked = Asked.of(peer)
    plan = Plan((lambda _: envelope(search()), lambda _: envelope(payment())))
    for _ in range(3):
        peer.say(plan.render(peer, asked))
    assert len(peer.victim.seen(RequestReceived)) == 6
    assert peer.victim.connection.state is State.OPEN
    judge(peer)
