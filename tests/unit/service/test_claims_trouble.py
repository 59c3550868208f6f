"""At most once where owners die, stores fail, tasks are cancelled and transactions do not commit."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.errors import Disposition
from ratatoskr.service import Call, MemoryStore, Router, Service
from ratatoskr.service.claims import PURGE_LIMIT
from ratatoskr.service.once import CONFLICT, OUTCOME_UNKNOWN, RUNNING_ELSEWHERE, STORE_UNAVAILABLE
from ratatoskr.service.outcome import encode_outcome
from tests.unit.service.bench import NOBODY_KNOWS, NOTHING_DONE, POLICY, REFUSED, Bench
from tests.unit.service.support import (
    DEVICE,
    REDEEM,
    Cancelled,
    Gate,
    World,
    ask,
    failing,
    request,
    run,
    say,
)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# Owners


def neighbour(bench: Bench) -> Bench:
    """Another process on the same store."""
    return Bench(bench.store, World("neighbour", bench.world.clock))


def test_what_runs_in_another_process_is_to_be_asked_for_later(bench: Bench) -> None:
    other = neighbour(bench)
    bench.gate.open = False
    _, task = bench.start(request(REDEEM, ask("10")))
    assert other.redeem() == (RUNNING_ELSEWHERE, False)
    assert other.redeem("11") == (CONFLICT, False)
    bench.gate.open = True
    task.step()
    assert other.redeem() == (say("10 1"), True)
    assert other.executed == []
    assert other.world.logged == ["once.running_elsewhere", "once.conflict"]


def test_what_its_owner_left_undone_is_never_executed_again(bench: Bench) -> None:
    other = neighbour(bench)
    bench.gate.open = False
    bench.start(request(REDEEM, ask("10")))
    bench.world.clock.advance(59.9)
    assert other.redeem() == (RUNNING_ELSEWHERE, False)
    bench.world.clock.advance(0.1)
    assert other.redeem() == (OUTCOME_UNKNOWN, False)
    bench.world.clock.advance(900)
    assert other.redeem() == (OUTCOME_UNKNOWN, False)
    assert other.executed == []


def test_an_owner_that_was_only_slow_still_stores_its_outcome(bench: Bench) -> None:
    other = neighbour(bench)
    bench.gate.open = False
    event = request(REDEEM, ask("10"))
    link, task = bench.start(event)
    bench.world.clock.advance(100)
    assert other.redeem() == (OUTCOME_UNKNOWN, False)
    bench.gate.open = True
    task.step()
    assert link.told == {event.id: (say("10 1"), False)}
    assert other.redeem() == (say("10 1"), True)


def test_a_lease_is_renewed_for_as_long_as_the_handler_runs(bench: Bench) -> None:
    other = neighbour(bench)
    bench.gate.open = False
    _, task = bench.start(request(REDEEM, ask("10")))
    for _ in range(10):
        bench.world.clock.advance(run(bench.service.upkeep()))
        assert other.redeem() == (RUNNING_ELSEWHERE, False)
    bench.gate.open = True
    task.step()
    bench.store.calls.clear()
    run(bench.service.upkeep())
    assert bench.store.calls == ["purge"]


def test_what_is_only_being_claimed_is_not_renewed(bench: Bench) -> None:
    bench.store.before["claim"] = Gate()
    bench.start(request(REDEEM, ask("10")))
    run(bench.service.upkeep())
    assert bench.store.calls == ["claim", "purge"]


def test_a_claim_that_this_process_lost_is_not_taken_for_a_running_one(bench: Bench) -> None:
    bench.store.before["complete"] = failing(OSError("disk"))
    assert bench.redeem() == (say("10 1"), False), "the effect has happened, and the caller hears the truth"
    assert bench.redeem() == (OUTCOME_UNKNOWN, False)
    assert bench.executed == ["10"]
    assert bench.world.logged == ["store.outcome", "once.outcome_unknown"]


# A store that fails


def test_where_the_store_cannot_be_asked_nothing_is_executed(bench: Bench) -> None:
    gate = bench.store.before["claim"] = Gate()
    gate.error = OSError("disk")
    first, second = request(REDEEM, ask("10")), request(REDEEM, ask("11"))
    link, task = bench.start(first)
    bench.start(second, link)
    gate.open = True
    task.step()
    assert link.told == {first.id: (STORE_UNAVAILABLE, False), second.id: (STORE_UNAVAILABLE, False)}
    assert bench.executed == []
    assert bench.world.logged == ["store.claim"]
    del bench.store.before["claim"]
    assert bench.redeem() == (say("10 1"), False)


def test_a_claim_that_was_written_though_the_store_failed_is_not_executed(bench: Bench) -> None:
    bench.store.after["claim"] = failing(OSError("the answer got lost"))
    assert bench.redeem() == (STORE_UNAVAILABLE, False)
    del bench.store.after["claim"]
    assert bench.redeem() == (OUTCOME_UNKNOWN, False)
    assert bench.executed == []


def test_a_claim_that_vanished_is_noted(bench: Bench) -> None:
    bench.gate.open = False
    event = request(REDEEM, ask("10"))
    link, task = bench.start(event)
    bench.store.store._held.clear()
    bench.gate.open = True
    task.step()
    assert link.told == {event.id: (say("10 1"), False)}
    assert bench.world.logged == ["store.claim_lost"]


def test_a_failed_release_is_noted(bench: Bench) -> None:
    bench.then = lambda: NOTHING_DONE
    bench.store.before["release"] = failing(OSError("disk"))
    assert bench.redeem() == (NOTHING_DONE.failure, False)
    assert bench.world.logged == ["store.outcome"]


# Cancellation


@pytest.mark.parametrize(("place", "when"), [("before", "claim"), ("after", "claim"), ("before", "complete")])
def test_a_cancelled_job_tells_everybody_that_nobody_knows(bench: Bench, place: str, when: str) -> None:
    getattr(bench.store, place)[when] = Gate()
    first, second = request(REDEEM, ask("10")), request(REDEEM, ask("10"))
    link, task = bench.start(first)
    bench.start(second, link)
    task.cancel()
    assert isinstance(task.error, Cancelled)
    assert link.told == {first.id: (OUTCOME_UNKNOWN, False), second.id: (OUTCOME_UNKNOWN, False)}
    getattr(bench.store, place).clear()
    answer, replayed = bench.redeem()
    if (place, when) == ("before", "claim"):
        assert (answer, replayed) == (say("10 1"), False), "nothing was claimed"
    else:
        assert (answer, replayed) == (OUTCOME_UNKNOWN, False)


def test_a_cancelled_handler_is_never_executed_again(bench: Bench) -> None:
    bench.gate.open = False
    event = request(REDEEM, ask("10"))
    link, task = bench.start(event)
    task.cancel()
    assert link.told == {event.id: (OUTCOME_UNKNOWN, False)}
    assert bench.redeem() == (OUTCOME_UNKNOWN, False)
    assert bench.executed == ["10"]


# Transactions


@pytest.fixture
def transactional(bench: Bench) -> Bench:
    bench.transactional = True
    return bench


def test_effect_and_outcome_commit_together(transactional: Bench) -> None:
    bench = transactional
    assert bench.redeem() == (say("10 1"), False)
    [transaction] = bench.store.transactions
    assert transaction.committed == ["10"]
    assert bench.store.calls == ["claim", "commit"], "the claim first and alone, then both together"
    assert bench.redeem() == (say("10 1"), True)


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (REFUSED, ["claim", "complete"]),
        (NOBODY_KNOWS, ["claim", "complete"]),
        (NOTHING_DONE, ["claim", "release"]),
        (ValueError("broken"), ["claim", "complete"]),
    ],
)
def test_a_failed_handler_rolls_back(transactional: Bench, error: Exception, calls: list[str]) -> None:
    bench = transactional
    bench.then = lambda: error
    bench.redeem()
    [transaction] = bench.store.transactions
    assert transaction.abandoned
    assert transaction.committed is None
    assert bench.store.calls == calls


@pytest.mark.parametrize("failure", [OSError("disk"), None])
def test_where_the_commit_fails_nobody_knows(transactional: Bench, failure: Exception | None) -> None:
    bench = transactional
    bench.gate.open = False
    event = request(REDEEM, ask("10"))
    link, task = bench.start(event)
    if failure is None:
        bench.store.store._held.clear()
    else:
        bench.store.before["commit"] = failing(failure)
    bench.gate.open = True
    task.step()
    assert link.told == {event.id: (OUTCOME_UNKNOWN, False)}
    assert bench.store.transactions[0].committed is None
    assert bench.world.logged == ["store.outcome" if failure else "store.claim_lost"]


@pytest.mark.parametrize("where", ["start", "handler", "commit"])
def test_a_cancelled_transaction_is_abandoned(transactional: Bench, where: str) -> None:
    bench = transactional
    gate = Gate()
    if where == "handler":
        bench.gate = gate
    else:
        bench.store.before[where] = gate
    event = request(REDEEM, ask("10"))
    link, task = bench.start(event)
    task.cancel()
    assert isinstance(task.error, Cancelled)
    assert link.told == {event.id: (OUTCOME_UNKNOWN, False)}
    [transaction] = bench.store.transactions
    assert transaction.abandoned
    assert transaction.committed is None


def test_a_call_has_one_transaction(bench: Bench) -> None:
    router = Router()

    @router.on(REDEEM)
    async def greedy(message: v1.Search, call: Call) -> v1.GoAway:
        await call.begin()
        await call.begin()
        return say("")

    bench.service = Service(router, host=bench.world, store=bench.store)
    answer, _ = bench.redeem()
    assert answer.reason == "INTERNAL"
    [note] = bench.world.notes
    assert "a call has one transaction" in str(note.error)
    assert bench.store.transactions[0].abandoned


def test_a_store_without_transactions_says_so() -> None:
    bench = Bench(MemoryStore())
    bench.transactional = True
    answer, _ = bench.redeem()
    assert answer.disposition is Disposition.MAYBE
    [note] = bench.world.notes
    assert "MemoryStore has no transactions" in str(note.error)


# Upkeep


def test_outcomes_are_forgotten_when_no_fresh_request_can_ask_for_them(bench: Bench) -> None:
    bench.redeem()
    bench.world.clock.advance(POLICY.retention + POLICY.tolerance - 1)
    run(bench.service.upkeep())
    assert len(bench.store.store) == 1
    bench.world.clock.advance(1)
    run(bench.service.upkeep())
    assert len(bench.store.store) == 0


def test_upkeep_forgets_a_bounded_number_and_comes_back_soon() -> None:
    bench = Bench(MemoryStore())
    for number in range(PURGE_LIMIT + 1):
        bench.redeem(key=str(number).encode())
    bench.world.clock.advance(5000)
    assert run(bench.service.upkeep()) == 1.0
    assert run(bench.service.upkeep()) == 20.0
    assert len(bench.store) == 0


def test_upkeep_survives_a_store_that_fails(bench: Bench) -> None:
    bench.store.before["purge"] = failing(OSError("disk"))
    assert run(bench.service.upkeep()) == 20.0
    assert bench.world.logged == ["store.upkeep"]


def test_what_is_stored_is_what_was_told(bench: Bench) -> None:
    bench.redeem()
    [held] = bench.store.store._held.values()
    assert held.entry.outcome == encode_outcome(say("10 1"))
    assert held.keep_until == bench.world.clock.now.wall + 1100
    assert DEVICE.subject in str(next(iter(bench.store.store._held)))
