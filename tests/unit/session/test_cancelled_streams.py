"""Streams that nobody wants any more: their items are dropped at both ends, and count all the same."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.errors import Disposition, Fault, WouldBlock
from ratatoskr.events import ItemReceived, RequestCancelled, RequestFailed, StreamEnded
from ratatoskr.messages import AnyKind, Direction
from tests.unit.messages.support import FEED, VAULT, end, envelope, failure, found, item
from tests.unit.session.support import Both, Hostile, note


@pytest.mark.parametrize("kind", [FEED, VAULT], ids=lambda kind: kind.name)
@pytest.mark.parametrize("last", ["alone", "with an item", "with an error"])
def test_items_after_a_cancel_are_dropped_at_both_ends(kind: AnyKind, last: str) -> None:
    both = Both()
    id, asked = both.stream(kind)
    session = both.server.session
    for at in range(3):
        session.respond(asked.id, note(at), last=False)
    under_way = both.server.output(both.now)
    both.client.session.cancel(id)
    cancelling = both.client.output(both.now)
    assert under_way is not None
    assert cancelling is not None
    both.client.input(under_way, both.now)
    assert not both.client.take_all(ItemReceived)
    session.respond(asked.id, note("waits"), last=False)
    both.server.input(cancelling, both.now)
    assert both.server.take(RequestCancelled).id is asked.id
    for _ in range(100):
        session.respond(asked.id, note("dropped"), last=False)  # it never blocks: nobody waits for it
    both.settle()
    assert len([each for flight in both.server.flights for each in flight.envelopes]) == 3
    if last == "with an error":
        session.fail(asked.id, failure())
    else:
        session.respond(asked.id, note("last") if last == "with an item" else None)
    both.settle()
    assert not both.client.take_all(ItemReceived)
    (outcome,) = both.client.outcomes(id)
    assert isinstance(outcome, RequestFailed if last == "with an error" else StreamEnded)
    both.run(1.0)
    assert both.server.session._answering.calls.open == 0


def test_a_blocked_stream_that_is_cancelled_is_told_of_that_and_of_no_room() -> None:
    both = Both()
    id, asked = both.stream(credit=1)
    both.server.session.respond(asked.id, note(), last=False)
    with pytest.raises(WouldBlock):
        both.server.session.respond(asked.id, note(), last=False)
    both.settle()
    both.client.session.cancel(id)
    both.client.session.grant(id, 5)
    both.settle()
    assert [type(each) for each in both.server.events] == [RequestCancelled]
    assert not any(each.HasField("grant") for flight in both.client.flights for each in flight.controls)


@pytest.mark.parametrize("given_up", [False, True])
@pytest.mark.parametrize(("count", "refused"), [(3, False), (4, False), (5, True)])
def test_items_that_are_dropped_count_against_the_credit(count: int, refused: bool, given_up: bool) -> None:
    hostile = Hostile(Direction.FROM_CLIENT)
    id = hostile.side.request(FEED, note(), credit=4, timeout=5.0)
    hostile.output()
    leaf = hostile.leaf(1)
    hostile.send(envelope(item(0, request_leaf=leaf)), ack=1)
    assert len(hostile.side.take_all(ItemReceived)) == 1
    if given_up:
        hostile.mono += 5.0
        hostile.output()
    else:
        hostile.side.session.cancel(id)
    items = [envelope(item(at, request_leaf=leaf)) for at in range(1, count)]
    if refused:
        assert hostile.refused(*items, ack=1) == (Fault.LIMIT_EXCEEDED, "stream.credit")
        return
    hostile.send(*items, ack=1)
    hostile.send(envelope(end(count, request_leaf=leaf)), ack=1)
    assert not hostile.side.take_all(ItemReceived)
    assert len(hostile.side.outcomes(id)) == 1
    assert hostile.side.session._inbox.delivered == count + 1, "and are acknowledged"


@pytest.mark.parametrize("then", ["end", "item", "error", "nothing"])
def test_an_item_that_makes_no_sense_ends_the_call_and_cancels_it(then: str) -> None:
    hostile = Hostile(Direction.FROM_CLIENT)
    id = hostile.side.request(FEED, note())
    hostile.output()
    leaf = hostile.leaf(1)
    answers = [item(0), item(1, payload=b"\xff"), item(2), item(3, payload=b"\xff")]
    hostile.send(*(envelope(_named(each, leaf)) for each in answers), ack=1)
    assert len(hostile.side.take_all(ItemReceived)) == 1
    outcome = hostile.side.failed(id)
    assert (outcome.failure.reason, outcome.failure.disposition) == ("ANSWER_INVALID", Disposition.MAYBE)
    assert outcome.evidence is not None
    hostile.output()
    assert hostile.side.cancelled == [1]
    last = {"end": end(4), "item": item(4, last=True), "error": item(4, last=True, error=v1.Error(code=1))}
    if then != "nothing":
        hostile.send(envelope(_named(last[then], leaf)), ack=1)
    assert hostile.side.session._asking.calls.empty is (then != "nothing")
    hostile.side.session.end(Fault.TRANSPORT_LOST)
    hostile.side.collect()
    assert len(hostile.side.outcomes(id)) == 1


def _named(answer: v1.RatatoskrResponse, leaf: bytes) -> v1.RatatoskrResponse:
    answer.request_leaf = leaf
    return answer


def test_nonsense_that_comes_with_its_end_cancels_nothing() -> None:
    hostile = Hostile(Direction.FROM_CLIENT)
    id = hostile.side.request(FEED, note())
    hostile.output()
    leaf = hostile.leaf(1)
    hostile.send(envelope(item(0, payload=b"\xff", request_leaf=leaf)), envelope(end(1, request_leaf=leaf)), ack=1)
    assert hostile.side.failed(id).failure.reason == "ANSWER_INVALID"
    hostile.mono += 1.0
    hostile.output()
    assert hostile.side.cancelled == []


def test_a_last_item_that_makes_no_sense_is_the_end() -> None:
    hostile = Hostile(Direction.FROM_CLIENT)
    id = hostile.side.request(FEED, note())
    hostile.output()
    hostile.send(envelope(item(0, payload=b"\xff", request_leaf=hostile.leaf(1), last=True)), ack=1)
    assert hostile.side.failed(id).failure.reason == "ANSWER_INVALID"
    hostile.output()
    assert hostile.side.cancelled == []


def test_nonsense_after_a_cancel_is_dropped_as_all_items_are() -> None:
    hostile = Hostile(Direction.FROM_CLIENT)
    id = hostile.side.request(FEED, note())
    hostile.output()
    hostile.side.session.cancel(id)
    hostile.send(envelope(item(0, payload=b"\xff", request_leaf=hostile.leaf(1))), ack=1)
    assert not hostile.side.outcomes(id)
    hostile.output()
    assert hostile.side.cancelled == [1]


def test_what_came_with_a_fault_is_no_outcome_and_cancels_nothing() -> None:
    hostile = Hostile(Direction.FROM_CLIENT)
    ids = [hostile.side.request(FEED, note()) for _ in range(2)]
    hostile.output()
    one, two = (hostile.leaf(number) for number in (1, 2))
    answers = [
        item(0, request_leaf=one, payload=b"\xff"),
        end(0, request_leaf=two, request_number=2),
        found(request_leaf=bytes(32)),
    ]
    assert hostile.refused(*map(envelope, answers), ack=2) == (Fault.ANSWER_INVALID, "response.request")
    hostile.side.session.end(Fault.ANSWER_INVALID)
    hostile.side.collect()
    assert {hostile.side.failed(id).failure.reason for id in ids} == {"ANSWER_INVALID"}
    assert all(hostile.side.failed(id).received is None for id in ids)
