"""From a request to its answer, where the kind executes at most once."""

from __future__ import annotations

from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import Disposition, Fail, Failure, Status
from ratatoskr.service import Call, Level, Next, Router, Service
from ratatoskr.service.once import CONFLICT
from tests.unit.service.bench import NOBODY_KNOWS, NOTHING_DONE, POLICY, REFUSED, Bench
from tests.unit.service.support import (
    OTHER_DEVICE,
    REDEEM,
    UNENROLLED,
    Gate,
    Link,
    ask,
    request,
    run,
    say,
)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# Replay


def test_a_repeated_request_gets_the_stored_answer(bench: Bench) -> None:
    assert bench.redeem() == (say("10 1"), False)
    assert bench.redeem() == (say("10 1"), True)
    assert bench.executed == ["10"]
    assert bench.world.notes == []


def test_another_key_is_another_operation(bench: Bench) -> None:
    assert bench.redeem(key=b"one") == (say("10 1"), False)
    assert bench.redeem(key=b"two") == (say("10 2"), False)


@pytest.mark.parametrize("peer", [OTHER_DEVICE, UNENROLLED])
def test_nobody_gets_the_answer_of_another_subject(bench: Bench, peer: Any) -> None:
    assert bench.redeem() == (say("10 1"), False)
    assert bench.ask(request(REDEEM, ask("10")), Link(peer)) == (say("10 2"), False)


def test_another_request_under_the_same_key_conflicts(bench: Bench) -> None:
    assert bench.redeem("10") == (say("10 1"), False)
    assert bench.redeem("11") == (CONFLICT, False)
    assert bench.redeem("10") == (say("10 1"), True)
    assert [(note.level, note.event) for note in bench.world.notes] == [(Level.WARNING, "once.conflict")]


@pytest.mark.parametrize("error", [REFUSED, NOBODY_KNOWS])
def test_a_failure_that_may_have_done_something_is_stored(bench: Bench, error: Fail) -> None:
    bench.then = lambda: error
    assert bench.redeem() == (error.failure, False)
    assert bench.redeem() == (error.failure, True)
    assert bench.executed == ["10"]


def test_a_failure_that_did_nothing_frees_the_key(bench: Bench) -> None:
    bench.then = lambda: NOTHING_DONE
    assert bench.redeem() == (NOTHING_DONE.failure, False)
    bench.then = lambda: None
    assert bench.redeem("11") == (say("11 2"), False)
    assert bench.store.calls == ["claim", "release", "claim", "complete"]


def test_a_broken_handler_is_not_executed_again(bench: Bench) -> None:
    bench.then = lambda: ValueError("a secret")
    answer, replayed = bench.redeem()
    assert (answer.status, answer.disposition, replayed) == (Status.INTERNAL, Disposition.MAYBE, False)
    assert bench.redeem() == (answer, True)
    assert bench.executed == ["10"]
    assert bench.world.logged == ["handler.error"]


def test_a_stored_outcome_that_cannot_be_read_is_our_fault(bench: Bench) -> None:
    bench.redeem()
    [held] = bench.store.store._held.values()
    held.entry = type(held.entry)(held.entry.digest, held.entry.owner, held.entry.lease_until, b"\xff")
    answer, replayed = bench.redeem()
    assert (answer.status, answer.disposition, replayed) == (Status.INTERNAL, Disposition.MAYBE, False)
    assert bench.world.logged == ["store.unreadable"]


def test_middleware_runs_once_too(bench: Bench) -> None:
    router, seen = Router(), list[str]()

    @router.middleware
    async def count(call: Call, message: Any, call_next: Next) -> Any:
        seen.append("in")
        return await call_next(message)

    @router.on(REDEEM)
    async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
        return say("done")

    bench.service = Service(router, host=bench.world)
    assert bench.redeem() == (say("done"), False)
    assert bench.redeem() == (say("done"), True)
    assert seen == ["in"]


# Freshness


@pytest.mark.parametrize(("age", "disposition"), [(1001.0, Disposition.MAYBE), (-101.0, Disposition.NOT_PROCESSED)])
def test_a_stale_request_is_refused_before_the_store_is_asked(
    bench: Bench, age: float, disposition: Disposition
) -> None:
    answer, replayed = bench.redeem(at=bench.world.clock.now.wall - age)
    assert (answer.reason, answer.disposition, replayed) == ("STALE", disposition, False)
    assert bench.store.calls == []
    assert bench.world.logged == ["once.stale"]


def test_what_becomes_stale_while_it_is_claimed_is_not_executed(bench: Bench) -> None:
    """Meanwhile its outcome may have been forgotten, as here."""
    bench.redeem()
    gate = bench.store.before["claim"] = Gate()
    event = request(REDEEM, ask("10"))
    link, task = bench.start(event)
    bench.world.clock.advance(POLICY.retention + POLICY.tolerance)
    run(bench.service.upkeep())
    gate.open = True
    task.step()
    answer, _ = link.told[event.id]
    assert isinstance(answer, Failure)
    assert (answer.reason, answer.disposition) == ("STALE", Disposition.MAYBE), "it was executed, as here"
    assert bench.executed == ["10"]
    assert len(bench.store.store) == 0


