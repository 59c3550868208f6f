"""Histories: several processes on one store, where anything waits, fails, is cancelled or dies at any step.

Whatever happens, an operation has at most one effect, and nobody is told two different things about it. Requests are
repeated with the issue time of the first attempt, so this holds for any stretch of time, purges included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ratatoskr import v1
from ratatoskr.errors import Disposition, Fail, Failure, Status
from ratatoskr.events import RequestReceived
from ratatoskr.service import Call, Claim, Entry, MemoryStore, OncePolicy, Router, Service
from ratatoskr.testing.clock import Clock
from tests.unit.service.support import REDEEM, FakeTransaction, Link, Task, World, ask, request, run, say

POLICY = OncePolicy(retention=1000.0, tolerance=100.0, lease=60.0)
KEYS = [b"one", b"two"]
ENDINGS = st.sampled_from(["answer", "fail", "refuse"])
NO_FUNDS = Fail(Status.FAILED_PRECONDITION, "NO_FUNDS")
BUSY = Fail(Status.UNAVAILABLE, "BUSY", disposition=Disposition.NOT_PROCESSED)


class Pause:
    """Lets the test go on with something else, or throw something in."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class PausingStore:
    """Pauses before and after every step, as a store in another thread does."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    transactional = True

    async def claim(self, claim: Claim, *, per_subject: int | None = None) -> Entry | None:
        await Pause()
        entry = await self.store.claim(claim, per_subject=per_subject)
        await Pause()
        return entry

    async def take_over(self, claim: Claim, seen: Entry) -> bool:
        await Pause()
        taken = await self.store.take_over(claim, seen)
        await Pause()
        return taken

    async def complete(self, claim: Claim, outcome: bytes, *, keep_until: float) -> bool:
        await Pause()
        kept = await self.store.complete(claim, outcome, keep_until=keep_until)
        await Pause()
        return kept

    async def release(self, claim: Claim) -> bool:
        await Pause()
        kept = await self.store.release(claim)
        await Pause()
        return kept

    async def renew(self, claims: Collection[Claim], lease_until: float) -> None:
        await self.store.renew(claims, lease_until)

    async def purge(self, now: float, limit: int) -> int:
        return await self.store.purge(now, limit)

    def begin(self, claim: Claim) -> PausingTransaction:
        return PausingTransaction(self, claim)


class PausingTransaction:
    """Its effects happen when it commits."""

    def __init__(self, store: PausingStore, claim: Claim) -> None:
        self.store = store
        self.claim = claim
        self.effects: list[Execution] = []

    async def start(self) -> None:
        await Pause()

    run = FakeTransaction.run

    async def commit(self, outcome: bytes, *, keep_until: float, now: float) -> bool:
        await Pause()
        kept = await self.store.store.complete(self.claim, outcome, keep_until=keep_until)
        if kept:
            for execution in self.effects:
                execution.effect = True
        await Pause()
        return kept

    def abandon(self) -> None:
        self.effects.clear()


@dataclass(eq=False)
class Execution:
    nonce: bytes
    text: str
    effect: bool = False
    refused: bool = False


@dataclass(eq=False)
class Asked:
    event: RequestReceived
    link: Link = field(default_factory=Link)

    @property
    def nonce(self) -> bytes:
        return self.event.request.nonce

    @property
    def answer(self) -> Any:
        told = self.link.told.get(self.event.id)
        return told[0] if told else None


@dataclass(eq=False)
class Process:
    service: Service
    tasks: list[Task] = field(default_factory=list)


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.store = MemoryStore()
        self.executions: list[Execution] = []
        self.asked: list[Asked] = []
        self.issued: dict[bytes, float] = {}
        self.processes: list[Process] = []
        self.started = 0
        self.ending = "answer"

    # Processes

    @initialize()
    def start_two(self) -> None:
        self.start()
        self.start()

    def start(self) -> None:
        self.started += 1
        router = Router()
        router.on(REDEEM)(self.redeem)
        world = World(f"process {self.started}", self.clock)
        store = PausingStore(self.store)
        self.processes.append(Process(Service(router, host=world, store=store, policy=POLICY)))

    async def redeem(self, message: v1.Search, call: Call) -> v1.GoAway:
        execution = Execution(call.nonce, message.query)
        self.executions.append(execution)
        transaction = await call.begin() if message.query.startswith("t") else None
        await Pause()
        ending = self.ending
        if ending == "refuse":
            execution.refused = True
            raise BUSY
        if transaction is None:
            execution.effect = True
        else:
            await transaction.run(lambda effects: effects.append(execution))
        await Pause()
        if ending == "fail":
            raise NO_FUNDS
        return say(f"{message.query} {len(self.executions)}")

    @property
    def running(self) -> list[Task]:
        return [task for process in self.processes for task in process.tasks if not task.done]

    # What happens

    @rule(
        process=st.integers(0, 1),
        key=st.sampled_from(KEYS),
        text=st.sampled_from(["10", "10", "10", "11", "t10"]),
        early=st.sampled_from([-500.0, 0.0, 100.0]),
        ending=ENDINGS,
        steps=st.integers(1, 20),
    )
    def ask(self, process: int, key: bytes, text: str, early: float, ending: str, steps: int) -> None:
        at = self.issued.setdefault(key, self.clock.now.wall + early)
        asked = Asked(request(REDEEM, ask(text), key=key, at=at))
        self.asked.append(asked)
        chosen = self.processes[process]
        task = Task(chosen.service.job(asked.link, asked.event).run())
        chosen.tasks.append(task)
        self.step(task, steps, ending)

    @rule(which=st.integers(0, 20), steps=st.integers(1, 20), ending=ENDINGS)
    def go_on(self, which: int, steps: int, ending: str) -> None:
        if self.running:
            self.step(self.running[which % len(self.running)], steps, ending)

    def step(self, task: Task, steps: int, ending: str) -> None:
        self.ending = ending
        for _ in range(steps):
            task.step()

    @rule(which=st.integers(0, 20), trouble=st.sampled_from(["fails", "cancelled", "crash"]))
    def trouble(self, which: int, trouble: str) -> None:
        """What a task waits for fails, in store or handler; or the task is cancelled; or its process dies."""
        if trouble == "crash":
            self.crash(which % 2)
        elif self.running:
            task = self.running[which % len(self.running)]
            task.cancel() if trouble == "cancelled" else task.step(OSError("disk"))

    def crash(self, which: int) -> None:
        """Nothing of the process goes on, and nobody hears of it any more."""
        for asked in self.asked:
            asked.link.closed = asked.answer is None
        process = self.processes.pop(which)
        for task in process.tasks:
            task.coroutine.close()
        for asked in self.asked:
            asked.link.closed = False
        self.asked = [asked for asked in self.asked if asked.answer is not None or self._is_waiting(asked)]
        self.start()

    def _is_waiting(self, asked: Asked) -> bool:
        return any(
            asked.event is attempt.arrival.event
            for process in self.processes
            for operation in process.service._claims._operations.values()
            for _, attempt in operation._waiting
        )

    @rule(seconds=st.sampled_from([0.0, 30.0, 60.0, 500.0, 1050.0]), which=st.integers(0, 1))
    def time_passes(self, seconds: float, which: int) -> None:
        self.clock.advance(seconds)
        run(self.processes[which].service.upkeep())

    # What must hold

    @invariant()
    def at_most_one_effect(self) -> None:
        effects = Counter(execution.nonce for execution in self.executions if execution.effect)
        assert all(count == 1 for count in effects.values())
        possible = Counter(execution.nonce for execution in self.executions if not execution.refused)
        assert all(count == 1 for count in possible.values()), "what may have had an effect is not executed again"

    @invariant()
    def one_truth(self) -> None:
        for nonce in {asked.nonce for asked in self.asked}:
            answers = [asked for asked in self.asked if asked.nonce == nonce and asked.answer is not None]
            good = {asked.answer.reason for asked in answers if not isinstance(asked.answer, Failure)}
            final = {a.answer.reason for a in answers if isinstance(a.answer, Failure)} & {"NO_FUNDS"}
            assert len(good) + len(final) <= 1
            effects = [each for each in self.executions if each.nonce == nonce and each.effect]
            assert not good or len(effects) == 1
            for asked in answers:
                self._check(asked, good)

    def _check(self, asked: Asked, good: set[str]) -> None:
        answer, text = asked.answer, asked.event.message.query  # type: ignore[attr-defined]
        executed = [each for each in self.executions if each.nonce == asked.nonce]
        if not isinstance(answer, Failure):
            assert answer.reason.startswith(f"{text} "), "the answer is to this request"
        elif answer.reason == "BUSY":
            assert any(each.refused and each.text == text for each in executed)
        elif answer.disposition is Disposition.NOT_PROCESSED:
            assert answer.reason == "STALE"

    def teardown(self) -> None:
        self.ending = "answer"
        for task in self.running:
            for _ in range(20):
                task.step()
            assert task.done
        assert all(asked.answer is not None for asked in self.asked), "every request has an answer"
        assert all(not process.service._claims._operations for process in self.processes)
        self.at_most_one_effect()
        self.one_truth()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=150, stateful_step_count=40)
