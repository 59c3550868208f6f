"""Timeouts of both sides, expiry, and what is said about them."""

from __future__ import annotations

import pytest

from ratatoskr.connection import State
from ratatoskr.errors import Disposition, Fault, LocalProtocolError
from ratatoskr.events import RequestExpired
from ratatoskr.limits import Limits
from ratatoskr.messages.standard import PAYMENT_AUTHORIZE
from ratatoskr.testing.clock import START
from tests.scenarios.core.support import ECHO, GLANCE, NOTE, Business, make_pair, note, payment


def test_a_handler_that_is_too_slow_is_told_and_so_is_its_caller() -> None:
    """The caller's seconds run out on both sides at the same moment, one way apart."""
    pair = make_pair(latency=0.1)
    device, platform = Business(pair.client), Business(pair.server)
    pair.open()
    id = device.ask(NOTE, note(), timeout=5.0)
    start = pair.clock.now.mono
    pair.run(seconds=4.999)
    assert id not in device.outcomes
    pair.run_until(lambda: id in device.outcomes)
    assert pair.clock.now.mono - start == 5.0
    failure = device.failure(id)
    assert (failure.reason, failure.disposition) == ("TIMEOUT", Disposition.MAYBE)

    (asked,) = platform.asked
    assert abs(asked.deadline - (start + 5.1)) < 0.01
    pair.run(seconds=0.2)
    assert pair.server.take(RequestExpired).id is asked.id
    pair.server.connection.respond(asked.id, note("too late"))
    pair.run(seconds=1)
    assert len(device.outcomes) == 1
    assert pair.client.connection.state is State.OPEN


def test_what_never_left_was_not_processed() -> None:
    pair = make_pair(client=Limits(requests_open=1), server=Limits(requests_open=1))
    device, platform = Business(pair.client), Business(pair.server)
    pair.open()
    first = device.ask(NOTE, note(), timeout=10.0)
    second = device.ask(NOTE, note(), timeout=5.0)
    pair.run(seconds=11)
    assert device.failure(second).disposition is Disposition.NOT_PROCESSED
    assert device.failure(first).disposition is Disposition.MAYBE
    assert len(platform.asked) == 1


def test_time_spent_in_the_queue_is_not_given_again() -> None:
    """The peer is told what is left, not what the caller asked for."""
    pair = make_pair(client=Limits(requests_open=1), server=Limits(requests_open=1))
    device, platform = Business(pair.client), Business(pair.server)
    pair.open()
    device.ask(NOTE, note("first"), timeout=60.0)
    device.ask(NOTE, note("second"), timeout=10.0)
    pair.run(seconds=4)
    platform.respond(platform.asked[0], note())
    pair.run(seconds=0.1)
    assert len(platform.asked) == 2
    assert abs(platform.asked[1].deadline - 10.0) < 0.01


def test_a_request_made_before_the_line_is_open_has_its_time_too() -> None:
    pair = make_pair()
    pair.client.link.stalled = True
    device = Business(pair.client)
    id = device.ask(NOTE, note(), timeout=2.0)
    pair.run(seconds=3)
    assert device.failure(id).disposition is Disposition.NOT_PROCESSED


def test_a_request_that_has_expired_does_not_reach_the_handler() -> None:
    """Expiry is the wall clock's, and the server's clock decides."""
    pair = make_pair(latency=2.0)
    device, platform = Business(pair.client), Business(pair.server, ECHO)
    pair.open()
    now = pair.clock.now.wall
    late = device.ask(NOTE, note("late"), expires_at=now + 1.0)
    good = device.ask(NOTE, note("good"), expires_at=now + 3.0)
    pair.run(seconds=10)
    failure = device.failure(late)
    assert (failure.reason, failure.disposition) == ("REQUEST_EXPIRED", Disposition.NOT_PROCESSED)
    assert device.answer(good).reason == "good"
    assert [asked.message for asked in platform.asked] == [note("good")]


def test_issue_time_is_when_the_request_was_made() -> None:
    pair = make_pair()
    device, platform = Business(pair.client), Business(pair.server, ECHO)
    pair.open()
    pair.run(seconds=100)
    device.ask(NOTE, note())
    pair.run()
    assert platform.asked[0].request.issued_at_ms == int((START + 100) * 1000)


def test_a_retry_has_the_same_nonce_and_another_number() -> None:
    """What the store recognizes: the nonce follows from the business key."""
    pair = make_pair()
    device, platform = Business(pair.client), Business(pair.server)
    pair.open()
    for _ in range(2):
        device.ask(PAYMENT_AUTHORIZE, payment())
    pair.run()
    first, second = platform.asked
    assert first.request.nonce == second.request.nonce
    assert first.received.number != second.received.number


def test_an_answer_that_crosses_the_timeout_leaves_no_trace() -> None:
    """It is on its way while the caller gives up: the slot is free again, the event is none."""
    pair = make_pair(client=Limits(requests_open=1), server=Limits(requests_open=1), latency=0.5)
    device = Business(pair.client)
    platform = Business(pair.server)
    pair.open()
    first = device.ask(NOTE, note("first"), timeout=1.2)
    pair.run_until(lambda: platform.asked)
    pair.run(seconds=0.4)
    platform.respond(platform.asked[0], note())
    pair.run(seconds=3)
    assert device.failure(first).reason == "TIMEOUT"
    second = device.ask(NOTE, note("second"))
    pair.run_until(lambda: len(platform.asked) == 2)
    platform.respond(platform.asked[1], note("answered"))
    pair.run(seconds=3)
    assert device.answer(second).reason == "answered"


def test_a_double_answer_is_the_handler_s_mistake() -> None:
    pair = make_pair()
    device, platform = Business(pair.client), Business(pair.server, ECHO)
    pair.open()
    device.ask(NOTE, note())
    pair.run()
    with pytest.raises(LocalProtocolError, match="once"):
        platform.respond(platform.asked[0], note())


def test_a_line_that_stands_still_with_a_search_unsealed_ends_itself_and_not_the_session() -> None:
    pair = make_pair()
    device, platform = Business(pair.client), Business(pair.server)
    pair.open()
    device.ask(GLANCE, note(), timeout=600.0)
    pair.run()
    assert platform.asked
    pair.client.link.stalled = True
    pair.run(seconds=44.0)
    assert pair.server.connection.state is State.OPEN
    pair.run(seconds=2.0)
    assert pair.server.closed is not None
    assert pair.server.closed.fault is Fault.PEER_SILENT
