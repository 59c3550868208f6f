"""Much at once: slots, queues, limits, and two peers that both write more than the line takes."""

from __future__ import annotations

import pytest

from ratatoskr.connection import State
from ratatoskr.errors import Disposition, LocalProtocolError, WouldBlock
from ratatoskr.events import Writable
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind
from tests.scenarios.core.support import ECHO, GLANCE, NOTE, Business, make_pair, note

LARGE = "x" * 200_000


@pytest.mark.parametrize("kind", [NOTE, GLANCE], ids=["sealed", "deferred"])
def test_two_peers_with_a_hundred_and_twenty_large_calls_each_finish(kind: AnyKind) -> None:
    """Every write blocks until the other side has been driven: neither waits for the other for ever."""
    pair = make_pair()
    ends = [Business(end, ECHO) for end in (pair.client, pair.server)]
    pair.open()
    asked = [[end.ask(kind, note(LARGE)) for _ in range(120)] for end in ends]
    for end in (pair.client, pair.server):
        end.holds_writes = True
    for _ in range(5_000):
        pair.run(seconds=0.001)
        if all(len(end.outcomes) == 120 for end in ends):
            break
        for end in (pair.client, pair.server):
            if end.unsent:  # the driver's write ends, the next one blocks again
                end.unsent = False
                end.connection.sent()
    for peer, ids in zip(ends, asked, strict=True):
        assert [len(peer.answer(id).reason) for id in ids] == [200_000] * 120


@pytest.mark.parametrize("slots", [1, 2, 256])
def test_no_more_than_the_slots_are_open(slots: int) -> None:
    limits = Limits(requests_open=slots)
    pair = make_pair(client=limits, server=limits)
    device, platform = Business(pair.client), Business(pair.server)
    pair.open()
    ids = [device.ask(GLANCE, note(str(n))) for n in range(slots + 3)]
    pair.run(seconds=1)
    open_ = slots - slots // 8  # the rest is for payments
    assert len(platform.asked) == open_
    for n, asked in enumerate(platform.asked):  # grows while it is walked
        platform.respond(asked, asked.message)
        pair.run(seconds=0.1)
        assert len(platform.asked) == min(open_ + n + 1, slots + 3)
    pair.run(seconds=1)
    assert [device.answer(id).reason for id in ids] == [str(n) for n in range(slots + 3)]


def test_no_more_than_the_bytes_are_open() -> None:
    limits = Limits(request_bytes_open=500_000)
    pair = make_pair(client=limits, server=limits)
    device, platform = Business(pair.client), Business(pair.server)
    pair.open()
    for _ in range(4):
        device.ask(GLANCE, note(LARGE))
    pair.run(seconds=1)
    assert len(platform.asked) == 2
    platform.respond(platform.asked[0], note())
    pair.run(seconds=1)
    assert len(platform.asked) == 3


def test_one_request_larger_than_the_bytes_goes_alone() -> None:
    limits = Limits(request_bytes_open=1000)
    pair = make_pair(client=limits, server=limits)
    device = Business(pair.client)
    Business(pair.server, ECHO)
    pair.open()
    ids = [device.ask(NOTE, note("y" * 5000)) for _ in range(3)]
    pair.run(seconds=1)
    assert [len(device.answer(id).reason) for id in ids] == [5000] * 3


def test_a_full_queue_blocks_and_says_when_it_is_writable() -> None:
    limits = Limits(requests_open=2, requests_queued=4)
    pair = make_pair(client=limits, server=limits)
    device, platform = Business(pair.client), Business(pair.server)
    pair.open()
    ids = [device.ask(GLANCE, note()) for _ in range(4)]
    with pytest.raises(WouldBlock):
        device.ask(GLANCE, note())
    pair.run()  # two of them get slots, so half of the queue is free
    pair.client.take(Writable)
    ids += [device.ask(GLANCE, note()) for _ in range(2)]
    with pytest.raises(WouldBlock):
        device.ask(GLANCE, note())
    pair.run()
    assert not pair.client.seen(Writable)
    for asked in platform.asked:
        platform.respond(asked, note())
        pair.run(seconds=0.1)
    assert len(pair.client.seen(Writable)) == 1
    assert len(device.outcomes) == len(ids) == 6


