"""Claims that die under an oath: the handler has no effect but in its transaction, so it is executed again."""

from __future__ import annotations

from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import CallFailed, Disposition, Failure, LocalProtocolError, Status
from ratatoskr.service import ATOMIC, Call, MemoryStore, Next, Router, Service
from ratatoskr.service.once import CONFLICT, OUTCOME_UNKNOWN, RUNNING_ELSEWHERE, STORE_UNAVAILABLE
from tests.unit.service.bench import NOTHING_DONE, POLICY, REFUSED, Bench
from tests.unit.service.deaths import Bank, awake, died, last, successor
from tests.unit.service.support import REDEEM, ask, failing, request, run, say


@pytest.fixture
def bank() -> Bank:
    return Bank()


def test_an_atomic_handler_is_executed_again() -> None:
    dead = died(ATOMIC)
    heir = successor(dead, ATOMIC)
    assert heir.redeem() == (say("10 1"), False)
    assert heir.redeem() == (say("10 1"), True)
    assert heir.executed == ["10"]
    assert dead.store.calls == ["claim", "take_over", "commit", "claim"]
    assert [each.committed for each in dead.store.transactions] == [None, ["10"]]
    assert heir.world.logged == ["once.recovered"]


def test_not_before_its_lease_is_over() -> None:
    dead = Bench(recover=ATOMIC)
    dead.gate.open = False
    dead.start(request(REDEEM, ask("10")))
    heir = successor(dead, ATOMIC)
    heir.world.clock.advance(POLICY.lease - 0.1)
    assert heir.redeem() == (RUNNING_ELSEWHERE, False)
    heir.world.clock.advance(0.1)
    assert heir.redeem() == (say("10 1"), False)


def test_another_request_does_not_trigger_it() -> None:
    dead = died(ATOMIC)
    heir = successor(dead, ATOMIC)
    assert heir.redeem("11") == (CONFLICT, False)
    assert dead.store.calls == ["claim"]
    assert heir.redeem() == (say("10 1"), False)


def test_who_was_only_slow_commits_nothing_and_claims_nothing() -> None:
    slow = died(ATOMIC)
    assert successor(slow, ATOMIC).redeem() == (say("10 1"), False)
    awake(slow)
    assert slow.store.transactions[0].committed is None
    assert slow.world.logged == ["store.claim_lost"]
    event, link = last(slow)
    assert link.told[event.id] == (RUNNING_ELSEWHERE, False), "whoever asks again hears the heir's answer"
    assert slow.redeem() == (say("10 1"), True)


@pytest.mark.parametrize("error", [REFUSED, NOTHING_DONE, ValueError("broken")])
def test_who_was_only_slow_says_nothing_of_what_its_heir_may_have_done(error: Exception) -> None:
    """It found no money, but its heir did."""
    slow = died(ATOMIC)
    slow.then = lambda: error
    assert successor(slow, ATOMIC).redeem() == (say("10 1"), False)
    awake(slow)
    event, link = last(slow)
    assert link.told[event.id] == (RUNNING_ELSEWHERE, False)


def test_an_execution_that_swore_nothing_is_not_executed_again() -> None:
    """The handler became atomic with a later version of the program."""
    dead = died(None)
    heir = successor(dead, ATOMIC)
    assert heir.redeem() == (OUTCOME_UNKNOWN, False)
    assert heir.executed == []
    assert dead.store.calls == ["claim"]


def test_an_execution_that_swore_is_recovered_by_a_later_version_that_asks(bank: Bank) -> None:
    heir = successor(died(ATOMIC), bank.recover)
    bank.answers = lambda: say("found")
    assert heir.redeem() == (say("found"), False)


def test_a_later_version_without_recovery_leaves_it_alone() -> None:
    heir = successor(died(ATOMIC), None)
    assert heir.redeem() == (OUTCOME_UNKNOWN, False)
    assert heir.executed == []


def test_an_atomic_handler_that_has_begun_nothing_is_at_fault() -> None:
    """Its effect is elsewhere, so it must not be executed again."""
    bench = Bench(recover=ATOMIC)
    bench.transactional = False
    answer, _ = bench.redeem()
    assert (answer.status, answer.disposition) == (Status.INTERNAL, Disposition.MAYBE)
    [note] = bench.world.notes
    assert "is declared ATOMIC and returned without call.begin()" in note.text
    assert bench.redeem() == (answer, True)
    assert bench.executed == ["10"]


