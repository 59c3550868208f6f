"""Trying again: a call that fails is made again as its policy says, and in the end the truth is told of all of it."""

from __future__ import annotations

from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import CallError, CallFailed, CallRefused, Disposition, Fail, OutcomeUnknown, Status
from ratatoskr.events import RequestReceived
from ratatoskr.limits import Limits
from ratatoskr.messages import Kind
from ratatoskr.service import NO_RETRIES, Call, RetryBudget, RetryPolicy, Router
from ratatoskr.testing.clock import START, seeded
from tests.unit.service.lines import Lines, Strand
from tests.unit.service.support import NOTE, REDEEM, Cancelled, Gate, ask, say

POLICY = RetryPolicy(attempts=4, first_delay=1.0, growth=2.0, longest_delay=8.0)


def busy(reason: str = "BUSY", **options: Any) -> Fail:
    return Fail(Status.UNAVAILABLE, reason, disposition=Disposition.NOT_PROCESSED, **options)


def unsure(reason: str = "UNSURE", status: Status = Status.UNAVAILABLE) -> Fail:
    return Fail(status, reason, disposition=Disposition.MAYBE)


class Moods:
    """Handlers that fail in this order, and then answer."""

    def __init__(self, *failures: Fail) -> None:
        self.failures = list(failures)
        self.attempts: list[int] = []
        self.remaining: list[float] = []
        self.gate = Gate()
        self.gate.open = True
        self.router = Router()
        for kind in (NOTE, REDEEM):
            self.router.on(kind)(self._answer)

    async def _answer(self, message: v1.Search, call: Call) -> v1.GoAway:
        self.attempts.append(call.attempt)
        self.remaining.append(call.remaining())
        await self.gate
        if self.failures:
            raise self.failures.pop(0)
        return say(message.query)


class Scene:
    """A client that asks a moody server."""

    def __init__(self, *failures: Fail, policy: RetryPolicy = POLICY, limits: Limits | None = None) -> None:
        self.moods = Moods(*failures)
        self.lines = Lines(self.moods.router, retry=policy, limits=limits)

    def ask(self, kind: Any = NOTE, text: str = "x", **options: Any) -> Strand:
        return self.lines.client.start(self.lines.client.calls.exchange(kind, ask(text), **options))

    @property
    def delays(self) -> list[float]:
        """How long the client waited before each attempt but the first."""
        return [seconds for seconds in self.lines.host.slept if seconds]

    @property
    def retried(self) -> int:
        return self.lines.client.said("retry")

    @property
    def tokens(self) -> float:
        return self.lines.client.calls._asker.retries._tokens


def store_fails_once(scene: Scene) -> None:
    """Nobody knows whether the first claim was made."""
    store: Any = scene.lines.server.calls._handlers._service._claims._store
    claim = store.claim

    async def broken(wanted: Any, **_: Any) -> Any:
        store.claim = claim
        raise OSError

    store.claim = broken


def failure_of(strand: Strand) -> Any:
    assert isinstance(strand.error, CallError)
    return strand.error.failure


def test_what_is_not_processed_is_asked_again_until_it_is() -> None:
    scene = Scene(busy(), busy())
    strand = scene.ask(text="hello")
    scene.lines.run(10.0)
    assert strand.result.message == say("hello")
    assert scene.moods.attempts == [0, 1, 2]
    requests = [event.request for event in scene.lines.server.seen(RequestReceived)]
    assert len({(each.nonce, each.issued_at_ms, each.payload) for each in requests}) == 1, "it is the same request"
    assert scene.lines.at_rest()


def test_it_waits_as_long_as_the_budget_says() -> None:
    """As another budget does that draws from the same entropy."""
    scene = Scene(busy(), busy(), busy())
    entropy = seeded("draws")
    scene.lines.client.calls._asker.retries._entropy = entropy
    budget = RetryBudget(POLICY, seeded("draws"))
    expected = [
        budget.delay(NOTE, busy().failure, attempt=attempt, remaining=30.0, takes_requests=True) for attempt in range(3)
    ]
    strand = scene.ask()
    scene.lines.run(29.0)
    assert strand.result.message == say("x")
    assert scene.delays == pytest.approx(expected)
    assert max(scene.delays) > 1.0


def test_no_attempt_is_made_before_its_time() -> None:
    scene = Scene(busy(retry_delay=3.0))
    strand = scene.ask()
    scene.lines.run(2.999)
    assert scene.retried == 0
    scene.lines.run(2.0)
    assert scene.retried == 1
    assert strand.result.message == say("x")


def test_there_is_an_end_to_it() -> None:
    scene = Scene(*[busy(str(n)) for n in range(9)])
    strand = scene.ask()
    scene.lines.run(29.0)
    assert isinstance(strand.error, CallRefused)
    assert failure_of(strand).reason == "3", "the last failure is told"
    assert scene.moods.attempts == [0, 1, 2, 3]
    assert scene.lines.at_rest()