def test_a_blocked_caller_is_woken_when_the_queue_only_times_out() -> None:
    limits = Limits(requests_open=1, requests_queued=2)
    pair = make_pair(client=limits, server=limits)
    device = Business(pair.client)
    Business(pair.server)
    pair.open()
    device.ask(GLANCE, note(), timeout=60.0)
    pair.run()
    for _ in range(2):
        device.ask(GLANCE, note(), timeout=5.0)
    with pytest.raises(WouldBlock):
        device.ask(GLANCE, note())
    pair.run(seconds=5)
    pair.client.take(Writable)
    device.ask(GLANCE, note())


# Negotiated limits


@pytest.mark.parametrize("smaller", ["client", "server"])
def test_the_smaller_limit_counts_for_both(smaller: str) -> None:
    small = Limits(requests_open=2, envelope_bytes=4000, record_bytes=6000, request_bytes_open=3000)
    pair = make_pair(**{smaller: small})  # type: ignore[arg-type]
    device, platform = Business(pair.client), Business(pair.server)
    pair.open()
    for asking, answering in ((device, platform), (platform, device)):
        for _ in range(3):
            asking.ask(GLANCE, note())
        pair.run(seconds=1)
        assert len(answering.asked) == 2
        with pytest.raises(LocalProtocolError, match="envelope_bytes is 4000"):
            asking.ask(GLANCE, note("x" * 4000))
        with pytest.raises(LocalProtocolError, match="envelope_bytes is 4000"):
            answering.respond(answering.asked[0], note("x" * 4000))
        answering.respond(answering.asked[0], note("x" * 3000))
        pair.run(seconds=1)
        assert len(answering.asked) == 3
    assert pair.client.connection.state is State.OPEN


def test_what_was_queued_before_the_peer_said_what_it_reads_fails_by_event() -> None:
    pair = make_pair(server=Limits(envelope_bytes=4000, record_bytes=6000))
    device = Business(pair.client)
    Business(pair.server, ECHO)
    long, short = device.ask(NOTE, note("x" * 5000)), device.ask(NOTE, note("x"))
    pair.open()
    pair.run(seconds=1)
    failure = device.failure(long)
    assert (failure.reason, failure.disposition) == ("REQUEST_TOO_LONG", Disposition.NOT_PROCESSED)
    assert device.answer(short).reason == "x"


def test_what_does_not_fit_into_one_record_goes_in_the_next() -> None:
    small = Limits(envelope_bytes=4000, record_bytes=8000)
    pair = make_pair(server=small)
    device = Business(pair.client)
    Business(pair.server, ECHO)
    pair.open()
    sizes: list[int] = []

    def measure(data: bytes) -> bytes:
        sizes.append(len(data))
        return data

    pair.client.link.tamper = measure
    ids = [device.ask(NOTE, note("x" * 3500)) for _ in range(20)]
    pair.run(seconds=1)
    assert all(len(device.answer(id).reason) == 3500 for id in ids)
    assert max(sizes) <= 8000 + 4
    assert len(sizes) >= 10


def test_the_longest_envelope_fits() -> None:
    """Of the negotiated length, by what a request is charged, to the byte: one more is misuse."""
    pair = make_pair(server=Limits(envelope_bytes=4000, record_bytes=5024))
    device, platform = Business(pair.client), Business(pair.server, ECHO)
    pair.open()
    overhead = 128 + 3  # what a request is charged beside its payload, and the payload's own field
    with pytest.raises(LocalProtocolError, match="4001 bytes"):
        device.ask(NOTE, note("x" * (4001 - overhead)))
    id = device.ask(NOTE, note("x" * (4000 - overhead)))
    pair.run(seconds=1)
    assert len(device.answer(id).reason) == 4000 - overhead
    assert len(platform.asked[0].received.envelope) <= 4000
    assert pair.client.connection.state is State.OPEN
