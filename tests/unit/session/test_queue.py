"""The queue of requests: Writable says that what was refused has room, and is said no sooner."""

from __future__ import annotations

import pytest

from ratatoskr.errors import Fault, WouldBlock
from ratatoskr.events import RequestReceived, Writable
from ratatoskr.limits import Limits
from tests.unit.messages.support import PLAIN
from tests.unit.session.support import Both, note


def text(size: int) -> str:
    """What makes a request of PLAIN so many bytes, as it is charged."""
    return "x" * (size - 128 - 3)


def waiting(size: int, most: int) -> Both:
    """The only slot is taken, and a request of so many bytes waits."""
    both = Both(Limits(requests_open=1, request_bytes_queued=most))
    both.client.request(PLAIN, note())
    both.settle()
    both.client.request(PLAIN, note(text(size)))
    both.settle()
    return both


@pytest.mark.parametrize("size", [8001, 9999, 50_000])
def test_a_long_request_is_told_of_room_when_there_is_room_for_it(size: int) -> None:
    """Half of the bytes are free all the time. Told so, it would be refused again, and told again, without end."""
    both = waiting(2000, most=10_000)
    with pytest.raises(WouldBlock):
        both.client.request(PLAIN, note(text(size)))
    for _ in range(3):
        both.settle()
    assert not both.client.take_all(Writable)
    both.serve(note())
    both.settle()
    assert len(both.client.take_all(Writable)) == 1
    both.client.request(PLAIN, note(text(size)))


def test_the_shortest_of_what_was_refused_is_told_first() -> None:
    both = waiting(4000, most=10_000)
    for _ in range(2):
        both.client.request(PLAIN, note(text(1000)))
    for size in (9000, 4001, 9500):
        with pytest.raises(WouldBlock):
            both.client.request(PLAIN, note(text(size)))
    both.serve(note())
    both.settle()
    assert len(both.client.take_all(Writable)) == 1, "two thousand bytes wait"
    both.client.request(PLAIN, note(text(4001)))
    with pytest.raises(WouldBlock):
        both.client.request(PLAIN, note(text(9000)))
    both.settle()
    assert not both.client.take_all(Writable)
    for _ in range(3):
        both.serve(note())
        both.settle()
    assert len(both.client.take_all(Writable)) == 1
    assert len(both.server.take_all(RequestReceived)) == 1


@pytest.mark.parametrize("queued", [1, 2, 3, 10])
def test_room_is_told_when_half_of_the_places_are_free(queued: int) -> None:
    both = Both(Limits(requests_open=1, requests_queued=queued))
    both.client.request(PLAIN, note())
    both.settle()
    for _ in range(queued):
        both.client.request(PLAIN, note())
    with pytest.raises(WouldBlock):
        both.client.request(PLAIN, note())
    left = queued
    while not both.client.take_all(Writable):
        assert left * 2 > queued
        both.serve(note())
        both.settle()
        left -= 1
    assert left == queued // 2


@pytest.mark.parametrize("how", ["drained", "gone away", "ended"])
def test_whether_requests_are_taken_is_known(how: str) -> None:
    both = Both()
    assert both.client.session.takes_requests
    if how == "ended":
        both.client.session.end(Fault.TRANSPORT_LOST)
    else:
        (both.client if how == "drained" else both.server).session.drain("")
        both.settle()
    assert not both.client.session.takes_requests
