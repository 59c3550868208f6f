"""Taking over a dead claim: one of many does it, whatever the store does, and no later than it may."""

from __future__ import annotations

from typing import Any

import pytest

from ratatoskr.errors import Disposition
from ratatoskr.service import ATOMIC
from ratatoskr.service.once import CONFLICT, RUNNING_ELSEWHERE, STORE_UNAVAILABLE
from tests.unit.service.bench import POLICY, Bench
from tests.unit.service.deaths import Bank, died, successor
from tests.unit.service.support import REDEEM, Gate, ask, failing, request, run, say


@pytest.fixture
def bank() -> Bank:
    return Bank()


def test_of_two_that_see_a_dead_claim_one_recovers(bank: Bank) -> None:
    first = successor(died(bank.recover), bank.recover)
    second = successor(first, bank.recover)
    bank.answers = lambda: say("found")
    gate = first.store.before["take_over"] = Gate()
    started = [bench.start(request(REDEEM, ask("10"))) for bench in (first, second)]
    gate.open = True
    for _, task in started:
        task.step()
    told = [answer for link, _ in started for answer in link.told.values()]
    assert told == [(say("found"), False), (RUNNING_ELSEWHERE, False)]
    assert bank.asked == ["10"]
    assert second.redeem() == (say("found"), True)


def test_who_comes_too_late_gives_everybody_what_follows(bank: Bank) -> None:
    first = successor(died(bank.recover), bank.recover)
    second = successor(first, bank.recover)
    gate = first.store.before["take_over"] = Gate()
    events = [request(REDEEM, ask(text)) for text in ("10", "11", "10")]
    link, task = first.start(events[0])
    for event in events[1:]:
        first.start(event, link)
    del first.store.before["take_over"]
    second.redeem()
    gate.open = True
    task.step()
    assert [link.told[event.id][0] for event in events] == [RUNNING_ELSEWHERE, CONFLICT, RUNNING_ELSEWHERE]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_store_that_fails_while_it_is_taken_over(bank: Bank, when: str) -> None:
    heir = successor(died(bank.recover), bank.recover)
    getattr(heir.store, when)["take_over"] = failing(OSError("disk"))
    assert heir.redeem() == (STORE_UNAVAILABLE, False)
    assert bank.asked == []
    getattr(heir.store, when).clear()
    bank.answers = lambda: say("found")
    assert heir.redeem() == (say("found"), False), "its own claim that it lost, or the dead one"


@pytest.mark.parametrize("recover", [ATOMIC, "bank"])
def test_a_request_that_expired_meanwhile_is_not_executed(bank: Bank, recover: Any) -> None:
    recover = bank.recover if recover == "bank" else recover
    dead = died(recover)
    heir = successor(dead, recover)
    answer, _ = heir.redeem(expires_at=heir.world.clock.now.wall)
    assert (answer.reason, answer.disposition) == ("REQUEST_EXPIRED", Disposition.NOT_PROCESSED)
    assert heir.executed == []


def test_what_becomes_stale_while_it_is_taken_over_is_recovered() -> None:
    """Its entry was there, so nothing was forgotten."""
    heir = successor(died(ATOMIC), ATOMIC)
    heir.world.clock.advance(POLICY.retention - POLICY.lease - 1)
    gate = heir.store.after["take_over"] = Gate()
    event = request(REDEEM, ask("10"))
    link, task = heir.start(event)
    heir.world.clock.advance(2)
    gate.open = True
    task.step()
    assert link.told == {event.id: (say("10 1"), False)}


@pytest.mark.parametrize("step", ["claim", "take_over"])
def test_what_is_claimed_too_late_is_not_executed(bank: Bank, step: str) -> None:
    """The store took so long that the lease was over before anything began: another may have taken over."""
    late = Bench(recover=bank.recover) if step == "claim" else successor(died(bank.recover), bank.recover)
    gate = late.store.after[step] = Gate()
    event = request(REDEEM, ask("10"))
    link, task = late.start(event)
    late.world.clock.advance(POLICY.lease)
    gate.open = True
    task.step()
    assert link.told == {event.id: (STORE_UNAVAILABLE, False)}
    assert (late.executed, bank.asked) == ([], [])
    del late.store.after[step]
    assert late.redeem() == (say("10 1"), False)
    assert bank.asked == ([] if step == "claim" else ["10"]), "nothing was claimed, or what died is still there"


def test_what_is_purged_before_it_is_taken_over_is_not_executed() -> None:
    dead = died(ATOMIC)
    heir = successor(dead, ATOMIC)
    gate = heir.store.before["take_over"] = Gate()
    event = request(REDEEM, ask("10"))
    link, task = heir.start(event)
    heir.world.clock.advance(POLICY.retention + POLICY.tolerance)
    run(heir.service.upkeep())
    gate.open = True
    task.step()
    assert link.told == {event.id: (RUNNING_ELSEWHERE, False)}
    assert heir.redeem()[0].reason == "STALE"
    assert heir.executed == []
