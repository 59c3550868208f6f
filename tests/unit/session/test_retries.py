"""Retries: the same request again, so that what runs at most once is the same operation to the peer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import Disposition, Fault, LocalProtocolError, WouldBlock
from ratatoskr.events import (
    ItemReceived,
    RequestFailed,
    RequestId,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    Writable,
)
from ratatoskr.limits import Limits
from ratatoskr.messages import business_nonce
from ratatoskr.messages.standard import STANDARD_KINDS
from tests.unit.messages.support import FEED, NOW_MS, PLAIN, failure
from tests.unit.session.support import FOUND, LAMP, PAY, SEARCH, Both, note, paid, pay


def asked(both: Both) -> RequestReceived:
    both.settle()
    return both.server.take(RequestReceived)


def refuse(both: Both) -> RequestReceived:
    """The server's handler fails the next request."""
    received = asked(both)
    both.server.session.fail(received.id, failure())
    both.settle()
    return received


@pytest.mark.parametrize(
    ("kind", "question", "answer"),
    [(SEARCH, LAMP, FOUND), (PAY, pay(), paid())],
    ids=["deferred", "once"],
)
def test_a_retry_is_the_same_request_under_an_id_of_its_own(kind: Any, question: Any, answer: Any) -> None:
    both = Both()
    first = both.client.request(kind, question, expires_at=both.wall + 1000.0, metadata={"trace": "a"})
    before = refuse(both)
    both.advance(5.0)
    second = both.client.session.retry(first)
    assert second is not first
    after = asked(both)
    assert after.received.envelope == before.received.envelope, "nonce, issue time, expiry, payload, metadata"
    assert after.request.issued_at_ms == NOW_MS
    assert (before.attempt, after.attempt) == (0, 1)
    assert after.received.number == 2
    both.server.session.respond(after.id, answer)
    both.settle()
    assert [type(each) for each in both.client.outcomes(first)] == [RequestFailed]
    assert [type(each) for each in both.client.outcomes(second)] == [ResponseReceived]


def test_attempts_are_counted_over_retries_of_retries() -> None:
    both = Both()
    id = both.client.request()
    attempts = []
    for _ in range(4):
        attempts.append(refuse(both).attempt)
        id = both.client.session.retry(id)
    assert attempts == [0, 1, 2, 3]
    assert len(both.client.take_all(RequestFailed)) == 4


def test_a_retry_has_a_time_of_its_own() -> None:
    both = Both(Limits(request_timeout=20.0))
    id = both.client.request(timeout=5.0)
    refuse(both)
    both.advance(4.0)
    second = both.client.session.retry(id, timeout=7.0)
    both.run(6.9)
    assert not both.client.outcomes(second)
    both.run(0.2)
    assert len(both.client.outcomes(second)) == 1
    third = both.client.session.retry(second)
    both.settle()
    assert both.client.flights[-1].hops == [v1.Hop(index=0, timeout_ms=20_000, attempt=2)]
    both.run(20.0)
    assert len(both.client.outcomes(third)) == 1


def test_a_call_that_was_given_up_may_be_made_again_while_the_peer_still_works_on_it() -> None:
    both = Both()
    first = both.client.request(PAY, pay(), timeout=1.0)
    flight = both.client.output(both.now)
    assert flight is not None
    both.advance(1.0)
    both.client.output(both.now)
    assert len(both.client.outcomes(first)) == 1
    second = both.client.session.retry(first)
    both.server.input(flight, both.now)
    both.settle()
    slow, again = both.server.take_all(RequestReceived)
    assert slow.request.nonce == again.request.nonce == business_nonce(11, 1, b"ORDER 1/2026")
    for each in (slow, again):
        both.server.session.respond(each.id, paid())
    both.settle()
    assert len(both.client.outcomes(first)) == 1
    assert [type(each) for each in both.client.outcomes(second)] == [ResponseReceived]


@pytest.mark.parametrize("how", ["cancelled", "refused"])
def test_a_request_that_never_had_a_number_may_be_made_again(how: str) -> None:
    """On this connection or another one; its issue time is the first that it had."""
    both, other = Both(), Both()
    if how == "refused":
        both.client.session.drain("")
    id = both.client.request()
    both.client.session.cancel(id)
    both.client.collect()
    assert len(both.client.outcomes(id)) == 1
    other.advance(9.0)
    again = other.client.session.retry(id)
    assert asked(other).request.issued_at_ms == NOW_MS + 9000
    assert not other.client.outcomes(again)


def test_a_request_of_a_session_that_ended_is_made_again_on_another() -> None:
    both, other = Both(), Both()
    id = both.client.request(PAY, pay())
    before = asked(both)
    both.client.session.end(Fault.TRANSPORT_LOST)
    both.client.collect()
    other.advance(60.0)
    other.client.session.retry(id)
    after = asked(other)
    assert after.received.envelope == before.received.envelope
    assert after.attempt == 1


def test_a_retry_where_no_requests_are_taken_fails_as_a_request_does() -> None:
    both = Both()
    id = both.client.request()
    refuse(both)
    both.client.session.drain("")
    again = both.client.session.retry(id)
    both.client.collect()
    (outcome,) = both.client.outcomes(again)
    assert isinstance(outcome, RequestFailed)
    assert (outcome.failure.reason, outcome.failure.disposition) == ("GOING_AWAY", Disposition.NOT_PROCESSED)


