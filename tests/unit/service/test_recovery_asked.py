"""Claims that die where a function finds out what became of the effect."""

from __future__ import annotations

from typing import Any

import pytest

from ratatoskr.errors import CallFailed, Disposition, Failure
from ratatoskr.service import NotExecuted
from ratatoskr.service.once import CONFLICT, NOT_RECOVERED, OUTCOME_UNKNOWN, RUNNING_ELSEWHERE
from tests.unit.service.bench import NOBODY_KNOWS, NOTHING_DONE, POLICY, REFUSED, Bench
from tests.unit.service.deaths import Bank, awake, died, last, successor
from tests.unit.service.support import REDEEM, Gate, ask, failing, request, run, say


@pytest.fixture
def bank() -> Bank:
    return Bank()


def test_what_a_recovery_finds_is_stored_and_replayed(bank: Bank) -> None:
    heir = successor(died(bank.recover), bank.recover)
    bank.answers = lambda: say("found")
    assert heir.redeem() == (say("found"), False)
    assert heir.redeem() == (say("found"), True)
    assert bank.asked == ["10"]
    assert heir.executed == []


@pytest.mark.parametrize("refusal", [REFUSED, ExceptionGroup("nursery", [REFUSED])])
def test_a_refusal_that_a_recovery_finds_is_stored_too(bank: Bank, refusal: Exception) -> None:
    heir = successor(died(bank.recover), bank.recover)
    bank.answers = lambda: refusal
    assert heir.redeem() == (REFUSED.failure, False)
    assert heir.redeem() == (REFUSED.failure, True)
    assert bank.asked == ["10"]


def test_a_recovery_may_free_the_key(bank: Bank) -> None:
    heir = successor(died(bank.recover), bank.recover)
    bank.answers = lambda: NOTHING_DONE
    assert heir.redeem() == (NOTHING_DONE.failure, False)
    assert heir.redeem("11") == (say("11 1"), False)


@pytest.mark.parametrize("way", [NotExecuted(), ExceptionGroup("nursery", [NotExecuted()])])
def test_where_nothing_happened_the_handler_is_executed(bank: Bank, way: Exception) -> None:
    heir = successor(died(bank.recover), bank.recover)
    bank.answers = lambda: way
    assert heir.redeem() == (say("10 1"), False)
    assert heir.redeem() == (say("10 1"), True)
    assert (heir.executed, bank.asked) == (["10"], ["10"])


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (ValueError("a secret"), NOT_RECOVERED),
        (None, NOT_RECOVERED),
        (ask("of the wrong kind"), NOT_RECOVERED),
        (CallFailed(REFUSED.failure), NOT_RECOVERED),
        (NOBODY_KNOWS, NOBODY_KNOWS.failure),
    ],
)
def test_a_recovery_that_finds_nothing_out_is_asked_again(bank: Bank, answer: Any, told: Failure) -> None:
    first = successor(died(bank.recover), bank.recover)
    second = successor(first, bank.recover)
    bank.answers = lambda: answer
    assert first.redeem() == (told, False)
    assert second.redeem() == (told, False), "in another process too, at once"
    bank.answers = lambda: say("found")
    assert first.redeem() == (say("found"), False)
    assert (first.executed, second.executed) == ([], [])
    assert "a secret" not in str(told)


def test_what_joins_while_a_recovery_runs_waits_for_it(bank: Bank) -> None:
    heir = successor(died(bank.recover), bank.recover)
    bank.answers = lambda: say("found")
    bank.gate.open = False
    first, second, other = (request(REDEEM, ask(text)) for text in ("10", "10", "11"))
    link, task = heir.start(first)
    heir.start(second, link)
    heir.start(other, link)
    assert link.told == {other.id: (CONFLICT, False)}
    bank.gate.open = True
    task.step()
    assert link.told[first.id] == (say("found"), False)
    assert link.told[second.id] == (say("found"), True)
    assert bank.asked == ["10"]


def test_a_recovery_s_lease_is_renewed(bank: Bank) -> None:
    heir = successor(died(bank.recover), bank.recover)
    another = successor(heir, bank.recover)
    bank.gate.open = False
    heir.start(request(REDEEM, ask("10")))
    for _ in range(10):
        heir.world.clock.advance(run(heir.service.upkeep()))
        assert another.redeem() == (RUNNING_ELSEWHERE, False)


