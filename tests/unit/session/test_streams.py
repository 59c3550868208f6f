"""Streams: their items come in order and are proven, their ends are one, and no more wait than there is room for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratatoskr import v1
from ratatoskr.errors import LocalProtocolError, WouldBlock
from ratatoskr.events import (
    ItemReceived,
    RequestExpired,
    RequestFailed,
    RequestId,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    Writable,
)
from ratatoskr.limits import MAX_CREDIT, Limits
from ratatoskr.messages import AnyKind, Direction
from ratatoskr.session import Session
from tests.unit.messages.support import (
    FEED,
    PLAIN,
    SERVER,
    VAULT,
    envelope,
    failure,
    item,
    leaf_by_hand,
    verify_key,
)
from tests.unit.session.support import Both, Hostile, Outcome, Side, note, send


def answers(side: Side) -> list[v1.RatatoskrResponse]:
    """All answers that a side sent."""
    sent = [each for flight in side.flights for each in flight.envelopes if each[:1] == b"\2"]
    return [v1.RatatoskrResponse.FromString(each[1:]) for each in sent]


# Items, and the end


@pytest.mark.parametrize("kind", [FEED, VAULT], ids=lambda kind: kind.name)
def test_items_come_in_order_and_become_provable(kind: AnyKind) -> None:
    both = Both()
    id, asked = both.stream(kind)
    send(both.server.session, asked.id, 5)
    both.server.session.respond(asked.id)
    both.run(1.0)
    items = both.client.take_all(ItemReceived)
    assert [each.message for each in items] == [note(at) for at in range(5)]
    assert {each.id for each in items} == {id}
    ended = both.client.take(StreamEnded)
    assert ended.id is id
    assert not both.client.outcomes(id), "the end is the one outcome"
    for proof in [*(each.evidence for each in items), ended.evidence]:
        receipt = proof.receipt()
        assert receipt is not None
        receipt.verify(verify_key(SERVER))
    with_items = [flight for flight in both.server.flights if flight.envelopes]
    assert all(flight.HasField("seal") for flight in with_items) is kind.sealed
    assert repr(items[0]) == f"ItemReceived({kind})"


def test_answers_of_a_stream_are_counted_and_name_the_same_question() -> None:
    both = Both()
    _, asked = both.stream()
    send(both.server.session, asked.id, 3)
    both.server.session.respond(asked.id, note("last"))
    both.settle()
    leaf = leaf_by_hand(1, both.client.flights[0].envelopes[0])
    assert [(each.index, each.last, each.request_number, each.request_leaf) for each in answers(both.server)] == [
        (0, False, 1, leaf),
        (1, False, 1, leaf),
        (2, False, 1, leaf),
        (3, True, 1, leaf),
    ]


ENDS: dict[str, tuple[Callable[[Session, RequestId], None], type[Outcome], list[str]]] = {
    "alone": (lambda session, id: session.respond(id), StreamEnded, []),
    "with an item": (lambda session, id: session.respond(id, note("last")), StreamEnded, ["last"]),
    "with an error": (lambda session, id: session.fail(id, failure("BROKE")), RequestFailed, []),
}


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("how", ENDS)
def test_a_stream_ends_once(how: str, count: int) -> None:
    finish, outcome, last = ENDS[how]
    both = Both()
    id, asked = both.stream()
    send(both.server.session, asked.id, count)
    finish(both.server.session, asked.id)
    both.settle()
    assert both.client.words() == [*map(str, range(count)), *last]
    (ended,) = both.client.outcomes(id)
    assert isinstance(ended, outcome)
    if isinstance(ended, RequestFailed):
        assert ended.failure == failure("BROKE")
    with pytest.raises(LocalProtocolError, match="is answered already"):
        both.server.session.respond(asked.id, note(), last=False)
    with pytest.raises(LocalProtocolError, match="is answered already"):
        both.server.session.respond(asked.id)
    both.run(1.0)
    assert both.server.session._answering.calls.open == 0
    assert both.client.session._asking.calls.empty


@pytest.mark.parametrize("how", ENDS)
def test_the_end_goes_out_behind_the_items_that_wait(how: str) -> None:
    """A hundred items are more than one flight takes."""
    finish, outcome, last = ENDS[how]
    both = Both()
    id, asked = both.stream(credit=100)
    send(both.server.session, asked.id, 100)
    finish(both.server.session, asked.id)
    both.settle()
    assert len([flight for flight in both.server.flights if flight.envelopes]) > 1
    assert both.client.words() == [*map(str, range(100)), *last]
    assert [type(each) for each in both.client.outcomes(id)] == [outcome]


@pytest.mark.parametrize("how", ENDS)
def test_the_end_needs_no_credit_and_no_room(how: str) -> None:
    finish, outcome, last = ENDS[how]
    both = Both(Limits(item_bytes_queued=1, outbox_messages=1))
    id, asked = both.stream(credit=1)
    send(both.server.session, asked.id, 1)
    finish(both.server.session, asked.id)
    both.settle()
    assert both.client.words() == ["0", *last]
    assert [type(each) for each in both.client.outcomes(id)] == [outcome]


def test_the_last_answer_is_acknowledged_when_its_end_is_taken() -> None:
    """It brings two events, and its number is that of the second."""
    hostile = Hostile(Direction.FROM_CLIENT)
    session = hostile.side.session
    session.request(FEED, note())
    hostile.output()
    session.receive(hostile.forger.flight(envelope(item(last=True, request_leaf=hostile.leaf(1))), ack=1), hostile.now)
    assert isinstance(session.take(), ItemReceived)
    assert session._inbox.delivered == 0
    assert isinstance(session.take(), StreamEnded)
    assert session._inbox.delivered == 1


def test_both_sides_may_ask_for_streams() -> None:
    both = Both()
    id = both.server.request(VAULT, note())
    both.settle()
    asked = both.client.take(RequestReceived)
    send(both.client.session, asked.id, 2)
    both.client.session.respond(asked.id)
    both.settle()
    assert both.server.words() == ["0", "1"]
    assert [type(each) for each in both.server.outcomes(id)] == [StreamEnded]


def test_a_unary_answer_is_no_stream_and_a_stream_no_unary_answer() -> None:
    both = Both()
    both.client.request(PLAIN, note())
    both.client.request(FEED, note())
    both.settle()
    plain, feed = both.server.take_all(RequestReceived)
    session = both.server.session
    with pytest.raises(LocalProtocolError, match="PLAIN is no stream: it has one answer, which is the last"):
        session.respond(plain.id, note(), last=False)
    with pytest.raises(LocalProtocolError, match="PLAIN is answered by a GoAway; this is nothing"):
        session.respond(plain.id)
    with pytest.raises(LocalProtocolError, match="FEED is answered by a GoAway; this is nothing"):
        session.respond(feed.id, last=False)
    with pytest.raises(LocalProtocolError, match="FEED is answered by a GoAway; this is a Search"):
        session.respond(feed.id, v1.Search(), last=False)
    session.respond(plain.id, note("one"))
    session.respond(feed.id)
    both.settle()
    assert both.client.take(ResponseReceived).message == note("one")
    assert len(both.client.take_all(StreamEnded)) == 1


def test_an_item_that_is_too_long_changes_nothing() -> None:
    both = Both(Limits(envelope_bytes=5000))
    _, asked = both.stream()
    with pytest.raises(LocalProtocolError, match=r"the answer has \d+ bytes; Limits.envelope_bytes is 5000"):
        both.server.session.respond(asked.id, note("x" * 5000), last=False)
    both.server.session.respond(asked.id, note("short"))
    both.settle()
    assert both.client.words() == ["short"]


# Bounds


def item_bytes(text: str = "0") -> int:
    """The envelope of an item of the first request that says so much."""
    return len(envelope(item(0, payload=note(text).SerializeToString())))


@pytest.mark.parametrize(("more", "blocks"), [(-1, False), (0, False), (1, True)])
def test_bytes_of_items_that_wait_are_bounded(more: int, blocks: bool) -> None:
    both = Both(Limits(item_bytes_queued=10_000))
    _, asked = both.stream()
    first = "x" * 5000
    both.server.session.respond(asked.id, note(first), last=False)
    frame = item_bytes("x" * 4000) - 4000 + 2  # an index beside 0
    second = note("x" * (10_000 - item_bytes(first) - frame + more))
    if blocks:
        with pytest.raises(WouldBlock, match=r"items of \d+ bytes wait to be sent"):
            both.server.session.respond(asked.id, second, last=False)
        assert not both.server.take_all(Writable)
        both.settle()
        assert [each.id for each in both.server.take_all(Writable)] == [asked.id]
    both.server.session.respond(asked.id, second, last=False)
    assert both.server.session._sender.streams._bytes <= 10_000
    both.settle()
    assert len(both.client.words()) == 2


def test_an_item_that_is_longer_than_all_that_may_wait_goes_alone() -> None:
    both = Both(Limits(item_bytes_queued=100))
    _, asked = both.stream()
    for _ in range(2):
        both.server.session.respond(asked.id, note("x" * 1000), last=False)
        with pytest.raises(WouldBlock):
            both.server.session.respond(asked.id, note(), last=False)
        both.settle()
        both.server.take(Writable)
    assert len(both.client.words()) == 2


def full(side: Side) -> list[int]:
    """Build flights, which nobody receives, until there is nothing to say: how many items each holds."""
    counts = []
    while side.output(Both(bind=False).now) is not None:
        counts.append(len(side.flights[-1].envelopes))
    return counts


@pytest.mark.parametrize("places", [1, 2, 5])
def test_items_are_sent_while_the_outbox_has_places(places: int) -> None:
    """And again when the peer acknowledges."""
    both = Both(Limits(outbox_messages=places))
    _, asked = both.stream()
    send(both.server.session, asked.id, places + 3)
    assert full(both.server) == [places]
    for flight in list(both.server.flights):
        both.client.input(flight.SerializeToString(), both.now)
    assert len(both.client.words()) == places
    both.run(1.0)
    assert len(both.client.words()) == 3


@pytest.mark.parametrize(("more", "sent"), [(-1, 2), (0, 2), (1, 3)])
def test_items_are_sent_while_the_outbox_has_bytes(more: int, sent: int) -> None:
    """The one that exceeds them is sent; those behind it wait."""
    size = item_bytes("x" * 1000)
    both = Both(Limits(outbox_bytes=2 * size + 2 + more))  # the second has an index beside 0
    _, asked = both.stream()
    send(both.server.session, asked.id, 4, "x" * 1000)
    assert full(both.server) == [sent]


def test_requests_and_answers_find_a_place_in_a_full_outbox() -> None:
    both = Both(Limits(outbox_messages=1, outbox_bytes=1))
    _, asked = both.stream()
    both.client.request(PLAIN, note())
    both.settle()
    send(both.server.session, asked.id, 2)
    assert full(both.server) == [1]
    both.server.session.respond(both.server.take(RequestReceived).id, note())
    both.server.request(PLAIN, note())
    assert full(both.server) == [2]


def test_a_reader_that_takes_nothing_costs_no_more_than_the_limits() -> None:
    """Its credit is endless, its application takes no event; ours sends whenever there is room."""
    limits = Limits(item_bytes_queued=20_000, outbox_bytes=50_000, stream_credit_ahead=MAX_CREDIT)
    both = Both(limits)
    asked = [both.stream(credit=MAX_CREDIT)[1] for _ in range(3)]
    longest, sent = 0, 0
    text = "x" * 1000
    for _ in range(1000):
        for each in asked:
            try:
                both.server.session.respond(each.id, note(text), last=False)
            except WouldBlock:
                pass
            else:
                sent += 1
        flight = both.server.output(both.now)
        if flight is not None:
            both.client.session.receive(flight, both.now)
        held = both.server.session._sender._outbox.bytes + both.server.session._sender.streams._bytes
        longest = max(longest, held)
    assert longest <= limits.item_bytes_queued + limits.outbox_bytes + item_bytes(text) + 5
    assert sent * 1000 <= longest
    both.client.collect()
    both.run(0.1)
    assert len(both.client.words()) == sent, "nothing is lost, and it goes on"
    assert len(both.server.take_all(Writable)) >= 1


def test_streams_take_turns() -> None:
    both = Both()
    asked = [both.stream()[1] for _ in range(3)]
    send(both.server.session, asked[0].id, 9, "a")
    send(both.server.session, asked[1].id, 2, "b")
    send(both.server.session, asked[2].id, 4, "c")
    both.settle()
    assert "".join(both.client.words()) == "abcabcacacaaaaa"


def test_room_that_a_cancelled_or_expired_stream_leaves_is_told_to_others() -> None:
    """Nobody acknowledges, so nothing else would tell them."""
    for gone in ("cancel", "expire"):
        both = Both(Limits(item_bytes_queued=2000, outbox_messages=1, requests_open=20))
        (id, hog), (_, other) = both.stream(timeout=5.0), both.stream()
        send(both.server.session, hog.id, 2, "x" * 900)
        assert full(both.server) == [1]
        both.server.session.respond(hog.id, note("x" * 900), last=False)
        with pytest.raises(WouldBlock, match="bytes wait"):
            both.server.session.respond(other.id, note("x" * 900), last=False)
        if gone == "cancel":
            both.client.session.cancel(id)
            cancel = both.client.output(both.now)
            assert cancel is not None
            both.server.input(cancel, both.now)
        else:
            both.advance(5.0)
            both.server.output(both.now)
            both.server.take(RequestExpired)
        assert [each.id for each in both.server.take_all(Writable)] == [other.id], gone


def test_room_is_told_when_the_item_that_was_refused_has_room() -> None:
    """Half of the bytes may be free and still be too few."""
    both = Both(Limits(item_bytes_queued=1000, outbox_messages=2))
    _, asked = both.stream()
    session = both.server.session
    send(session, asked.id, 3, "x" * 200)
    with pytest.raises(WouldBlock):
        session.respond(asked.id, note("x" * 850), last=False)
    assert full(both.server) == [2]
    assert not both.server.take_all(Writable), "one still waits"
    for flight in list(both.server.flights):
        both.client.input(flight.SerializeToString(), both.now)
    both.run(0.1)
    assert len(both.server.take_all(Writable)) == 1
    session.respond(asked.id, note("x" * 850), last=False)


def test_expiry_drops_the_items_that_wait() -> None:
    both = Both()
    id, asked = both.stream(timeout=2.0, credit=100)
    send(both.server.session, asked.id, 100)
    first = both.server.output(both.now)
    assert first is not None
    both.advance(2.0)
    rest = both.server.output(both.now)
    assert rest is not None
    assert both.server.take(RequestExpired).id is asked.id
    both.server.session.respond(asked.id, note(), last=False)
    both.server.session.respond(asked.id, note())
    for flight in (first, rest):
        both.client.input(flight, both.now)
    both.settle()
    came = len(both.client.words())
    assert 0 < came < 100
    (ended,) = both.client.outcomes(id)
    assert isinstance(ended, RequestFailed)
    assert ended.failure.reason == "TIMEOUT"
    assert answers(both.server)[-1].index == came


@pytest.mark.parametrize("how", ENDS)
def test_a_stream_that_ended_waits_for_no_room(how: str) -> None:
    both = Both()
    id, asked = both.stream(credit=1)
    send(both.server.session, asked.id, 1)
    with pytest.raises(WouldBlock):
        send(both.server.session, asked.id, 1)
    ENDS[how][0](both.server.session, asked.id)
    assert not both.server.session._sender.streams._blocked, "nothing is remembered of it"
    both.client.session.grant(id, 5)
    both.settle()
    assert not both.server.take_all(Writable)
