"""Who waits gets what came, once; and nothing waits for ever."""

from __future__ import annotations

import pytest

from ratatoskr.errors import CallError, CallFailed, CallRefused, Disposition, Failure, OutcomeUnknown, Status
from ratatoskr.events import RequestId
from ratatoskr.service import Exchange, PendingCalls
from tests.unit.service.support import NOTE, failed, response, say


def failure(disposition: Disposition) -> Failure:
    return Failure(Status.ABORTED, "WHY", "because", disposition)


def test_the_waiter_of_a_request_gets_its_answer() -> None:
    pending: PendingCalls[str] = PendingCalls()
    first, second = RequestId(), RequestId()
    pending.add(first, "first")
    pending.add(second, "second")
    settled = pending.settle(response(second, NOTE, say("hello"), replayed=True))
    assert settled is not None
    assert settled.waiter == "second"
    exchange = settled.outcome
    assert isinstance(exchange, Exchange)
    assert exchange.message == say("hello")
    assert exchange.kind is NOTE
    assert exchange.replayed
    assert settled.evidence is exchange.evidence
    receipt = exchange.receipt()
    assert receipt is not None
    assert receipt.number == 1
    assert len(pending) == 1


@pytest.mark.parametrize(
    ("disposition", "cls"),
    [
        (Disposition.NOT_PROCESSED, CallRefused),
        (Disposition.MAYBE, OutcomeUnknown),
        (Disposition.FAILED, CallFailed),
    ],
)
def test_a_failure_becomes_the_exception_of_its_disposition(disposition: Disposition, cls: type[CallError]) -> None:
    pending: PendingCalls[str] = PendingCalls()
    id = RequestId()
    pending.add(id, "waiter")
    settled = pending.settle(failed(id, failure(disposition)))
    assert settled is not None
    assert settled.waiter == "waiter"
    assert type(settled.outcome) is cls
    assert settled.outcome.failure == failure(disposition)
    assert settled.evidence is None
    assert len(pending) == 0


def test_the_error_of_the_peer_comes_with_its_evidence() -> None:
    pending: PendingCalls[str] = PendingCalls()
    id = RequestId()
    pending.add(id, "waiter")
    settled = pending.settle(failed(id, failure(Disposition.FAILED), NOTE))
    assert settled is not None
    assert settled.evidence is not None


def test_an_outcome_is_given_once_and_not_to_who_gave_up() -> None:
    pending: PendingCalls[str] = PendingCalls()
    id, abandoned = RequestId(), RequestId()
    pending.add(id, "waiter")
    pending.add(abandoned, "gone")
    pending.forget(abandoned)
    pending.forget(abandoned)
    assert pending.settle(response(abandoned, NOTE, say(""))) is None
    assert pending.settle(response(id, NOTE, say(""))) is not None
    assert pending.settle(response(id, NOTE, say(""))) is None


def test_a_waiter_that_is_false_waits_too() -> None:
    pending: PendingCalls[int] = PendingCalls()
    id = RequestId()
    pending.add(id, 0)
    settled = pending.settle(response(id, NOTE, say("")))
    assert settled is not None
    assert settled.waiter == 0