@pytest.mark.parametrize("begins", [True, False])
def test_a_refusal_needs_no_transaction(begins: bool) -> None:
    bench = Bench(recover=ATOMIC)
    bench.transactional = begins
    bench.then = lambda: REFUSED
    assert bench.redeem() == (REFUSED.failure, False)
    assert bench.redeem() == (REFUSED.failure, True)


def test_middleware_may_answer_for_an_atomic_handler() -> None:
    router, bench = Router(), Bench()

    @router.middleware
    async def instead(call: Call, message: Any, call_next: Next) -> Any:
        return say("instead")

    @router.on(REDEEM, recover=ATOMIC)
    async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
        raise AssertionError

    bench.service = Service(router, host=bench.world, store=bench.store)
    assert bench.redeem() == (say("instead"), False)
    assert bench.redeem() == (say("instead"), True)


@pytest.mark.parametrize("error", [ValueError("broken"), CallFailed(REFUSED.failure), ExceptionGroup("", [OSError()])])
@pytest.mark.parametrize("begins", [True, False])
def test_an_atomic_handler_that_breaks_has_surely_done_nothing(error: Exception, begins: bool) -> None:
    bench = Bench(recover=ATOMIC)
    bench.transactional = begins
    bench.then = lambda: error
    answer, _ = bench.redeem()
    assert (answer.status, answer.reason) == (Status.INTERNAL, "INTERNAL")
    assert answer.disposition is Disposition.NOT_PROCESSED
    bench.then, bench.transactional = lambda: None, True
    assert bench.redeem("11") == (say("11 2"), False), "the key is free"


def test_an_answer_that_cannot_be_sent_is_not_committed_by_an_atomic_handler() -> None:
    router, bench = Router(), Bench()

    @router.on(REDEEM, recover=ATOMIC)
    async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
        await call.begin()
        return message  # type: ignore[return-value]

    bench.service = Service(router, host=bench.world, store=bench.store)
    answer, _ = bench.redeem()
    assert (answer.status, answer.disposition) == (Status.INTERNAL, Disposition.NOT_PROCESSED)
    assert bench.store.transactions[0].committed is None
    assert len(bench.store.store) == 0


def test_atomic_needs_a_store_with_transactions() -> None:
    with pytest.raises(LocalProtocolError, match=r"acme.Redeem .* is ATOMIC, and MemoryStore has no transactions"):
        Bench(MemoryStore(), recover=ATOMIC)


@pytest.mark.parametrize(("failure", "told"), [(OSError("disk"), STORE_UNAVAILABLE), (None, RUNNING_ELSEWHERE)])
def test_what_was_not_committed_is_executed_at_the_next_request(failure: Exception | None, told: Failure) -> None:
    """This process knows that it lost its claim, and does not wait for the end of its lease."""
    bench = Bench(recover=ATOMIC)
    if failure is not None:
        bench.store.before["commit"] = failing(failure)
        assert bench.redeem() == (told, False)
        del bench.store.before["commit"]
    else:
        bench.gate.open = False
        bench.start(request(REDEEM, ask("10")))
        bench.store.lease_over = True
        assert last(awake(bench))[1].told == {last(bench)[0].id: (told, False)}
        bench.store.lease_over = False
    assert bench.redeem() == (say("10 2"), False)
    assert [each.committed for each in bench.store.transactions] == [None, ["10"]]


def test_a_cancelled_execution_is_recovered_at_once_in_its_own_process() -> None:
    bench = Bench(recover=ATOMIC)
    bench.gate.open = False
    _, task = bench.start(request(REDEEM, ask("10")))
    task.cancel()
    bench.gate.open = True
    assert bench.redeem() == (say("10 2"), False)
    first, second = bench.store.transactions
    assert first.abandoned
    assert first.claim.owner != second.claim.owner, "so that whatever is left of the first is fenced"
    assert not run(bench.store.complete(first.claim, b"", keep_until=0.0))
