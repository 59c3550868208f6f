"""Several processes on one store, where anything waits, fails, is cancelled, stands still or dies at any step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from ratatoskr.errors import Disposition, Fail, Status
from ratatoskr.events import RequestReceived
from ratatoskr.messages import AnyKind
from ratatoskr.service import Claim, Entry, MemoryStore, OncePolicy, Router, Service
from ratatoskr.testing.clock import Clock
from tests.unit.service.support import REDEEM, FakeTransaction, Link, Task, World, ask, request, run

POLICY = OncePolicy(retention=1000.0, tolerance=100.0, lease=60.0)
KEYS = [b"one", b"two"]
ENDINGS = st.sampled_from(["answer", "fail", "refuse", "break"])
NO_FUNDS = Fail(Status.FAILED_PRECONDITION, "NO_FUNDS")
BUSY = Fail(Status.UNAVAILABLE, "BUSY", disposition=Disposition.NOT_PROCESSED)


class Pause:
    """Lets the test go on with something else, or throw something in."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class PausingStore:
    """Pauses before and after every step, as a store in another thread does. Knows whose claims were taken over."""

    transactional = True

    def __init__(self, store: MemoryStore, fenced: set[bytes], on_release: Callable[[bytes], None]) -> None:
        self.store = store
        self.fenced = fenced
        self.on_release = on_release
        self.violations: list[str] = []

    async def claim(self, claim: Claim, *, per_subject: int | None = None) -> Entry | None:
        await Pause()
        entry = await self.store.claim(claim, per_subject=per_subject)
        await Pause()
        return entry

    async def take_over(self, claim: Claim, seen: Entry) -> bool:
        await Pause()
        taken = await self.store.take_over(claim, seen)
        if taken:
            if seen.owner in self.fenced or seen.outcome is not None:
                self.violations.append("taken over twice, or after its end")
            self.fenced.add(seen.owner)
        await Pause()
        return taken

    async def complete(self, claim: Claim, outcome: bytes, *, keep_until: float) -> bool:
        await Pause()
        kept = await self.store.complete(claim, outcome, keep_until=keep_until)
        self.check(claim, kept)
        await Pause()
        return kept

    async def release(self, claim: Claim) -> bool:
        await Pause()
        kept = await self.store.release(claim)
        self.check(claim, kept)
        if kept:
            self.on_release(claim.key.nonce)
        await Pause()
        return kept

    def check(self, claim: Claim, kept: bool) -> None:
        """Nothing may be raised here: the service would take it for a failure of the store."""
        if kept and claim.owner in self.fenced:
            self.violations.append("who was taken for dead has stored something")

    async def renew(self, claims: Collection[Claim], lease_until: float) -> None:
        await self.store.renew(claims, lease_until)

    async def purge(self, now: float, limit: int) -> int:
        return await self.store.purge(now, limit)

    def begin(self, claim: Claim) -> PausingTransaction:
        return PausingTransaction(self, claim)


class PausingTransaction:
    """Its effects happen when it commits, if the claim is still its owner's and the lease runs."""

    def __init__(self, store: PausingStore, claim: Claim) -> None:
        self.store = store
        self.claim = claim
        self.effects: list[Execution] = []

    async def start(self) -> None:
        await Pause()

    run = FakeTransaction.run

    async def commit(self, outcome: bytes, *, keep_until: float, now: float) -> bool:
        await Pause()
        memory, key = self.store.store, self.claim.key
        held = memory._held.get(key)
        leased = held is not None and held.entry.lease_until > now
        kept = leased and await memory.complete(self.claim, outcome, keep_until=keep_until)
        self.store.check(self.claim, kept)
        if kept:
            for execution in self.effects:
                execution.effect = True
        await Pause()
        return kept

    def abandon(self) -> None:
        self.effects.clear()


@dataclass(eq=False)
class Execution:
    """One run of a handler. ``effect``: it happened. ``refused``: it ended with BUSY."""

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
    def text(self) -> str:
        query: str = self.event.message.query  # type: ignore[attr-defined]
        return query

    @property
    def answer(self) -> Any:
        told = self.link.told.get(self.event.id)
        return told[0] if told else None


@dataclass(eq=False)
class Process:
    service: Service
    tasks: list[Task] = field(default_factory=list)


class Chronicle(RuleBasedStateMachine):
    """What may happen. Requests are repeated with the issue time of the first attempt."""

    asks: tuple[tuple[AnyKind, str], ...] = ((REDEEM, "10"),)
    """What is asked for under each key."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.store = MemoryStore()
        self.stores: list[PausingStore] = []
        self.fenced: set[bytes] = set()
        self.executions: list[Execution] = []
        self.asked: list[Asked] = []
        self.issued: dict[tuple[AnyKind, bytes], float] = {}
        self.processes: list[Process] = []
        self.started = 0
        self.ending = "answer"

    def router(self) -> Router:
        """The handlers of a process."""
        raise NotImplementedError

    @initialize()
    def start_two(self) -> None:
        self.start()
        self.start()

    def start(self) -> None:
        self.started += 1
        world = World(f"process {self.started}", self.clock)
        store = PausingStore(self.store, self.fenced, self.released)
        self.stores.append(store)
        self.processes.append(Process(Service(self.router(), host=world, store=store, policy=POLICY)))

    @property
    def running(self) -> list[Task]:
        return [task for process in self.processes for task in process.tasks if not task.done]

    @rule(
        process=st.integers(0, 1),
        key=st.sampled_from(KEYS),
        what=st.integers(0, 9),
        early=st.sampled_from([-500.0, 0.0, 100.0]),
        ending=ENDINGS,
        steps=st.integers(1, 20),
    )
    def ask(self, process: int, key: bytes, what: int, early: float, ending: str, steps: int) -> None:
        kind, text = self.asks[what % len(self.asks)]
        at = self.issued.setdefault((kind, key), self.clock.now.wall + early)
        self.step(self.make(process, request(kind, ask(text), key=key, at=at)), steps, ending)

    def make(self, process: int, event: RequestReceived) -> Task:
        asked = Asked(event)
        self.asked.append(asked)
        chosen = self.processes[process]
        task = Task(chosen.service.job(asked.link, asked.event).run())
        chosen.tasks.append(task)
        return task

    @rule(which=st.integers(0, 20), steps=st.integers(1, 20), ending=ENDINGS)
    def go_on(self, which: int, steps: int, ending: str) -> None:
        if self.running:
            self.step(self.running[which % len(self.running)], steps, ending)

    def step(self, task: Task, steps: int, ending: str) -> None:
        self.ending = ending
        for _ in range(steps):
            task.step()
            self.look()
        assert [each.violations for each in self.stores if each.violations] == []

    def look(self) -> None:
        """Whatever must hold after each step."""

    def released(self, nonce: bytes) -> None:
        """A key was freed: surely nothing had happened."""

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
        """The other process stands still."""
        self.clock.advance(seconds)
        run(self.processes[which].service.upkeep())

    def finish(self) -> None:
        """Everything that waits goes on to its end."""
        for task in self.running:
            self.step(task, 30, "answer")
            assert task.done
        assert all(asked.answer is not None for asked in self.asked), "every request has an answer"
        assert all(not process.service._claims._operations for process in self.processes)
