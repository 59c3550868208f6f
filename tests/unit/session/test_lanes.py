"""Priorities: payments before others, answers before requests before items, and nobody waits long behind a stream."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.errors import WouldBlock
from ratatoskr.events import RequestReceived, ResponseReceived, Writable
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind, Kind
from ratatoskr.session.lanes import URGENT, Lanes
from ratatoskr.session.sending import ITEM_BYTES
from tests.unit.messages.support import FEED, KINDS, PLAIN, VAULT
from tests.unit.session.support import FOUND, PAY, SEARCH, Both, Side, note, paid, pay

PROBE = Kind(11, 1000, "PROBE", v1.GoAway, v1.GoAway, sealed=False)
"""A payment as far as lanes go, without a key and without a seal."""
WITH_PROBE = KINDS | [PROBE]
PING, PONG = v1.Control(ping=v1.Ping(token=1)), v1.Control(pong=v1.Pong(token=2))


def sent(side: Side) -> list[list[int]]:
    """The message types of each flight that a side sent: 10 searches, 11 payments, 1000 others."""
    types = []
    for flight in side.flights:
        messages = [
            (v1.RatatoskrRequest, v1.RatatoskrResponse)[each[0] - 1].FromString(each[1:]) for each in flight.envelopes
        ]
        types.append([int(each.type) for each in messages])
    return [each for each in types if each]


# The lanes


def test_payments_alone_are_urgent() -> None:
    assert URGENT == v1.MESSAGE_TYPE_PAYMENT_REQUEST


@given(
    st.lists(st.tuples(st.sampled_from(["put", "urgent", "pop", "remove", "clear"]), st.integers(0, 9)), max_size=40)
)
def test_lanes_against_two_lists(steps: list[tuple[str, int]]) -> None:
    lanes: Lanes[int] = Lanes()
    fast: list[int] = []
    slow: list[int] = []
    for at, (step, which) in enumerate(steps):
        if step in {"put", "urgent"}:
            (fast if step == "urgent" else slow).append(at)
            lanes.put(at, urgent=step == "urgent")
        elif step == "pop" and fast + slow:
            assert lanes.pop() == (fast or slow).pop(0)
        elif step == "remove" and fast + slow:
            item = (fast + slow)[which % len(fast + slow)]
            lanes.remove(item, urgent=item in fast)
            (fast if item in fast else slow).remove(item)
        elif step == "clear":
            lanes.clear()
            fast, slow = [], []
        assert list(lanes) == fast + slow
        assert lanes.count == len(fast + slow)
        assert lanes.first() == next(iter(fast + slow), None)


# The queue


@pytest.mark.parametrize(("places", "payments"), [(1, 1), (7, 7), (8, 9), (16, 18), (20, 22)])
def test_payments_have_an_eighth_more_places_in_the_queue(places: int, payments: int) -> None:
    both = Both(Limits(requests_queued=places), kinds=WITH_PROBE)
    for _ in range(places):
        both.client.request()
    with pytest.raises(WouldBlock, match=f"{places} requests are queued"):
        both.client.request()
    for _ in range(payments - places):
        both.client.request(PROBE, note())
    with pytest.raises(WouldBlock, match=f"{payments} requests are queued"):
        both.client.request(PROBE, note())
    with pytest.raises(WouldBlock):
        both.client.request()
    both.settle()
    assert len(both.server.take_all(RequestReceived)) == payments
    assert len(both.client.take_all(Writable)) == 1


@pytest.mark.parametrize("places", [8, 20])
def test_payments_alone_fill_all_places(places: int) -> None:
    both = Both(Limits(requests_queued=places), kinds=WITH_PROBE)
    for _ in range(places + places // 8):
        both.client.request(PROBE, note())
    with pytest.raises(WouldBlock):
        both.client.request(PROBE, note())


@pytest.mark.parametrize(("more", "blocks"), [(-1, False), (0, False), (1, True)])
def test_payments_have_an_eighth_more_bytes_in_the_queue(more: int, blocks: bool) -> None:
    both = Both(Limits(request_bytes_queued=8000), kinds=WITH_PROBE)
    both.client.request(PLAIN, note("x" * (8000 - 128 - 3)))
    with pytest.raises(WouldBlock):
        both.client.request(PLAIN, note())
    message = note("x" * (1000 - 128 - 3 + more))
    if blocks:
        with pytest.raises(WouldBlock):
            both.client.request(PROBE, message)
    else:
        both.client.request(PROBE, message)


def test_payments_overtake_what_is_queued_and_keep_their_order() -> None:
    both = Both(Limits(requests_open=1))
    both.client.request()
    both.settle()
    for at in range(3):
        both.client.request(message=v1.Search(query=str(at)))
        both.client.request(PAY, pay(f"P {at}"))
    order: list[Any] = []
    for _ in range(7):
        asked = both.server.take(RequestReceived)
        order.append(asked.message)
        both.server.session.respond(asked.id, FOUND if asked.kind == SEARCH else paid())
        both.settle()
    assert order[1:] == [pay("P 0"), pay("P 1"), pay("P 2"), *(v1.Search(query=str(at)) for at in range(3))]


# Slots


@pytest.mark.parametrize(("slots", "others"), [(1, 1), (7, 7), (8, 7), (15, 14), (16, 14), (24, 21)])
def test_an_eighth_of_the_slots_is_for_payments(slots: int, others: int) -> None:
    """None of fewer than eight."""
    both = Both(Limits(requests_open=slots), kinds=WITH_PROBE)
    for _ in range(slots + 1):
        both.client.request()
    both.settle()
    assert len(both.server.take_all(RequestReceived)) == others
    for _ in range(slots + 1):
        both.client.request(PROBE, note())
    both.settle()
    payments = both.server.take_all(RequestReceived)
    assert [each.kind for each in payments] == [PROBE] * (slots - others)


def test_payments_take_all_slots_where_they_come_first() -> None:
    both = Both(Limits(requests_open=8), kinds=WITH_PROBE)
    for _ in range(9):
        both.client.request(PROBE, note())
    both.client.request()
    both.settle()
    assert len(both.server.take_all(RequestReceived)) == 8


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize(("most", "others"), [(16_000, 14_000), (1 << 20, (1 << 20) - (64 << 10))])
def test_a_share_of_the_bytes_is_for_payments(most: int, others: int, more: int) -> None:
    """An eighth, and no more than 64 KiB."""
    both = Both(Limits(request_bytes_open=most), kinds=WITH_PROBE)
    used = 0
    while used + 100_128 < others - 200_000:
        both.client.request(PLAIN, note("x" * 99_996))
        used += 100_128
    rest = others - used
    halves = [rest // 2, rest - rest // 2 + more]
    frame = 128 + (4 if rest > 40_000 else 3)
    for size in halves:
        both.client.request(PLAIN, note("x" * (size - frame)))
    both.settle()
    assert both.client.session._asking.calls.queued == (1 if more > 0 else 0)
    both.client.request(PROBE, note("x" * 1000))
    both.settle()
    assert both.server.take_all(RequestReceived)[-1].kind == PROBE


# Answers


def test_answers_to_payments_overtake_other_answers() -> None:
    both = Both(kinds=WITH_PROBE)
    for at in range(6):
        both.client.request(PROBE if at % 2 else PLAIN, note(at))
    both.settle()
    for asked in both.server.take_all(RequestReceived):
        both.server.session.respond(asked.id, asked.message)
    both.settle()
    got = [each.message for each in both.client.take_all(ResponseReceived)]
    assert got == [note(at) for at in (1, 3, 5, 0, 2, 4)]


def test_the_answer_to_a_payment_is_first_however_many_wait() -> None:
    both = Both(kinds=WITH_PROBE)
    for _ in range(200):
        both.client.request(PLAIN, note())
    both.client.request(PROBE, note())
    both.settle()
    asked = both.server.take_all(RequestReceived)
    for each in sorted(asked, key=lambda each: each.kind == PROBE):
        both.server.session.respond(each.id, note())
    both.server.output(both.now)
    assert sent(both.server)[0][0] == 11
    assert 1 < len(sent(both.server)[0]) < 200


# Streams


def fill(both: Both, kind: AnyKind, size: int, count: int = 400) -> None:
    """The server's application sends as many items of that size as it can."""
    _, asked = both.stream(kind, credit=1000)
    try:
        for _ in range(count):
            both.server.session.respond(asked.id, note("x" * size), last=False)
    except WouldBlock:
        pass