def test_the_outcome_of_what_ran_in_time_is_told_after_the_expiry_too(bench: Bench) -> None:
    expires_at = bench.world.clock.now.wall + 5
    assert bench.redeem(expires_at=expires_at) == (say("10 1"), False)
    bench.world.clock.advance(6)
    assert bench.redeem(expires_at=expires_at) == (say("10 1"), True)


def test_what_expires_while_it_is_claimed_is_not_executed_and_frees_the_key(bench: Bench) -> None:
    gate = bench.store.after["claim"] = Gate()
    event = request(REDEEM, ask("10"), expires_at=bench.world.clock.now.wall + 5)
    link, task = bench.start(event)
    bench.world.clock.advance(5)
    gate.open = True
    task.step()
    answer, _ = link.told[event.id]
    assert isinstance(answer, Failure)
    assert (answer.reason, answer.disposition) == ("REQUEST_EXPIRED", Disposition.NOT_PROCESSED)
    assert bench.executed == []
    assert bench.redeem() == (say("10 1"), False)


# Joining


def test_fifty_concurrent_duplicates_execute_once(bench: Bench) -> None:
    bench.gate.open = False
    bench.store.after["claim"] = claimed = Gate()
    events = [request(REDEEM, ask("10")) for _ in range(50)]
    links = [Link() for _ in range(5)]
    early = [bench.start(event, links[i % 5]) for i, event in enumerate(events[:25])]
    claimed.open = True
    early[0][1].step()
    late = [bench.start(event, links[i % 5]) for i, event in enumerate(events[25:])]
    assert all(task.done for _, task in (*early[1:], *late)), "a duplicate needs no task"
    assert not any(link.told for link in links)
    bench.gate.open = True
    early[0][1].step()
    told = [answer for link in links for answer in link.told.values()]
    assert len(told) == 50
    assert told.count((say("10 1"), False)) == 1
    assert told.count((say("10 1"), True)) == 49
    assert links[0].told[events[0].id] == (say("10 1"), False)
    assert bench.executed == ["10"]
    assert bench.store.calls == ["claim", "complete"]


def test_a_duplicate_that_comes_while_the_outcome_is_stored_joins(bench: Bench) -> None:
    gate = bench.store.before["complete"] = Gate()
    first, second = request(REDEEM, ask("10")), request(REDEEM, ask("10"))
    link, task = bench.start(first)
    bench.start(second, link)
    gate.open = True
    task.step()
    assert link.told == {first.id: (say("10 1"), False), second.id: (say("10 1"), True)}


def test_a_failure_that_frees_the_key_is_told_to_all_who_joined(bench: Bench) -> None:
    bench.gate.open = False
    bench.then = lambda: NOTHING_DONE
    first, second = request(REDEEM, ask("10")), request(REDEEM, ask("10"))
    link, task = bench.start(first)
    bench.start(second, link)
    bench.gate.open = True
    task.step()
    assert link.told == {first.id: (NOTHING_DONE.failure, False), second.id: (NOTHING_DONE.failure, True)}


def test_another_request_conflicts_also_while_the_first_runs(bench: Bench) -> None:
    bench.gate.open = False
    claimed = bench.store.after["claim"] = Gate()
    first, early, late = (request(REDEEM, ask(text)) for text in ("10", "11", "12"))
    link, task = bench.start(first)
    bench.start(early, link)
    assert link.told == {}, "before the store has answered nobody knows which one conflicts"
    claimed.open = True
    task.step()
    assert link.told == {early.id: (CONFLICT, False)}
    bench.start(late, link)
    assert link.told[late.id] == (CONFLICT, False)
    bench.gate.open = True
    task.step()
    assert link.told[first.id] == (say("10 1"), False)


def test_a_repetition_is_answered_though_a_conflicting_request_came_first(bench: Bench) -> None:
    bench.redeem("10")
    gate = bench.store.before["claim"] = Gate()
    conflicting, repeated = request(REDEEM, ask("11")), request(REDEEM, ask("10"))
    link, task = bench.start(conflicting)
    bench.start(repeated, link)
    gate.open = True
    task.step()
    assert link.told == {conflicting.id: (CONFLICT, False), repeated.id: (say("10 1"), True)}


def test_a_lost_line_does_not_keep_others_from_their_answer(bench: Bench) -> None:
    bench.gate.open = False
    first, second = request(REDEEM, ask("10")), request(REDEEM, ask("10"))
    lost, task = bench.start(first)
    kept, _ = bench.start(second)
    lost.closed = True
    bench.gate.open = True
    task.step()
    assert lost.told == {}
    assert kept.told == {second.id: (say("10 1"), True)}
    assert bench.redeem() == (say("10 1"), True)
