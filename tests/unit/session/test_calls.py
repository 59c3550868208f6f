"""Calls between two sessions: one outcome each, in the right order, with the right time."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import Disposition, Failure, Fault, LocalProtocolError, Status, WouldBlock
from ratatoskr.events import (
    RequestExpired,
    RequestFailed,
    RequestId,
    RequestReceived,
    ResponseReceived,
    SpanSealed,
    Writable,
)
from ratatoskr.limits import MAX_REQUEST_TIMEOUT, MIN_ENVELOPE_BYTES, MIN_RECORD_BYTES, Limits
from ratatoskr.messages import Direction, Kind, Rule, business_nonce
from ratatoskr.messages.standard import MARKETPLACE_CANCEL
from ratatoskr.session import Session
from tests.unit.messages.support import CLIENT as CLIENT_KEYS
from tests.unit.messages.support import (
    KINDS,
    NOTE,
    NOW_MS,
    PLAIN,
    custom,
    envelope,
    failure,
    found,
    leaf_by_hand,
    search,
    verify_key,
)
from tests.unit.messages.support import SERVER as SERVER_KEYS
from tests.unit.session.support import FOUND, LAMP, PAY, SEARCH, Both, Hostile, paid, pay

# One outcome


@pytest.mark.parametrize(
    ("kind", "question", "answer"), [(SEARCH, LAMP, FOUND), (PAY, pay(), paid())], ids=["deferred", "sealed"]
)
def test_a_question_and_its_answer(kind: Any, question: Any, answer: Any) -> None:
    both = Both()
    id = both.client.request(kind, question)
    both.settle()
    asked = both.serve(answer)
    assert (asked.kind, asked.message) == (kind, question)
    both.run(1.0)
    got = both.client.take(ResponseReceived)
    assert got.id is id
    assert got.message == answer
    assert not got.replayed
    for proof, keys in [(asked.evidence, CLIENT_KEYS), (got.evidence, SERVER_KEYS)]:
        receipt = proof.receipt()
        assert receipt is not None
        receipt.verify(verify_key(keys))
    assert not both.client.take_all(RequestFailed)


def test_a_failure_comes_as_it_was_told() -> None:
    both = Both()
    id = both.client.request(PAY, pay())
    both.settle()
    refusal = Failure(Status.FAILED_PRECONDITION, "INSUFFICIENT_FUNDS", "3.00 EUR are missing", retry_delay=60.0)
    both.server.session.fail(both.server.take(RequestReceived).id, refusal, replayed=True)
    both.settle()
    failed = both.client.take(RequestFailed)
    assert failed.id is id
    assert failed.failure == refusal
    assert failed.replayed
    assert failed.received is not None
    receipt = failed.evidence.receipt() if failed.evidence else None
    assert receipt is not None, "an error of a sealed kind is sealed"


def test_an_answer_says_that_it_is_repeated() -> None:
    both = Both()
    both.client.request(PAY, pay())
    both.settle()
    both.server.session.respond(both.server.take(RequestReceived).id, paid(), replayed=True)
    both.settle()
    assert both.client.take(ResponseReceived).replayed


def test_both_sides_ask_and_a_handler_may_ask_back() -> None:
    both = Both()
    outer = both.client.request(PAY, pay())
    both.settle()
    asked = both.server.take(RequestReceived)
    inner = both.server.request()
    both.settle()
    both.client.session.respond(both.client.take(RequestReceived).id, FOUND)
    both.settle()
    assert both.server.take(ResponseReceived).id is inner
    both.server.session.respond(asked.id, paid())
    both.settle()
    assert both.client.take(ResponseReceived).id is outer


def test_answers_come_in_the_order_of_the_handlers() -> None:
    both = Both()
    ids = [both.client.request(message=v1.Search(query=str(at))) for at in range(5)]
    both.settle()
    asked = both.server.take_all(RequestReceived)
    for at in (3, 0, 4, 2, 1):
        both.server.session.respond(asked[at].id, v1.SearchResult(next_page_token=b"%d" % at))
    both.settle()
    got = both.client.take_all(ResponseReceived)
    assert [ids.index(each.id) for each in got] == [3, 0, 4, 2, 1]
    assert [each.message for each in got] == [v1.SearchResult(next_page_token=b"%d" % at) for at in (3, 0, 4, 2, 1)]


def test_a_request_carries_nonce_issue_time_expiry_and_metadata() -> None:
    both = Both()
    both.client.request(PAY, pay("A"), expires_at=both.wall + 2.5, metadata={"trace": "ä"})
    both.client.request()
    both.client.request(key="again")
    both.advance(1.0)
    both.settle()
    by_key, fresh, again = both.server.take_all(RequestReceived)
    assert by_key.request.nonce == business_nonce(11, 1, b"A")
    assert by_key.request.issued_at_ms == NOW_MS + 1000, "time starts at the first poll after the request"
    assert by_key.request.expires_at_ms == NOW_MS + 2500
    assert by_key.metadata == {"trace": "ä"}
    assert fresh.request.expires_at_ms == 0
    assert fresh.request.nonce not in {by_key.request.nonce, again.request.nonce}
    assert again.request.nonce == business_nonce(10, 1, b"again")


def test_ids_are_never_the_same_and_never_a_number() -> None:
    both = Both()
    ids: list[RequestId] = [both.client.request() for _ in range(3)]
    assert len({id(each) for each in ids}) == 3
    assert ids[0] != ids[1]
    assert repr(ids[0]).startswith("<RequestId MARKETPLACE_SEARCH ")
    both.settle()
    assert repr(both.server.take(RequestReceived).id).startswith("<RequestId MARKETPLACE_SEARCH (10/1) ")


# Order


def test_payments_go_first_and_numbers_follow() -> None:
    both = Both()
    for at in range(3):
        both.client.request(message=v1.Search(query=str(at)))
        both.client.request(PAY, pay(f"P {at}"))
    both.settle()
    asked = both.server.take_all(RequestReceived)
    assert [each.kind for each in asked] == [PAY, PAY, PAY, SEARCH, SEARCH, SEARCH]
    assert [each.received.number for each in asked] == [1, 2, 3, 4, 5, 6]
    assert [each.message for each in asked[:3]] == [pay("P 0"), pay("P 1"), pay("P 2")]


def test_answers_go_before_requests() -> None:
    both = Both()
    both.client.request()
    both.settle()
    both.server.request(PAY, pay())
    both.serve()
    both.settle()
    assert [type(each) for each in both.client.events] == [ResponseReceived, RequestReceived]


def test_what_is_said_while_a_write_is_under_way_shares_one_flight_and_one_seal() -> None:
    both = Both()
    for at in range(16):
        both.client.request(PAY, pay(f"P {at}"))
    both.settle()
    assert [len(each.envelopes) for each in both.client.flights if each.HasField("seal")] == [16]


def test_a_flight_holds_what_fits_into_a_record() -> None:
    limits = Limits(record_bytes=8192, envelope_bytes=7168)
    both = Both(limits)
    for _ in range(30):
        both.client.request(message=v1.Search(query="x" * 250))
    both.client.request(PLAIN, v1.GoAway(reason="x" * 7000))
    both.settle()
    assert len(both.server.take_all(RequestReceived)) == 31
    assert all(each.ByteSize() <= 8192 - 16 for each in both.client.flights)
    assert len(both.client.flights) > 1


def test_answers_that_do_not_fit_wait_for_the_next_flight_and_requests_behind_them() -> None:
    limits = Limits(record_bytes=8192, envelope_bytes=7168)
    both = Both(limits)
    for _ in range(3):
        both.client.request(PLAIN, v1.GoAway())
    both.settle()
    both.server.request()
    for asked in both.server.take_all(RequestReceived):
        both.server.session.respond(asked.id, v1.GoAway(reason="x" * 7000))
    both.settle()
    assert len(both.client.take_all(ResponseReceived)) == 3
    assert [len(each.envelopes) for each in both.server.flights if each.envelopes] == [1, 1, 2]
    assert all(each.ByteSize() <= 8192 - 16 for each in both.server.flights)


def test_a_span_is_sealed_when_it_is_full() -> None:
    both = Both(Limits(span_messages=5, flight_messages=3))
    for _ in range(12):
        both.client.request()
    both.settle()
    assert [(len(each.envelopes), each.HasField("seal")) for each in both.client.flights] == [
        (3, False),
        (2, True),
        (3, False),
        (2, True),
        (2, False),
    ]
    assert [each.messages for each in both.server.take_all(SpanSealed)] == [3, 3]


# Time


def test_a_call_without_an_answer_times_out_as_maybe() -> None:
    both = Both()
    id = both.client.request(timeout=2.0)
    both.run(1.99)
    assert not both.client.outcomes(id)
    both.run(0.02)
    failed = both.client.take(RequestFailed)
    assert failed.id is id
    assert failed.failure.status is Status.DEADLINE_EXCEEDED
    assert failed.failure.disposition is Disposition.MAYBE
    assert (failed.received, failed.evidence, failed.replayed) == (None, None, False)
    assert "MARKETPLACE_SEARCH: no answer in 2.0 s" in failed.failure.message


def test_a_call_that_never_got_a_number_times_out_as_not_processed() -> None:
    both = Both(Limits(requests_open=1))
    both.client.request(timeout=30.0)
    both.settle()
    waiting = both.client.request(timeout=1.0)
    paying = both.client.request(PAY, pay(), timeout=1.5)
    both.run(2.0)
    failed = both.client.take_all(RequestFailed)
    assert [each.id for each in failed] == [waiting, paying]
    assert {each.failure.disposition for each in failed} == {Disposition.NOT_PROCESSED}
    assert len(both.server.take_all(RequestReceived)) == 1


def test_the_answer_to_a_call_that_timed_out_is_dropped_and_its_slot_is_free() -> None:
    both = Both(Limits(requests_open=1, request_timeout=1.0))
    id = both.client.request()
    both.settle()
    asked = both.server.take(RequestReceived)
    both.server.session.respond(asked.id, FOUND)
    held = both.server.output(both.now)
    assert held is not None
    both.advance(1.0)
    assert both.client.output(both.now) is not None, "the seal"
    assert len(both.client.take_all(RequestFailed)) == 1
    both.client.input(held, both.now)
    assert not both.client.outcomes(id)
    second = both.client.request()
    both.settle()
    both.serve()
    both.settle()
    assert both.client.take(ResponseReceived).id is second


@pytest.mark.parametrize(
    ("timeout", "waited", "hop"),
    [
        (30.0, 0.0, None),
        (None, 0.0, None),
        (30.0, 10.0, 20_000),
        (40.0, 10.0, None),
        (2.5, 0.0, 2500),
        (2.5, 2.4996, 1),
        (MAX_REQUEST_TIMEOUT, 0.0, 86_400_000),
    ],
)
def test_the_remaining_time_goes_with_the_request(timeout: float | None, waited: float, hop: int | None) -> None:
    both = Both(bind=False)
    both.client.request(timeout=timeout)
    both.client.session.start(both.now)
    both.advance(waited)
    both.bind()
    both.settle()
    (flight,) = both.client.flights[:1]
    assert [each.timeout_ms for each in flight.hops] == ([] if hop is None else [hop])
    asked = both.server.take(RequestReceived)
    expected = both.mono + (30.0 if hop is None else hop / 1000)
    assert asked.deadline == pytest.approx(expected)


def test_a_handler_that_is_too_slow_is_told_and_its_caller_gives_up_by_itself() -> None:
    both = Both()
    id = both.client.request(PAY, pay(), timeout=5.0)
    both.settle()
    asked = both.server.take(RequestReceived)
    both.run(5.0)
    assert both.server.take(RequestExpired).id is asked.id
    failed = both.client.take(RequestFailed)
    assert (failed.id, failed.failure.status, failed.failure.disposition) == (
        id,
        Status.DEADLINE_EXCEEDED,
        Disposition.MAYBE,
    )
    both.server.session.respond(asked.id, paid())
    both.settle()
    assert not both.client.outcomes(id), "an answer that comes too late is dropped"
    both.run(1.0)
    assert not both.server.take_all(RequestExpired), "it was told once"
    assert both.server.session._answering.calls.open == 0
    with pytest.raises(LocalProtocolError, match="is answered already"):
        both.server.session.respond(asked.id, paid())


def test_deadlines_of_both_directions_share_one_timer() -> None:
    both = Both()
    both.client.request(timeout=3.0)
    both.server.request(timeout=1.0)
    both.client.request(timeout=2.0)
    both.run(10.0)
    assert len(both.client.take_all(RequestFailed)) == 2
    assert len(both.client.take_all(RequestExpired)) == 1
    assert len(both.server.take_all(RequestFailed)) == 1
    assert len(both.server.take_all(RequestExpired)) == 2


@pytest.mark.parametrize(("ahead", "expired"), [(1, False), (0, True), (-1, True), (-NOW_MS, False)])
def test_an_expired_request_is_not_executed(ahead: int, expired: bool) -> None:
    """At the moment that it names it has expired; 0 is never."""
    hostile = Hostile()
    hostile.send(envelope(search(expires_at_ms=NOW_MS + ahead)))
    assert bool(hostile.side.take_all(RequestReceived)) is not expired
    if expired:
        flight = hostile.output()
        assert flight is not None
        answer = v1.RatatoskrResponse.FromString(flight.envelopes[0][1:])
        assert answer.error.reason == Rule.REQUEST_EXPIRED.id.upper().replace(".", "_")
        assert answer.error.disposition == v1.DISPOSITION_NOT_PROCESSED
        assert answer.error.code == Status.DEADLINE_EXCEEDED


@pytest.mark.parametrize("ahead", [1, -1])
def test_the_expiry_of_what_runs_at_most_once_is_not_the_sessions_to_judge(ahead: int) -> None:
    """It may have run already under this nonce: "not processed" would be untrue, and the caller would pay again."""
    both = Both()
    both.client.request(PAY, pay(), expires_at=NOW_MS / 1000 + ahead)
    both.settle()
    assert len(both.server.take_all(RequestReceived)) == 1


# Refusals by the session itself


@pytest.mark.parametrize(
    ("request_", "reason", "sealed"),
    [
        (custom(77, b""), "KIND_UNKNOWN", True),
        (search(payload=b"\xff"), "PAYLOAD_MALFORMED", False),
        (custom(1, b"\xff"), "PAYLOAD_MALFORMED", True),
    ],
    ids=["unknown", "deferred", "sealed"],
)
def test_a_request_that_breaks_a_call_rule_is_answered_without_the_application(
    request_: v1.RatatoskrRequest, reason: str, sealed: bool
) -> None:
    hostile = Hostile()
    hostile.send(envelope(request_), envelope(search()))
    assert len(hostile.side.take_all(RequestReceived)) == 1
    flight = hostile.output()
    assert flight is not None
    (answer,) = [v1.RatatoskrResponse.FromString(each[1:]) for each in flight.envelopes]
    assert (answer.request_number, answer.request_leaf) == (1, leaf_by_hand(1, envelope(request_)))
    assert (answer.type, answer.operation, answer.last) == (request_.type, request_.operation, True)
    assert answer.error.reason == reason
    assert flight.HasField("seal") is sealed
    assert flight.ack == 2


def test_an_answer_that_makes_no_sense_leaves_the_outcome_unknown() -> None:
    hostile = Hostile(Direction.FROM_CLIENT)
    id = hostile.side.request()
    hostile.output()
    hostile.send(envelope(found(request_leaf=hostile.leaf(1), payload=b"\xff")), ack=1)
    failed = hostile.side.take(RequestFailed)
    assert failed.id is id
    assert (failed.failure.reason, failed.failure.disposition) == ("ANSWER_INVALID", Disposition.MAYBE)
    assert failed.evidence is not None


# Misuse


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda s: s.request(SEARCH, v1.GoAway()), "MARKETPLACE_SEARCH takes a Search; this is a GoAway"),
        (lambda s: s.request(PAY, LAMP), "PAYMENT_AUTHORIZE takes a AuthorizePayment; this is a Search"),
        (lambda s: s.request(PAY, None), "PAYMENT_AUTHORIZE takes a AuthorizePayment; this is a NoneType"),
        (lambda s: s.request(PAY, v1.AuthorizePayment()), "runs at most once and needs a key"),
        (lambda s: s.request(PAY, pay(), key="K"), "leave key= out"),
        (
            lambda s: s.request(Kind(1001, 2, "acme.Redeem", v1.Search, v1.Search), LAMP),
            "acme.Redeem .* is not known here",
        ),
        (lambda s: s.request(SEARCH, LAMP, timeout=0.0), "timeout=0.0"),
        (lambda s: s.request(SEARCH, LAMP, timeout=-1.0), "timeout=-1.0"),
        (lambda s: s.request(SEARCH, LAMP, timeout=nan), "timeout=nan"),
        (lambda s: s.request(SEARCH, LAMP, timeout=inf), "timeout=inf"),
        (lambda s: s.request(SEARCH, LAMP, timeout=86_400.1), "timeout=86400.1"),
        (lambda s: s.request(SEARCH, LAMP, expires_at=inf), "expires_at=inf"),
        (lambda s: s.request(SEARCH, LAMP, expires_at=nan), "expires_at=nan"),
        (lambda s: s.request(SEARCH, LAMP, expires_at=1e20), "expires_at=1e.20"),
        (lambda s: s.request(SEARCH, LAMP, expires_at=0.0), "expires_at=0.0"),
        (lambda s: s.request(SEARCH, LAMP, expires_at=-5.0), "expires_at=-5.0"),
        (lambda s: s.request(SEARCH, LAMP, metadata={"A": ""}), "metadata name 'A'"),
        (lambda s: s.request(SEARCH, LAMP, metadata={"a": "\ud800"}), "is no text"),
        (lambda s: s.request(PLAIN, v1.GoAway(reason="x" * 300_000)), "Limits.envelope_bytes is 245760"),
        (lambda s: s.respond(RequestId(), FOUND), "is no request of the peer's"),
        (lambda s: s.fail(RequestId(), failure()), "is no request of the peer's"),
    ],
)
def test_misuse_says_what_to_do_and_changes_nothing(misuse: Callable[[Any], Any], message: str) -> None:
    both = Both()
    with pytest.raises(LocalProtocolError, match=message):
        misuse(both.client.session)
    both.run(60.0)
    assert both.client.events == []
    assert both.client.flights == []


@pytest.mark.parametrize("expires_at", [0.001, 1e15])
def test_any_expiry_that_the_wire_can_say_is_sent(expires_at: float) -> None:
    both = Both()
    both.client.request(expires_at=expires_at)
    both.settle()


def test_answering_takes_the_id_of_the_peer_s_request() -> None:
    both, other = Both(), Both()
    own = both.client.request()
    both.settle()
    asked = both.server.take(RequestReceived)
    answers: list[Callable[[Session, RequestId], None]] = [
        lambda session, id: session.respond(id, FOUND),
        lambda session, id: session.fail(id, failure()),
    ]
    for answer in answers:
        with pytest.raises(LocalProtocolError, match="is no request of the peer's"):
            answer(both.client.session, own)
        with pytest.raises(LocalProtocolError, match="belongs to another session"):
            answer(other.server.session, asked.id)
        with pytest.raises(LocalProtocolError, match="belongs to another session"):
            answer(both.client.session, asked.id)
    with pytest.raises(LocalProtocolError, match="MARKETPLACE_SEARCH is answered by a SearchResult; this is a Search"):
        both.server.session.respond(asked.id, LAMP)
    both.server.session.respond(asked.id, FOUND)
    both.settle()
    assert len(both.client.take_all(ResponseReceived)) == 1


@pytest.mark.parametrize("first", ["respond", "fail"])
@pytest.mark.parametrize("second", ["respond", "fail"])
@pytest.mark.parametrize("when", ["at once", "after it was sent", "after it was acknowledged"])
def test_a_request_is_answered_once(first: str, second: str, when: str) -> None:
    both = Both()
    both.client.request()
    both.settle()
    asked = both.server.take(RequestReceived)
    answers: dict[str, Callable[[], None]] = {
        "respond": lambda: both.server.session.respond(asked.id, FOUND),
        "fail": lambda: both.server.session.fail(asked.id, failure()),
    }
    answers[first]()
    if when == "after it was sent":
        both.settle()
    elif when == "after it was acknowledged":
        both.run(1.0)
    with pytest.raises(LocalProtocolError, match="is answered already"):
        answers[second]()
    both.run(1.0)
    assert len(both.client.take_all(ResponseReceived)) + len(both.client.take_all(RequestFailed)) == 1


def test_an_answer_that_is_too_long_changes_nothing_and_another_may_be_given() -> None:
    both = Both(Limits(envelope_bytes=5000))
    both.client.request(PLAIN, v1.GoAway())
    both.settle()
    asked = both.server.take(RequestReceived)
    with pytest.raises(LocalProtocolError, match=r"the answer has \d+ bytes; Limits.envelope_bytes is 5000"):
        both.server.session.respond(asked.id, v1.GoAway(reason="x" * 5000))
    both.server.session.fail(asked.id, failure("TOO_LONG"))
    both.settle()
    assert both.client.take(RequestFailed).failure.reason == "TOO_LONG"


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_an_answer_may_be_as_long_as_an_envelope(more: int) -> None:
    limits = Limits(record_bytes=MIN_RECORD_BYTES, envelope_bytes=MIN_ENVELOPE_BYTES)
    both = Both(limits)
    both.client.request(PLAIN, v1.GoAway())
    both.settle()
    asked = both.server.take(RequestReceived)
    frame = len(envelope(found(request_leaf=bytes(32), type=1000, operation=2, payload=bytes(2990)))) - 2990
    size = MIN_ENVELOPE_BYTES - frame - 3 + more
    if more > 0:
        with pytest.raises(LocalProtocolError, match="the answer has 3073 bytes"):
            both.server.session.respond(asked.id, v1.GoAway(reason="x" * size))
        return
    both.server.session.respond(asked.id, v1.GoAway(reason="x" * size))
    both.settle()
    assert len(both.client.take(ResponseReceived).received.envelope) == MIN_ENVELOPE_BYTES + more


def test_the_longest_error_fits_into_the_smallest_session() -> None:
    both = Both(Limits(record_bytes=MIN_RECORD_BYTES, envelope_bytes=MIN_ENVELOPE_BYTES))
    both.client.request()
    both.settle()
    asked = both.server.take(RequestReceived)
    both.server.session.fail(asked.id, Failure(Status.ABORTED, "😀" * 999, "😀" * 9999))
    both.settle()
    assert both.client.take(RequestFailed).failure.reason == "😀" * 16


# The queue


def test_a_full_queue_blocks_and_says_when_there_is_room_again() -> None:
    both = Both(Limits(requests_open=2, requests_queued=4))
    ids = [both.client.request() for _ in range(4)]
    with pytest.raises(WouldBlock, match="4 requests are queued; wait for the event Writable"):
        both.client.request()
    both.settle()
    assert len(both.client.take_all(Writable)) == 1, "two are sent, two are queued"
    ids.extend(both.client.request() for _ in range(2))
    with pytest.raises(WouldBlock):
        both.client.request()
    both.settle()
    assert not both.client.take_all(Writable), "no slot is free"
    for _ in range(2):
        both.serve()
    both.run(0.1)
    assert len(both.client.take_all(Writable)) == 1
    for _ in range(2):
        for asked in both.server.take_all(RequestReceived):
            both.server.session.respond(asked.id, FOUND)
        both.run(0.1)
    assert [each.id for each in both.client.take_all(ResponseReceived)] == ids
    assert not both.client.take_all(Writable), "it is said once"


@pytest.mark.parametrize(("more", "blocks"), [(-1, False), (0, False), (1, True)])
def test_the_queue_is_bounded_in_bytes(more: int, blocks: bool) -> None:
    """A request is charged 128 bytes beside payload and metadata."""
    both = Both(Limits(request_bytes_queued=20_000))
    size = 20_000 - 2 * 128 - 3 - 10_000 - 3 + more
    both.client.request(PLAIN, v1.GoAway(reason="x" * 10_000))
    if blocks:
        with pytest.raises(WouldBlock):
            both.client.request(PLAIN, v1.GoAway(reason="x" * size))
    else:
        both.client.request(PLAIN, v1.GoAway(reason="x" * size))
        with pytest.raises(WouldBlock):
            both.client.request()
    both.settle()
    both.client.take(Writable)


def test_there_is_room_again_when_half_of_the_bytes_are_free() -> None:
    both = Both(Limits(requests_open=1, request_bytes_queued=20_000))
    both.client.request()
    both.settle()
    for _ in range(3):
        both.client.request(PLAIN, v1.GoAway(reason="x" * 6000))
    with pytest.raises(WouldBlock):
        both.client.request(PLAIN, v1.GoAway(reason="x" * 6000))
    room = []
    for _ in range(3):
        for asked in both.server.take_all(RequestReceived):
            both.server.session.respond(asked.id, FOUND if asked.kind == SEARCH else v1.GoAway())
        both.settle()
        room.append(len(both.client.take_all(Writable)))
    assert room == [0, 1, 0], "at two thirds, at one third, and not again"


def test_a_request_that_is_longer_than_the_queue_is_taken_alone() -> None:
    """Otherwise it would be told to wait for a Writable that changes nothing, for ever."""
    both = Both(Limits(request_bytes_queued=1000))
    both.client.request(PLAIN, v1.GoAway(reason="x" * 2000))
    with pytest.raises(WouldBlock):
        both.client.request()
    both.settle()
    both.client.take(Writable)


def test_there_is_room_again_when_queued_calls_time_out() -> None:
    both = Both(Limits(requests_open=1, requests_queued=2))
    both.client.request(timeout=50.0)
    both.settle()
    both.client.request(timeout=1.0)
    both.client.request(timeout=1.0)
    with pytest.raises(WouldBlock):
        both.client.request()
    both.run(0.9)
    assert not both.client.take_all(Writable)
    both.run(0.2)
    both.client.take(Writable)


def test_requests_may_be_made_before_the_peer_is_known() -> None:
    both = Both(bind=False)
    id = both.client.request(PAY, pay())
    long = both.client.request(PLAIN, v1.GoAway(reason="x" * 10_000))
    both.client.session.start(both.now)
    both.limits = Limits(envelope_bytes=MIN_ENVELOPE_BYTES)
    both.bind()
    both.settle()
    failed = both.client.take(RequestFailed)
    assert failed.id is long
    assert (failed.failure.reason, failed.failure.disposition) == ("REQUEST_TOO_LONG", Disposition.NOT_PROCESSED)
    both.serve(paid())
    both.settle()
    assert both.client.take(ResponseReceived).id is id


def test_a_request_is_never_longer_than_it_was_charged() -> None:
    """The charge is what both slots and flights are counted by."""
    big = (1 << 31) - 1
    kind = Kind(big, (1 << 32) - 1, "BIG", v1.GoAway, v1.GoAway, sealed=False)
    both = Both(Limits(metadata_entries=200, metadata_bytes=100_000), kinds=KINDS | [kind])
    metadata = {f"{at:064}": "ä" * 100 for at in range(200)}
    both.client.request(kind, v1.GoAway(reason="x" * 100_000), metadata=metadata, expires_at=1e15)
    both.settle()
    received = both.server.take(RequestReceived).received
    charged = len(v1.GoAway(reason="x" * 100_000).SerializeToString()) + 128 + 200 * (64 + 200 + 16)
    assert len(received.envelope) <= charged


def test_a_kind_is_known_by_what_it_is_not_by_which_object() -> None:
    twin = Kind(1000, 1, "NOTE", v1.Search, v1.SearchResult)
    both = Both()
    id = both.client.request(twin, LAMP)
    both.settle()
    asked = both.serve()
    assert asked.kind == NOTE
    both.settle()
    assert both.client.take(ResponseReceived).id is id


def test_the_same_business_key_is_the_same_nonce_in_another_session() -> None:
    nonces = set()
    for _ in range(2):
        both = Both()
        both.client.request(MARKETPLACE_CANCEL, v1.CancelOrder(order_id="o-1"))
        both.settle()
        nonces.add(both.server.take(RequestReceived).request.nonce)
    assert nonces == {business_nonce(10, 4, b"o-1")}


def test_a_fault_s_name_is_the_reason_of_calls_that_it_ended() -> None:
    both = Both()
    numbered = both.client.request()
    both.settle()
    queued = both.client.request()
    both.client.session.end(Fault.TRANSPORT_LOST)
    both.client.collect()
    failed = both.client.take_all(RequestFailed)
    assert [(each.id, each.failure.disposition) for each in failed] == [
        (numbered, Disposition.MAYBE),
        (queued, Disposition.NOT_PROCESSED),
    ]
    assert {each.failure.reason for each in failed} == {"TRANSPORT_LOST"}
