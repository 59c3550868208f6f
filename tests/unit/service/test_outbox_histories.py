"""Histories of an outbox: requests are delayed, answers are lost, lines come and go, both ends die at any step, time
passes.

Every post ends with one outcome, and with one that is true of the server's ledger. Nothing is executed twice. Of each
lane, executions begin in the order of posts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ratatoskr import v1
from ratatoskr.errors import CallError, Disposition, Fail, Failure, Status
from ratatoskr.events import RequestReceived
from ratatoskr.messages import AnyKind
from ratatoskr.service import (
    Call,
    Courier,
    Exchange,
    MemoryOutboxStore,
    MemoryStore,
    OncePolicy,
    OutboxPolicy,
    PostSettled,
    Router,
    Service,
)
from ratatoskr.testing.clock import Clock, seeded
from tests.unit.service.desk import BUSY, KINDS, LOST, OWN, VOUCHER, Desk
from tests.unit.service.lines import Bell, Turn
from tests.unit.service.support import REDEEM, SERVER, Gate, Link, Task, World, ask, received, request, run, say

SERVER_POLICY = OncePolicy(retention=1000.0, tolerance=100.0, lease=60.0)
POLICY = OutboxPolicy(
    retention=1000.0, margin=200.0, lanes=2, first_delay=1.0, longest_delay=16.0, check_every=5.0, timeout=30.0
)
ENDINGS = st.sampled_from(["answer", "answer", "fail", "refuse", "unsure", "mistake"])
LANES = st.sampled_from(["", "", "x", "y"])
NO_FUNDS = Fail(Status.FAILED_PRECONDITION, "NO_FUNDS")
LATER = Fail(Status.UNAVAILABLE, "LATER", disposition=Disposition.NOT_PROCESSED)
BANK_SILENT = Fail(Status.UNAVAILABLE, "BANK_SILENT", disposition=Disposition.MAYBE)


def pausing(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    """A method of the store in memory that takes its time before and after it has its effect."""
    method = getattr(MemoryOutboxStore, name)

    async def pause(self: MemoryOutboxStore, *args: Any, **options: Any) -> Any:
        await Turn()
        result = await method(self, *args, **options)
        await Turn()
        return result

    return pause


class PausingStore(MemoryOutboxStore):
    """A store on a disk: what a process has begun happens or does not, when it dies."""

    add = pausing("add")
    get = pausing("get")
    heads = pausing("heads")
    overdue = pausing("overdue")
    move = pausing("move")
    settled = pausing("settled")
    deliver = pausing("deliver")
    forget = pausing("forget")


@dataclass(eq=False)
class Attempt:
    """A request on its way. It may arrive long after who made it has given it up, or is dead."""

    event: RequestReceived
    bell: Bell = field(default_factory=Bell)
    link: Link = field(default_factory=Link)
    reply: Exchange[Any] | CallError | None = None
    arrived: bool = False

    @property
    def text(self) -> str:
        assert isinstance(self.event.message, v1.Search)
        return self.event.message.query

    def end(self, reply: Exchange[Any] | CallError) -> None:
        if self.reply is None:
            self.reply = reply
            self.bell.set()


class Network(Link):
    """Where attempts wait for what the test does with them."""

    def __init__(self) -> None:
        super().__init__(SERVER)
        self.attempts: list[Attempt] = []

    async def exchange(self, kind: AnyKind, message: Message, **options: Any) -> Exchange[Any]:
        assert isinstance(message, v1.Search)
        key = options["key"] if kind is REDEEM else message.query.encode()
        event = request(kind, message, key=key, at=options["issued_at"], expires_at=options["expires_at"])
        attempt = Attempt(event)
        self.attempts.append(attempt)
        await attempt.bell
        if isinstance(attempt.reply, CallError):
            raise attempt.reply
        assert attempt.reply is not None
        return attempt.reply


@dataclass(eq=False)
class Execution:
    text: str
    effect: bool = False
    harmless: bool = False
    """Whether it ended with the word that it surely did nothing."""


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.posts = PausingStore()
        self.outcomes = MemoryStore()
        self.network = Network()
        self.executions: list[Execution] = []
        self.posted: dict[str, tuple[int, str]] = {}
        """Id and lane of what was surely posted, by text."""
        self.keyed: dict[str, bool] = {}
        """Whether its key is in its message."""
        self.made = 0
        self.told: dict[str, list[PostSettled]] = {}
        self.ending = "answer"
        self.tasks: list[Task] = []
        self.servers = self.clients = 0
        self.careless = False
        """Whether outcomes are told and not done."""

    @initialize()
    def begin(self) -> None:
        self.start_server()
        self.start_client()

    # The server

    def start_server(self) -> None:
        self.servers += 1
        self.hold = Gate()
        router = Router()
        for kind in KINDS:
            router.on(kind)(self.redeem)
        world = World(f"server {self.servers}", self.clock)
        self.service = Service(router, host=world, store=self.outcomes, policy=SERVER_POLICY)

    async def redeem(self, message: v1.Search, call: Call) -> v1.GoAway:
        execution = Execution(message.query)
        self.executions.append(execution)
        await self.hold
        ending = self.ending
        if ending == "refuse":
            execution.harmless = True
            raise LATER
        execution.effect = ending != "fail"
        if ending == "fail":
            raise NO_FUNDS
        if ending == "unsure":
            raise BANK_SILENT
        if ending == "mistake":
            raise ValueError(message.query)
        return say(f"{message.query} {len(self.executions)}")

    @rule()
    def server_dies(self) -> None:
        for task in self.tasks:
            task.coroutine.close()
        self.tasks.clear()
        self.start_server()

    @rule(ending=ENDINGS)
    def handlers_end(self, ending: str) -> None:
        self.ending = ending
        self.hold.open = True
        for task in self.tasks:
            task.step()
        self.tasks = [task for task in self.tasks if not task.done]
        self.hold = Gate()

    # The network

    def chosen(self, which: int, of: list[Attempt]) -> Attempt | None:
        return of[which % len(of)] if of else None

    @rule(which=st.integers(0, 9), ending=st.one_of(st.none(), ENDINGS))
    def arrive(self, which: int, ending: str | None) -> None:
        """A request reaches the server, whose handler ends so, or goes on."""
        attempt = self.chosen(which, [each for each in self.network.attempts if not each.arrived])
        if attempt is None:
            return
        attempt.arrived = True
        self.ending, self.hold.open = ending or "answer", ending is not None
        task = Task(self.service.job(attempt.link, attempt.event).run())
        task.step()
        self.hold.open = False
        if not task.done:
            self.tasks.append(task)

    @rule(which=st.integers(0, 9))
    def answer(self, which: int) -> None:
        """An answer comes to who waits for it."""
        attempt = self.chosen(which, [each for each in self.network.attempts if each.link.told and not each.reply])
        if attempt is None:
            return
        answer, replayed = attempt.link.told[attempt.event.id]
        if isinstance(answer, Failure):
            attempt.end(CallError.of(answer, replayed=replayed))
        else:
            kind = attempt.event.kind
            evidence = received(kind, v1.RatatoskrResponse(payload=answer.SerializeToString()), answer).evidence
            attempt.end(Exchange(answer, kind, replayed, evidence))
        self.goes_on(3)

    @rule(which=st.integers(0, 9))
    def is_lost(self, which: int) -> None:
        """The caller hears that the line is gone. Its request may still arrive."""
        attempt = self.chosen(which, [each for each in self.network.attempts if not each.reply])
        if attempt is not None:
            attempt.end(CallError.of(LOST))
            self.goes_on(3)

    @rule(which=st.integers(0, 9))
    def is_never_sent(self, which: int) -> None:
        """The line was down all the time."""
        attempt = self.chosen(which, [each for each in self.network.attempts if not each.reply and not each.arrived])
        if attempt is not None:
            attempt.arrived = True
            attempt.end(CallError.of(BUSY))
            self.goes_on(3)

    @rule()
    def there_is_no_line(self) -> None:
        """What is on its way stays so."""
        self.network.connected = False

    @rule(kept=st.sampled_from([1000.0, 1000.0, 600.0]))
    def there_is_a_line(self, kept: float) -> None:
        """The server says for how long it keeps outcomes; now and then that is less than it does."""
        self.network.retention, self.network.connected = kept, True
        if self.network.on_open is not None:
            self.network.on_open()

    # The client

    def start_client(self) -> None:
        self.clients += 1
        self.desk = Desk(POLICY, self.posts, self.clock)
        self.desk.host.entropy = seeded(f"client {self.clients}")
        self.desk.courier = Courier(self.desk.outbox, self.network, self.desk.host, OWN)
        self.desk.start(self.desk.courier.__aenter__())
        self.desk.start(self.read())

    async def read(self) -> None:
        async for settled in self.desk.outbox.outcomes():
            message = settled.post.message
            assert isinstance(message, v1.Search)
            self.told.setdefault(message.query, []).append(settled)
            if not self.careless:
                await settled.done()

    @rule(turns=st.integers(1, 12))
    def goes_on(self, turns: int) -> None:
        for _ in range(turns):
            self.desk.host.turn()

    @rule(turns=st.integers(0, 12), careless=st.booleans())
    def client_dies(self, turns: int, careless: bool) -> None:
        self.goes_on(turns)
        self.desk.crash()
        self.careless = careless
        self.start_client()

    @rule(
        kind=st.sampled_from(KINDS),
        lane=LANES,
        expires_in=st.sampled_from([None, None, 20.0, 200.0]),
        turns=st.integers(1, 12),
    )
    def post(self, kind: AnyKind, lane: str, expires_in: float | None, turns: int) -> None:
        """REDEEM gets no key, so its nonce is drawn."""
        self.made += 1
        text = f"v{self.made}"
        expires_at = None if expires_in is None else self.clock.now.wall + expires_in
        strand = self.desk.start(self.desk.outbox.post(kind, ask(text), lane=lane, expires_at=expires_at))
        self.goes_on(turns)
        if strand.is_over():
            assert strand.error is None
            self.posted[text] = (strand.result, lane)
            self.keyed[text] = kind is VOUCHER

    @rule(which=st.integers(0, 9))
    def post_again(self, which: int) -> None:
        """A script that was restarted posts what has no outcome yet."""
        waiting = [text for text in self.posted if text not in self.told and self.keyed[text]]
        if waiting:
            text = waiting[which % len(waiting)]
            id, lane = self.posted[text]
            assert self.desk.run(self.desk.outbox.post(VOUCHER, ask(text), lane=f"not {lane}")) == id

    @rule(which=st.integers(0, 9))
    def cancel(self, which: int) -> None:
        waiting = [text for text in self.posted if text not in self.told]
        if waiting:
            text = waiting[which % len(waiting)]
            if self.desk.run(self.desk.outbox.cancel(self.posted[text][0])):
                self.desk.settle()
                assert {brief(told) for told in self.told[text]} == {"CANCELLED NOT_PROCESSED"}

    @rule(seconds=st.sampled_from([1.0, 5.0, 30.0, 100.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.desk.pass_time(seconds)
        run(self.service.upkeep())

    # What must hold

    @invariant()
    def at_most_one_execution(self) -> None:
        counts = Counter(each.text for each in self.executions if not each.harmless)
        assert all(count == 1 for count in counts.values())

    @invariant()
    def one_true_outcome(self) -> None:
        for text, told in self.told.items():
            assert len({brief(each) for each in told}) == 1
            assert [each.delivery for each in told] == sorted({each.delivery for each in told})
            done = [each for each in self.executions if each.text == text and not each.harmless]
            outcome = told[0].outcome
            if not isinstance(outcome, Failure):
                assert isinstance(outcome, v1.GoAway)
                assert outcome.reason.startswith(f"{text} ")
                assert [each.effect for each in done] == [True]
            elif outcome.disposition is Disposition.FAILED:
                assert (outcome.reason, [each.effect for each in done]) == ("NO_FUNDS", [False])
            elif outcome.disposition is Disposition.NOT_PROCESSED:
                assert done == []
                assert outcome.reason in {"REQUEST_EXPIRED", "STALE", "CANCELLED"}

    @invariant()
    def lanes_keep_their_order(self) -> None:
        ids: dict[str, list[int]] = {}
        for execution in self.executions:
            if execution.text in self.posted:
                id, lane = self.posted[execution.text]
                ids.setdefault(lane, []).append(id)
        assert all(each == sorted(each) for each in ids.values())

    def teardown(self) -> None:
        """In the end the network works, and every post has its outcome."""
        self.there_is_a_line(1000.0)
        self.careless = False
        self.desk.crash()
        self.start_client()
        for _ in range(400):
            if self.posted.keys() <= self.told.keys() and not run_unsettled(self.posts):
                break
            for which in range(3):
                self.arrive(which, "answer")
            self.handlers_end("answer")
            for which in range(3):
                self.answer(which)
            self.desk.pass_time(5.0)
            if self.network.attempts and all(each.arrived for each in self.network.attempts):
                for attempt in self.network.attempts:
                    if not attempt.link.told:
                        attempt.end(CallError.of(LOST))
            self.one_true_outcome()
        assert self.posted.keys() <= self.told.keys(), "every post has its outcome"
        self.at_most_one_execution()
        self.lanes_keep_their_order()
        self.one_true_outcome()
        self.desk.crash()
        for task in self.tasks:
            task.coroutine.close()


def brief(told: PostSettled) -> str:
    outcome = told.outcome
    return f"{outcome.reason} {outcome.disposition.name}" if isinstance(outcome, Failure) else str(outcome)


def run_unsettled(posts: PausingStore) -> list[Any]:
    return run(posts.unsettled())


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=50)