def test_a_stream_begins_anew_with_its_first_credit() -> None:
    both = Both()
    id, received = both.stream(credit=2)
    both.server.session.respond(received.id, note("one"), last=False)
    both.settle()
    both.client.session.grant(id, 7)
    both.server.session.fail(received.id, failure())
    both.settle()
    again = both.client.session.retry(id)
    received = asked(both)
    assert both.client.flights[-1].hops == [v1.Hop(index=0, timeout_ms=30_000, attempt=1, credit=2)]
    both.server.session.respond(received.id, note("two"))
    both.settle()
    assert [each.id for each in both.client.take_all(ItemReceived)] == [id, again]
    assert [type(each) for each in both.client.outcomes(again)] == [StreamEnded]


def test_a_full_queue_blocks_a_retry_too() -> None:
    both = Both(Limits(requests_open=1, requests_queued=1))
    id = both.client.request()
    refuse(both)
    both.client.request()
    both.settle()
    both.client.request()
    with pytest.raises(WouldBlock):
        both.client.session.retry(id)
    both.serve()
    both.settle()
    both.client.take(Writable)
    both.client.session.retry(id)


@pytest.mark.parametrize("state", ["queued", "open", "cancelled"])
def test_what_has_no_outcome_is_not_made_again(state: str) -> None:
    both = Both()
    id = both.client.request()
    if state != "queued":
        both.settle()
    if state == "cancelled":
        both.client.session.cancel(id)
    with pytest.raises(LocalProtocolError, match="has no outcome yet: retry a request that has failed"):
        both.client.session.retry(id)
    both.settle()
    assert sum(len(each.envelopes) for each in both.client.flights) == 1


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(metadata_entries=1), "metadata has 2 entries"),
        (Limits(metadata_bytes=100), "charged 166 bytes"),
        (Limits(record_bytes=8192, envelope_bytes=4000), "Limits.envelope_bytes is 4000"),
    ],
)
def test_another_peer_may_take_less(limits: Limits, message: str) -> None:
    """Sent all the same, it would end the session."""
    both, other = Both(), Both(limits)
    id = both.client.request(PLAIN, note("x" * 4000), metadata={"a": "x" * 50, "b": "x" * 50})
    refuse(both)
    with pytest.raises(LocalProtocolError, match=message):
        other.client.session.retry(id)
    other.run(1.0)
    assert other.client.flights == []
    assert other.client.events == []


def test_another_peer_may_turn_out_to_take_less() -> None:
    both, other = Both(), Both(bind=False)
    id = both.client.request(PLAIN, note(), metadata={"a": "", "b": ""})
    refuse(both)
    again = other.client.session.retry(id)
    other.limits = Limits(metadata_entries=1)
    other.bind()
    other.run(1.0)
    (outcome,) = other.client.outcomes(again)
    assert isinstance(outcome, RequestFailed)
    assert outcome.failure.disposition is Disposition.NOT_PROCESSED


def test_what_the_caller_does_with_its_metadata_later_changes_no_request() -> None:
    both = Both()
    metadata = {"a": "1"}
    id = both.client.request(metadata=metadata)
    metadata["b"] = "2"
    assert refuse(both).metadata == {"a": "1"}
    both.client.session.retry(id)
    assert asked(both).metadata == {"a": "1"}


MISUSE: list[tuple[Callable[[Both, RequestId], object], str]] = [
    (lambda both, id: both.client.session.retry(RequestId()), r"is no request of ours: retry what request\(\)"),
    (lambda both, id: both.server.session.retry(asked(both).id), r"is no request of ours: retry what request\(\)"),
    (lambda both, id: both.client.session.retry(id, 0.0), "timeout=0.0"),
    (lambda both, id: both.client.session.retry(id, 86_400.1), "timeout=86400.1"),
    (lambda both, id: Both(kinds=STANDARD_KINDS).client.session.retry(id), "FEED .* is not known here"),
]


@pytest.mark.parametrize(("misuse", "message"), MISUSE)
def test_misuse_says_what_to_do_and_makes_nothing(misuse: Callable[[Both, RequestId], object], message: str) -> None:
    both = Both()
    failed = both.client.request(FEED, note())
    refuse(both)
    both.client.request(FEED, note())
    with pytest.raises(LocalProtocolError, match=message):
        misuse(both, failed)
    both.settle()
    assert sum(len(each.envelopes) for each in both.client.flights) == 2


def test_what_was_answered_is_not_made_again() -> None:
    both = Both()
    asked = both.client.request()
    both.settle()
    both.serve()
    both.settle()
    with pytest.raises(LocalProtocolError, match="has its answer: retry a request that has failed"):
        both.client.session.retry(asked)


def test_a_request_that_was_never_sent_does_not_count_as_an_attempt() -> None:
    both = Both()
    asked = both.client.request()
    both.client.session.cancel(asked)
    both.client.session.retry(asked)
    both.settle()
    assert both.server.take(RequestReceived).attempt == 0


@pytest.mark.parametrize("again", [False, True])
def test_a_request_of_an_earlier_process_keeps_its_issue_time(again: bool) -> None:
    both = Both()
    id = both.client.request(PAY, pay(), issued_at=both.wall - 3600.5)
    if again:
        refuse(both)
        both.advance(7.0)
        both.client.session.retry(id)
    assert asked(both).request.issued_at_ms == NOW_MS - 3_600_500


@pytest.mark.parametrize("issued_at", [0.0, -1.0, float("nan"), float("inf"), 1e20])
def test_an_issue_time_that_is_none_is_misuse(issued_at: float) -> None:
    with pytest.raises(LocalProtocolError, match=r"issued_at=.*seconds since the epoch"):
        Both().client.request(issued_at=issued_at)
