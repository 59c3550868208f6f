"""How long outcomes and claims are kept, and how many of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ratatoskr.errors import Disposition, Status
from ratatoskr.service import MemoryStore, OncePolicy
from ratatoskr.service.once import OUTCOME_UNKNOWN
from tests.unit.service.bench import POLICY, Bench
from tests.unit.service.deaths import died, successor
from tests.unit.service.support import REDEEM, Gate, ask, failing, failure_of, request, run, say

# Retention


def test_a_claim_that_died_is_kept_for_as_long_as_its_request_is_fresh() -> None:
    dead = died(None)
    heir = successor(dead, None)
    heir.world.clock.advance(POLICY.retention - POLICY.lease - 1)
    run(heir.service.upkeep())
    assert heir.redeem() == (OUTCOME_UNKNOWN, False)
    heir.world.clock.advance(POLICY.tolerance + 1)
    run(heir.service.upkeep())
    assert heir.redeem()[0].reason == "STALE"
    assert len(heir.store.store) == 0
    assert heir.executed == []


@pytest.mark.parametrize("outcome", ["answer", "dead", "conflict"])
def test_a_later_request_with_the_key_gets_the_same_for_all_of_its_time(outcome: str) -> None:
    """It was issued just before the first was forgotten, and is repeated after that."""
    bench = Bench()
    if outcome == "dead":
        bench.gate.open = False
        bench.start(request(REDEEM, ask("10")))
    else:
        bench.redeem()
    bench.world.clock.advance(POLICY.retention + POLICY.tolerance - 1)
    heir = successor(bench, None)
    later = heir.world.clock.now.wall
    text = "11" if outcome == "conflict" else "10"
    first, _ = heir.redeem(text, at=later)
    for seconds in (2.0, POLICY.retention - 3.0):
        heir.world.clock.advance(seconds)
        run(heir.service.upkeep())
        assert heir.redeem(text, at=later)[0] == first
    assert heir.executed == []


# Quotas


def test_a_subject_without_a_place_is_refused_and_nothing_stored() -> None:
    bench = Bench(quota=2)
    assert [bench.redeem(key=key)[0] for key in (b"one", b"two")] == [say("10 1"), say("10 2")]
    answer, _ = bench.redeem(key=b"three")
    assert (answer.status, answer.reason) == (Status.RESOURCE_EXHAUSTED, "TOO_MANY_OUTCOMES")
    assert answer.disposition is Disposition.NOT_PROCESSED
    assert bench.redeem(key=b"one") == (say("10 1"), True)
    assert len(bench.store.store) == 2
    assert bench.executed == ["10", "10"]
    bench.world.clock.advance(POLICY.retention + POLICY.tolerance)
    run(bench.service.upkeep())
    assert bench.redeem(key=b"three", at=bench.world.clock.now.wall) == (say("10 3"), False)


def test_all_that_wait_for_a_place_are_refused() -> None:
    bench = Bench(quota=1)
    bench.redeem(key=b"one")
    gate = bench.store.before["claim"] = Gate()
    events = [request(REDEEM, ask(text)) for text in ("10", "10", "11")]
    link, task = bench.start(events[0])
    for event in events[1:]:
        bench.start(event, link)
    gate.open = True
    task.step()
    assert [failure_of(link, event).reason for event in events] == ["TOO_MANY_OUTCOMES"] * 3


def test_a_full_store_is_told_like_a_full_subject() -> None:
    bench = Bench(MemoryStore(capacity=1))
    bench.redeem(key=b"one")
    answer, _ = bench.redeem(key=b"two")
    assert (answer.status, answer.reason) == (Status.RESOURCE_EXHAUSTED, "STORE_FULL")
    assert answer.disposition is Disposition.NOT_PROCESSED
    assert bench.redeem(key=b"one") == (say("10 1"), True)
    assert bench.executed == ["10"]


def test_the_default_quota_is_finite() -> None:
    assert OncePolicy().per_subject == 100_000
    assert replace(POLICY, per_subject=1).per_subject == 1


def test_a_key_that_cannot_be_freed_is_noted() -> None:
    bench = Bench()
    gate = bench.store.before["claim"] = Gate()
    bench.store.before["release"] = failing(OSError("disk"))
    event = request(REDEEM, ask("10"))
    link, task = bench.start(event)
    bench.world.clock.advance(POLICY.retention)
    gate.open = True
    task.step()
    assert failure_of(link, event).reason == "STALE"
    assert bench.world.logged == ["store.outcome"]
