"""What becomes of a post: the moves, when its time is over, what each failure means for it, whose turn it is."""

from __future__ import annotations

from math import inf

import pytest

from ratatoskr.errors import CallError, Disposition, Failure, Status
from ratatoskr.limits import MAX_REQUEST_TIMEOUT
from ratatoskr.service import Head, OutboxPolicy, Parcel, Posting
from ratatoskr.service.once import CONFLICT, OUTCOME_UNKNOWN, RUNNING_ELSEWHERE, STORE_UNAVAILABLE
from ratatoskr.service.outbox.policy import judge
from ratatoskr.service.outbox.schedule import Schedule
from ratatoskr.service.outbox.states import POSTING, UNSETTLED, PostingInput
from ratatoskr.testing.clock import seeded
from tests.unit.service.desk import BUSY, DENIED, LOST, NO_FUNDS, VOUCHER

TIMEOUT = Failure(Status.DEADLINE_EXCEEDED, "TIMEOUT", "no answer", Disposition.MAYBE)
NOT_SENT = Failure(Status.DEADLINE_EXCEEDED, "TIMEOUT", "offline", Disposition.NOT_PROCESSED)
EXPIRED = Failure(Status.DEADLINE_EXCEEDED, "REQUEST_EXPIRED", "too late", Disposition.NOT_PROCESSED)
BANK_SILENT = Failure(Status.UNAVAILABLE, "BANK_SILENT", "who knows", Disposition.MAYBE)
STALE = Failure(Status.FAILED_PRECONDITION, "STALE", "too old", Disposition.NOT_PROCESSED)
BUDGET = Failure(Status.RESOURCE_EXHAUSTED, "PAYLOAD_BUDGET", "too many fields", Disposition.NOT_PROCESSED)


# States


def test_what_is_doubtful_never_becomes_sure_again() -> None:
    reached = {after for (before, _), after in POSTING.items() if before is Posting.DOUBTFUL}
    assert reached == {Posting.DOUBTFUL, Posting.SETTLED}


def test_only_what_surely_did_nothing_can_be_cancelled() -> None:
    assert [before for before, input in POSTING if input is PostingInput.CANCEL] == [Posting.WAITING]


def test_only_done_forgets() -> None:
    forgetting = {key for key, after in POSTING.items() if after is Posting.FORGOTTEN}
    assert forgetting == {(Posting.SETTLED, PostingInput.DONE), (Posting.FORGOTTEN, PostingInput.DONE)}


def test_every_state_without_an_outcome_can_be_sent_and_gets_one() -> None:
    for state in UNSETTLED:
        reached, new = set[Posting](), {state}
        while new:
            reached |= new
            new = {after for (before, _), after in POSTING.items() if before in reached} - reached
        assert Posting.SETTLED in reached


# Failures


@pytest.mark.parametrize("state", [Posting.SENT, Posting.DOUBTFUL])
@pytest.mark.parametrize("failure", [BUSY, NOT_SENT, LOST, TIMEOUT, RUNNING_ELSEWHERE, STORE_UNAVAILABLE, BANK_SILENT])
def test_what_may_end_otherwise_is_sent_again(failure: Failure, state: Posting) -> None:
    unsure = failure.disposition is Disposition.MAYBE
    input, told = judge(VOUCHER, state, CallError.of(failure))
    assert (input, told) == (PostingInput.UNSURE if unsure else PostingInput.REFUSED, failure)


@pytest.mark.parametrize("failure", [DENIED, EXPIRED, STALE, BUDGET])
def test_what_the_peer_refuses_for_good_is_as_sure_as_what_came_before(failure: Failure) -> None:
    assert judge(VOUCHER, Posting.SENT, CallError.of(failure)) == (PostingInput.OUTCOME, failure)
    input, told = judge(VOUCHER, Posting.DOUBTFUL, CallError.of(failure))
    assert input is PostingInput.OUTCOME
    assert (told.status, told.reason, told.disposition) == (failure.status, failure.reason, Disposition.MAYBE)


@pytest.mark.parametrize("state", [Posting.SENT, Posting.DOUBTFUL])
@pytest.mark.parametrize("failure", [NO_FUNDS, CONFLICT, OUTCOME_UNKNOWN, Failure(Status.UNAVAILABLE, "CLOSED", "")])
def test_an_answer_is_an_answer(failure: Failure, state: Posting) -> None:
    assert judge(VOUCHER, state, CallError.of(failure)) == (PostingInput.OUTCOME, failure)


def test_a_doubt_that_the_peer_has_stored_will_not_go_away() -> None:
    """The handler left it uncertain, and that is what every later attempt would hear."""
    error = CallError.of(BANK_SILENT, replayed=True)
    assert judge(VOUCHER, Posting.DOUBTFUL, error) == (PostingInput.OUTCOME, BANK_SILENT)


def test_what_did_nothing_for_another_attempt_at_the_same_time_is_not_stored() -> None:
    """Who joins an execution hears its refusal as replayed; the key is free again."""
    assert judge(VOUCHER, Posting.SENT, CallError.of(BUSY, replayed=True))[0] is PostingInput.REFUSED


# Time


def parcel(state: Posting, *, issued_at: float = 1000.0, expires_at: float | None = None) -> Parcel:
    return Parcel(
        nonce=bytes(16),
        type=1,
        operation=1,
        key=b"k",
        payload=b"",
        metadata=(),
        lane="",
        issued_at=issued_at,
        expires_at=expires_at,
        state=state,
    )


POLICY = OutboxPolicy(retention=1000.0, margin=100.0)