@pytest.mark.parametrize("kind", [FEED, VAULT], ids=lambda kind: kind.name)
@pytest.mark.parametrize("size", [0, 1000, 30_000, 200_000])
@pytest.mark.parametrize("before", [0, 1, 5, 14, 15, 16, 20])
def test_a_stream_delays_nothing_by_more_than_the_flight_that_is_under_way(
    kind: AnyKind, size: int, before: int
) -> None:
    """Whatever the driver writes at the moment, and however full the span is: the next flight says it all."""
    limits = Limits(item_bytes_queued=8 << 20, outbox_bytes=16 << 20, span_messages=100, flight_messages=100)
    both = Both(limits, kinds=WITH_PROBE)
    for _ in range(8):
        both.client.request(PLAIN, note())
    both.settle()
    waiting = both.server.take_all(RequestReceived)
    fill(both, kind, size)
    for _ in range(before + 1):
        under_way = both.server.output(both.now)
        assert under_way is not None
        assert len(under_way) < max(ITEM_BYTES, size) + 10_000
    for asked in waiting:
        both.server.session.respond(asked.id, note())
    both.server.request(PROBE, note())
    both.server.request(PAY, pay())
    both.server.output(both.now, (PING, PONG))
    flight = both.server.flights[-1]
    assert sent(both.server)[-1][:10] == [1000] * 8 + [11, 11]
    assert list(flight.controls) == [PING, PONG]


