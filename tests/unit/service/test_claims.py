"""From a request to its answer, where the kind executes at most once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import Disposition, Fail, Failure, Status
from ratatoskr.events import RequestReceived
from ratatoskr.service import Call, Level, MemoryStore, Next, OncePolicy, Router, Service
from ratatoskr.service.claims import PURGE_LIMIT
from ratatoskr.service.once import CONFLICT, OUTCOME_UNKNOWN, RUNNING_ELSEWHERE, STORE_UNAVAILABLE
from ratatoskr.service.outcome import encode_outcome
from tests.unit.service.support import (
    DEVICE,
    OTHER_DEVICE,
    REDEEM,
    UNENROLLED,
    Cancelled,
    Gate,
    Link,
    SlowStore,
    Task,
    World,
    ask,
    failing,
    request,
    run,
    say,
)

POLICY = OncePolicy(retention=1000.0, tolerance=100.0, lease=60.0)
REFUSED = Fail(Status.FAILED_PRECONDITION, "NO_FUNDS", "not enough")
NOTHING_DONE = Fail(Status.UNAVAILABLE, "BUSY", "later", disposition=Disposition.NOT_PROCESSED)
NOBODY_KNOWS = Fail(Status.UNAVAILABLE, "BANK_SILENT", "who knows", disposition=Disposition.MAYBE)


class Bench:
    """A service over a slow store, whose handler counts its executions and waits for a gate."""

    def __init__(self, store: Any = None, world: World | None = None) -> None:
        self.world = world or World()
        self.store: Any = SlowStore() if store is None else store
        self.gate = Gate()
        self.gate.open = True
        self.executed: list[str] = []
        self.tasks: list[Task] = []
        self.then: Callable[[], Any] = lambda: None
        self.transactional = False
        router = Router()

        @router.on(REDEEM, enrolled=False)
        async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
            self.executed.append(message.query)
            if self.transactional:
                tx = await call.begin()
                await tx.run(lambda effects: effects.append(message.query))
            await self.gate
            error = self.then()
            if error is not None:
                raise error
            return say(f"{message.query} {len(self.executed)}")

        self.service = Service(router, host=self.world, store=self.store, policy=POLICY)

    def start(self, event: RequestReceived, link: Link | None = None) -> tuple[Link, Task]:
        link = link or Link()
        job = self.service.job(link, event)
        assert job.once
        task = Task(job.run())
        self.tasks.append(task)
        task.step()
        return link, task

    def ask(self, event: RequestReceived, link: Link | None = None) -> Any:
        """The answer and whether it is a replay, where nothing waits."""
        link, task = self.start(event, link)
        assert task.done
        assert task.error is None
        return link.told[event.id]

    def redeem(self, text: str = "10", **options: Any) -> Any:
        return self.ask(request(REDEEM, ask(text), **options))


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


@pytest.mark.parametrize("age", [1001.0, -101.0])
def test_a_stale_request_is_refused_before_the_store_is_asked(bench: Bench, age: float) -> None:
    answer, replayed = bench.redeem(at=bench.world.clock.now.wall - age)
    assert (answer.reason, answer.disposition, replayed) == ("STALE", Disposition.NOT_PROCESSED, False)
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
    assert (answer.reason, answer.disposition) == ("STALE", Disposition.NOT_PROCESSED)
    assert bench.executed == ["10"]
    assert len(bench.store.store) == 0


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


def test_a_full_memory_store_executes_nothing() -> None:
    bench = Bench(MemoryStore(capacity=1))
    bench.redeem(key=b"one")
    assert bench.redeem(key=b"two") == (STORE_UNAVAILABLE, False)
    assert bench.executed == ["10"]


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