def test_without_retries_each_failure_is_told_at_once() -> None:
    scene = Scene(busy(), policy=NO_RETRIES)
    strand = scene.ask()
    scene.lines.settle()
    assert failure_of(strand) == busy().failure
    assert scene.delays == []


def test_an_answer_is_not_asked_for_again() -> None:
    scene = Scene(Fail(Status.UNAVAILABLE, "CLOSED"))
    strand = scene.ask()
    scene.lines.settle()
    assert isinstance(strand.error, CallFailed)
    assert scene.retried == 0


@pytest.mark.parametrize(("kind", "retried"), [(NOTE, 0), (REDEEM, 1)])
def test_what_may_have_been_done_is_asked_again_only_where_it_is_done_once(
    kind: Kind[v1.Search, v1.GoAway], retried: int
) -> None:
    """The store that keeps outcomes was away for a moment; nobody knows whether the claim was made."""
    scene = Scene()
    if kind.once:
        store_fails_once(scene)
    else:
        scene.moods.failures.append(unsure())
    strand = scene.ask(kind, key="k" if kind.once else None)
    scene.lines.run(10.0)
    assert scene.retried == retried
    if retried:
        assert strand.result.message == say("x")
    else:
        assert failure_of(strand) == unsure().failure


# Time


def test_all_attempts_share_the_time_of_the_call() -> None:
    scene = Scene(busy(retry_delay=4.0), busy(retry_delay=4.0), busy(retry_delay=4.0))
    strand = scene.ask(timeout=10.0)
    scene.lines.run(20.0)
    assert scene.retried == 2
    assert failure_of(strand).reason == "BUSY"
    first, second, third = scene.moods.remaining
    assert first == pytest.approx(10.0)
    assert 4.0 < second < 6.0
    assert 0.0 < third < 2.0
    assert scene.lines.host.clock.now.mono == pytest.approx(20.0)


def test_a_delay_that_the_call_has_no_time_for_is_not_waited_for() -> None:
    scene = Scene(busy(retry_delay=10.0))
    strand = scene.ask(timeout=10.0)
    scene.lines.settle()
    assert failure_of(strand).reason == "BUSY"
    assert scene.delays == []


def test_an_attempt_times_out_when_the_time_of_the_call_is_over() -> None:
    scene = Scene(busy(retry_delay=4.0))
    strand = scene.ask(timeout=10.0)
    scene.lines.settle()
    scene.moods.gate.open = False
    scene.lines.run(9.99)
    assert not strand.is_over()
    scene.lines.run(0.02)
    assert failure_of(strand).reason == "TIMEOUT"
    assert scene.lines.at_rest()


def test_who_is_woken_too_late_asks_no_more() -> None:
    """The process was stopped for a while."""
    scene = Scene(busy(retry_delay=4.0))
    strand = scene.ask(timeout=10.0)
    scene.lines.settle()
    scene.lines.host.clock.advance(11.0)
    scene.lines.settle()
    assert failure_of(strand) == busy(retry_delay=4.0).failure
    assert scene.retried == 0
    assert scene.lines.at_rest()


def test_the_time_that_a_retry_waits_for_a_place_is_of_the_call_s() -> None:
    """It failed at once, and was to be made again after 2 seconds; the queue was full for 4 more."""
    scene = Scene(busy(retry_delay=2.0), limits=Limits(requests_open=1, requests_queued=1))
    strand = scene.ask(timeout=10.0)
    scene.lines.run(0.1)
    scene.moods.gate.open = False
    others = [scene.ask(text=str(n), timeout=6.0) for n in range(2)]
    scene.lines.run(5.0)
    assert scene.retried == 1, "it was refused a place"
    scene.lines.run(2.0)
    assert all(failure_of(each).reason == "TIMEOUT" for each in others)
    assert scene.lines.client.pending == 1
    scene.lines.run(2.8)
    assert not strand.is_over()
    scene.lines.run(0.2)
    assert failure_of(strand).reason == "TIMEOUT"
    assert scene.lines.host.clock.now.mono == pytest.approx(10.1, abs=0.01)


# What is told in the end


def test_a_call_ends_no_surer_than_its_least_sure_attempt() -> None:
    """The first attempt may have paid. That the last was refused says nothing of it."""
    scene = Scene(*[busy() for _ in range(9)])
    store_fails_once(scene)
    strand = scene.ask(REDEEM, key="k")
    scene.lines.run(29.0)
    assert isinstance(strand.error, OutcomeUnknown)
    assert failure_of(strand).reason == "BUSY"
    assert failure_of(strand).disposition is Disposition.MAYBE
    assert scene.retried == 3