@pytest.mark.parametrize("span", [1, 5, 16, 17, 100, 256])
def test_items_leave_places_in_the_span_for_others(span: int) -> None:
    """A span that they had filled to the last place would hold only one of those who come next."""
    both = Both(Limits(span_messages=span, flight_messages=min(span, 16), outbox_messages=100_000))
    fill(both, FEED, 0)
    for _ in range(20):
        both.server.output(both.now)
        unsealed = both.server.session._sender._serializer.unsealed
        assert unsealed == 0 or span - unsealed >= 16


def test_items_and_answers_of_one_flight_go_in_their_order() -> None:
    both = Both(kinds=WITH_PROBE)
    both.client.request(PROBE, note())
    both.settle()
    paying = both.server.take(RequestReceived)
    fill(both, FEED, 0, count=3)
    both.server.session.respond(paying.id, note())
    both.server.request()
    both.server.output(both.now)
    assert sent(both.server)[-1] == [11, 10, 1000, 1000, 1000]


def test_an_item_that_has_no_room_in_this_flight_goes_with_the_next() -> None:
    both = Both()
    for _ in range(2):
        both.client.request(PLAIN, note())
    both.settle()
    asked = both.server.take_all(RequestReceived)
    fill(both, FEED, 200_000, count=1)
    for each in asked:
        both.server.session.respond(each.id, note("x" * 50_000))
    both.settle()
    assert sent(both.server) == [[1000] * 2, [1000]]


@pytest.mark.parametrize(
    ("sizes", "flights"), [([65_000] * 3, [1, 1, 1]), ([30_000] * 5, [2, 2, 1]), ([200_000, 10], [1, 1])]
)
def test_items_take_a_share_of_a_flight(sizes: list[int], flights: list[int]) -> None:
    """64 KiB, or one item however long it is."""
    both = Both()
    _, asked = both.stream()
    for size in sizes:
        both.server.session.respond(asked.id, note("x" * size), last=False)
    both.settle()
    assert [len(each) for each in sent(both.server)] == flights


# Shares


@pytest.mark.parametrize(
    ("count", "first"), [(1, 1), (15, 15), (16, 16), (17, 16), (32, 16), (33, 16), (34, 17), (100, 50), (200, 100)]
)
def test_a_flight_takes_about_half_of_what_is_in_flight(count: int, first: int) -> None:
    """So that one end has something to do while the other one works. Sixteen go in any case."""
    both = Both(Limits(requests_open=1000))
    for _ in range(count):
        both.client.request()
    both.settle()
    assert len(sent(both.client)[0]) == first
    for asked in both.server.take_all(RequestReceived):
        both.server.session.respond(asked.id, FOUND)
    both.settle()
    assert len(sent(both.server)[0]) == first
    assert len(both.client.take_all(ResponseReceived)) == count