def test_a_conflicting_request_that_came_first_does_not_hinder_it(bank: Bank) -> None:
    """Both wait for the store; the one that repeats is recovered by its own call."""
    heir = successor(died(bank.recover), bank.recover)
    bank.answers = lambda: say("found")
    gate = heir.store.before["claim"] = Gate()
    other, first, second = (request(REDEEM, ask(text)) for text in ("11", "10", "10"))
    link, task = heir.start(other)
    heir.start(first, link)
    heir.start(second, link)
    gate.open = True
    task.step()
    assert link.told == {other.id: (CONFLICT, False), first.id: (say("found"), False), second.id: (say("found"), True)}
    assert bank.asked == ["10"]


def test_what_a_recovery_writes_commits_with_its_answer(bank: Bank) -> None:
    heir = successor(died(bank.recover), bank.recover)
    bank.begins, bank.answers = True, lambda: say("found")
    assert heir.redeem() == (say("found"), False)
    assert [each.committed for each in heir.store.transactions] == [["found 10"]]


def test_what_a_recovery_began_is_rolled_back_before_the_handler_begins(bank: Bank) -> None:
    heir = successor(died(bank.recover), bank.recover)
    heir.transactional = bank.begins = True
    assert heir.redeem() == (say("10 1"), False)
    first, second = heir.store.transactions
    assert (first.abandoned, first.committed) == (True, None)
    assert second.committed == ["10"]


@pytest.mark.parametrize("answer", [NOBODY_KNOWS, ValueError("broken"), REFUSED])
def test_what_a_recovery_began_is_rolled_back_where_it_fails(bank: Bank, answer: Exception) -> None:
    heir = successor(died(bank.recover), bank.recover)
    bank.begins, bank.answers = True, lambda: answer
    heir.redeem()
    [transaction] = heir.store.transactions
    assert (transaction.abandoned, transaction.committed) == (True, None)


@pytest.mark.parametrize("error", [NOBODY_KNOWS, ValueError("broken")])
def test_a_doubt_of_the_handler_s_own_is_recovered_too(bank: Bank, error: Exception) -> None:
    """The bank did not answer in time. It need not have killed the process."""
    bench = Bench(recover=bank.recover)
    bench.then = lambda: error
    answer, _ = bench.redeem()
    assert answer.disposition is Disposition.MAYBE
    bank.answers = lambda: say("found")
    assert successor(bench, bank.recover).redeem() == (say("found"), False), "by any process, at once"
    assert bench.redeem() == (say("found"), True)
    assert bench.executed == ["10"]


def test_a_doubt_is_told_though_the_store_fails(bank: Bank) -> None:
    """The claim dies when its lease is over."""
    bench = Bench(recover=bank.recover)
    bench.then = lambda: NOBODY_KNOWS
    bench.store.before["renew"] = failing(OSError("disk"))
    assert bench.redeem() == (NOBODY_KNOWS.failure, False)
    assert bench.world.logged == ["store.outcome"]
    heir = successor(bench, bank.recover)
    assert heir.redeem() == (RUNNING_ELSEWHERE, False)
    heir.world.clock.advance(POLICY.lease)
    bank.answers = lambda: say("found")
    assert heir.redeem() == (say("found"), False)


def test_without_recovery_a_doubt_stays_one() -> None:
    bench = Bench()
    bench.then = lambda: NOBODY_KNOWS
    assert bench.redeem() == (NOBODY_KNOWS.failure, False)
    assert bench.redeem() == (NOBODY_KNOWS.failure, True)


def test_the_effect_of_one_that_was_only_slow_is_told_by_who_took_over(bank: Bank) -> None:
    slow = died(bank.recover)
    bank.answers = lambda: say("found")
    assert successor(slow, bank.recover).redeem() == (say("found"), False)
    awake(slow)
    event, link = last(slow)
    assert link.told[event.id] == (RUNNING_ELSEWHERE, False)
    assert slow.redeem() == (say("found"), True)


@pytest.mark.parametrize("place", ["recovery", "handler"])
def test_a_recovery_that_is_cancelled_leaves_a_dead_claim(bank: Bank, place: str) -> None:
    heir = successor(died(bank.recover), bank.recover)
    gate = bank.gate if place == "recovery" else heir.gate
    gate.open = False
    event = request(REDEEM, ask("10"))
    link, task = heir.start(event)
    task.cancel()
    assert link.told == {event.id: (OUTCOME_UNKNOWN, False)}
    gate.open = True
    bank.answers = lambda: say("found")
    assert heir.redeem() == (say("found"), False)