@pytest.mark.parametrize(
    ("state", "expires_at", "now", "reason"),
    [
        (Posting.WAITING, None, 1899.9, None),
        (Posting.WAITING, None, 1900.0, "STALE NOT_PROCESSED"),
        (Posting.WAITING, 1500.0, 1499.9, None),
        (Posting.WAITING, 1500.0, 1500.0, "REQUEST_EXPIRED NOT_PROCESSED"),
        (Posting.WAITING, 1500.0, 5000.0, "REQUEST_EXPIRED NOT_PROCESSED"),
        (Posting.SENT, 1500.0, 5000.0, None),
        (Posting.DOUBTFUL, 1500.0, 1899.9, None),
        (Posting.DOUBTFUL, 1500.0, 1900.0, "OUTCOME_UNKNOWN MAYBE"),
        (Posting.SETTLED, 1500.0, 5000.0, None),
    ],
)
def test_when_its_time_is_over(state: Posting, expires_at: float | None, now: float, reason: str | None) -> None:
    ending = POLICY.ending(parcel(state, expires_at=expires_at), now)
    assert (f"{ending.reason} {ending.disposition.name}" if ending else None) == reason


@pytest.mark.parametrize(
    ("said", "lasts"),
    [
        (None, 900.0),
        (1e16, 900.0),
        (1000.0, 900.0),
        (999.0, 899.0),
        (200.0, 100.0),
        (199.0, 99.5),
        (0.002, 0.001),
        (0.0, 0.0),
    ],
)
@pytest.mark.parametrize("state", [Posting.WAITING, Posting.DOUBTFUL])
def test_a_server_that_keeps_outcomes_for_less_is_asked_for_less(
    state: Posting, said: float | None, lasts: float
) -> None:
    post = parcel(state)
    assert POLICY.ending(post, post.issued_at + lasts, said) is not None
    assert POLICY.issued_until(post.issued_at + lasts, said) == pytest.approx(post.issued_at)
    if lasts:
        assert POLICY.ending(post, post.issued_at + lasts - 0.0001, said) is None


# Turns


def schedule(**policy: float) -> Schedule:
    return Schedule(OutboxPolicy(**{"first_delay": 1.0, "longest_delay": 8.0, **policy}), seeded("turns"))  # type: ignore[arg-type]


HEADS = [Head(1, "a"), Head(3, "b"), Head(4, "c")]


def test_lanes_go_in_the_order_of_their_first_posts_so_many_at_a_time() -> None:
    turns = schedule(lanes=2)
    assert turns.pick(HEADS, 0.0) == HEADS[:2]
    assert turns.pick(HEADS, 0.0) == []
    turns.finish(3)
    assert turns.pick([Head(1, "a"), Head(4, "c"), Head(5, "b")], 0.0) == [Head(4, "c")]


def test_a_lane_whose_first_post_waits_sends_no_other_and_takes_no_place() -> None:
    turns = schedule(lanes=1)
    turns.pick(HEADS, 0.0)
    turns.postpone(1, 0.0, None)
    assert turns.pick(HEADS, 0.0) == [Head(3, "b")]
    assert turns.next_in(0.0) == inf, "there is no place"
    turns.finish(3)
    assert 0.5 <= turns.next_in(0.0) <= 1.0
    assert turns.pick([Head(1, "a")], 1.0) == [Head(1, "a")]


def test_delays_double_up_to_the_longest_and_advice_is_a_floor() -> None:
    turns = schedule()
    delays, now = [], 0.0
    for advice in (None, None, None, None, None, 30.0):
        turns.pick(HEADS[:1], now)
        turns.postpone(1, now, advice)
        delays.append(turns.next_in(now))
        now += delays[-1]
    for delay, longest in zip(delays, (1.0, 2.0, 4.0, 8.0, 8.0, 38.0), strict=True):
        assert longest - min(longest, 8.0) / 2 <= delay <= longest
    turns.pick(HEADS[:1], now)
    turns.finish(1)
    turns.pick([Head(9, "a")], now)
    turns.postpone(9, now, None)
    assert turns.next_in(now) <= 1.0, "another post begins anew"


def test_who_hurries_waits_no_longer_than_the_peer_has_asked_for() -> None:
    turns = schedule()
    turns.pick(HEADS, 0.0)
    for head, advice in zip(HEADS, (None, 100.0, None), strict=True):
        turns.postpone(head.id, 0.0, advice)
    assert turns.pick(HEADS, 0.0) == []
    turns.hurry()
    assert turns.pick(HEADS, 0.0) == [HEADS[0], HEADS[2]]
    assert turns.next_in(0.0) == 100.0
    assert turns.busy == {1, 4}


def test_who_hurries_begins_anew() -> None:
    turns = schedule()
    for _ in range(6):
        turns.hurry()
        turns.pick(HEADS, 0.0)
        turns.postpone(1, 0.0, None)
        assert turns.next_in(0.0) <= 1.0


def test_no_advice_is_longer_than_a_day() -> None:
    turns = schedule()
    turns.pick(HEADS[:1], 0.0)
    turns.postpone(1, 0.0, 1e300)
    assert MAX_REQUEST_TIMEOUT < turns.next_in(0.0) <= MAX_REQUEST_TIMEOUT + 1.0


def test_nothing_is_remembered_of_what_is_gone() -> None:
    turns = schedule()
    turns.pick(HEADS, 0.0)
    turns.postpone(1, 0.0, None)
    turns.pick(HEADS[1:], 0.0)
    assert turns.next_in(0.0) == inf