def test_a_refusal_on_the_way_to_the_next_attempt_hides_no_doubt() -> None:
    """The connection ends while the next attempt is waited for."""
    scene = Scene(*[busy() for _ in range(9)])
    store_fails_once(scene)
    strand = scene.ask(REDEEM, key="k")
    scene.lines.settle()
    assert not strand.is_over()
    scene.lines.pair.cut()
    scene.lines.run(10.0)
    assert isinstance(strand.error, OutcomeUnknown), "and not CallRefused"
    assert failure_of(strand).reason == "TRANSPORT_LOST"
    assert "connect again" in failure_of(strand).message
    assert scene.lines.client.pending == 0


def test_a_refusal_on_the_way_of_what_surely_did_nothing_is_one() -> None:
    scene = Scene(busy(retry_delay=2.0))
    strand = scene.ask()
    scene.lines.settle()
    scene.lines.pair.cut()
    scene.lines.run(10.0)
    assert isinstance(strand.error, CallRefused)
    assert strand.error.__suppress_context__


# Where it is not to be


def test_on_a_line_that_takes_no_requests_nothing_is_asked_again() -> None:
    scene = Scene(busy())
    scene.moods.gate.open = False
    strand = scene.ask()
    scene.lines.settle()
    scene.lines.server.connection.close()
    scene.lines.settle()
    scene.moods.gate.open = True
    scene.lines.settle()
    assert failure_of(strand) == busy().failure
    assert scene.delays == []
    assert scene.tokens == POLICY.tokens, "and it costs nothing"


def test_a_line_that_begins_to_end_meanwhile_ends_the_call_at_its_next_attempt() -> None:
    scene = Scene(busy(retry_delay=2.0))
    strand = scene.ask()
    scene.lines.settle()
    holding = Gate()
    scene.moods.gate = holding
    other = scene.ask()
    scene.lines.settle()
    scene.lines.server.connection.close()
    scene.lines.run(5.0)
    assert failure_of(strand).reason == "GOING_AWAY"
    assert isinstance(strand.error, CallRefused)
    assert not other.is_over()


def test_who_gives_up_between_two_attempts_leaves_nothing() -> None:
    scene = Scene(busy(retry_delay=2.0))
    strand = scene.ask()
    scene.lines.settle()
    strand.cancel()
    scene.lines.run(10.0)
    assert isinstance(strand.error, Cancelled)
    assert (scene.retried, scene.lines.client.said("cancel")) == (0, 0)
    assert scene.lines.at_rest()


def test_who_gives_up_in_a_later_attempt_cancels_that_one() -> None:
    scene = Scene(busy())
    strand = scene.ask()
    scene.lines.settle()
    scene.moods.gate.open = False
    scene.lines.run(2.0)
    assert scene.moods.attempts == [0, 1]
    strand.cancel()
    scene.lines.settle()
    assert scene.lines.client.said("cancel") == 1
    assert scene.lines.at_rest()


def test_all_calls_share_the_budget_and_successes_fill_it_again() -> None:
    scene = Scene(*[busy() for _ in range(20)], policy=RetryPolicy(attempts=2, tokens=10, token_ratio=1.0))
    strands = [scene.ask(text=str(n)) for n in range(10)]
    scene.lines.run(5.0)
    assert all(strand.is_over() for strand in strands)
    assert scene.retried == 4, "with half of the tokens gone nothing is made again"
    scene.moods.failures.clear()
    for _ in range(20):
        scene.lines.ask(scene.lines.client.calls.exchange(NOTE, ask()))
    assert scene.tokens == 10
    scene.moods.failures[:] = [busy()]
    strand = scene.ask()
    scene.lines.run(5.0)
    assert strand.result.message == say("x")


def test_the_server_s_calls_are_made_again_too() -> None:
    moods = Moods(busy())
    lines = Lines(answers=moods.router, retry=POLICY)
    strand = lines.server.start(lines.server.calls.exchange(NOTE, ask("x")))
    lines.run(5.0)
    assert strand.result.message == say("x")
    assert moods.attempts == [0, 1]


@pytest.mark.parametrize(("policy", "replayed"), [(NO_RETRIES, False), (POLICY, True)])
def test_a_caller_hears_whether_a_failure_is_a_stored_outcome(policy: RetryPolicy, replayed: bool) -> None:
    """What a handler left uncertain is kept: the next attempt gets it again, and says so."""
    scene = Scene(unsure(), policy=policy)
    call = scene.ask(REDEEM, key="k")
    scene.lines.run(10.0)
    assert isinstance(call.error, OutcomeUnknown)
    assert call.error.replayed is replayed
    assert scene.moods.attempts == [0]


def test_a_request_keeps_the_issue_time_that_an_earlier_process_gave_it() -> None:
    scene = Scene(busy())
    call = scene.ask(REDEEM, key="k", issued_at=scene.lines.host.clock.now.wall - 100.5)
    scene.lines.run(10.0)
    assert call.error is None
    asked = [event.request.issued_at_ms for event in scene.lines.server.seen(RequestReceived)]
    assert asked == [int((START - 100.5) * 1000)] * 2
