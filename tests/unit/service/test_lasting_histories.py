"""Histories of a client that lasts: lines are cut, servers leave, die and come back, callers give up, at any moment.

Every call has one outcome, which is true. What runs at most once does. Nothing is left over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ratatoskr import v1
from ratatoskr.errors import CallError, CallFailed, CallRefused, Disposition, Fail, Fault, OutcomeUnknown, Status
from ratatoskr.events import Closed
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind
from ratatoskr.service import NO_RETRIES, Call, Calls, MemoryStore, Redial, RetryPolicy, Router
from tests.unit.service.lasting import KEPT, World
from tests.unit.service.lines import COUNT, Strand
from tests.unit.service.support import NOTE, REDEEM, Cancelled, Gate, ask, say

ITEMS = 5
POLICY = Redial(first_delay=0.5, longest_delay=4.0, spread=4.0, session_timeout=KEPT)
RETRIES = RetryPolicy(attempts=3, first_delay=0.5, longest_delay=2.0)
LIMITS = Limits(requests_open=3, requests_queued=3, stream_credit=2, stream_credit_ahead=2)
BUSY = Fail(Status.UNAVAILABLE, "BUSY", disposition=Disposition.NOT_PROCESSED)
NO_FUNDS = Fail(Status.FAILED_PRECONDITION, "NO_FUNDS")


@dataclass(eq=False)
class Asked:
    """A call that the program made."""

    kind: AnyKind
    text: str
    strand: Strand
    items: list[str]
    """Those that came, where it is a stream."""


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.begun: Counter[str] = Counter()
        """Executions, by text, that may have had an effect."""
        self.gates: list[Gate] = []
        self.open = False

    @initialize(retry=st.sampled_from([RETRIES, NO_RETRIES]), kept=st.sampled_from([KEPT, KEPT, 5.0, 0.0]))
    def begin(self, retry: RetryPolicy, kept: float) -> None:
        self.world = World(
            self.router(),
            answers=self.router(),
            policy=POLICY,
            retry=retry,
            limits=LIMITS,
            store=MemoryStore(),
            session_timeout=kept,
        )

    # Handlers, of both ends

    def router(self) -> Router:
        router = Router()
        for kind in (NOTE, REDEEM):
            router.on(kind)(self.answer)

        @router.on(COUNT)
        async def count(message: v1.Search, call: Call) -> AsyncGenerator[v1.GoAway, None]:
            for number in range(ITEMS):
                yield say(f"{message.query} {number}")
                await self.work()

        return router

    async def answer(self, message: v1.Search, call: Call) -> v1.GoAway:
        self.begun[message.query] += 1
        await self.work()
        if "busy" in message.query and call.attempt == 0:
            self.begun[message.query] -= 1
            raise BUSY
        if "poor" in message.query:
            raise NO_FUNDS
        return say(message.query)

    async def work(self) -> None:
        if not self.open:
            gate = Gate()
            self.gates.append(gate)
            await gate

    # The program

    def _ask(self, calls: Calls, kind: AnyKind, text: str, timeout: float) -> None:
        text = f"{text} {len(self.asked)}"
        items: list[str] = []

        async def read() -> None:
            async with calls.stream(COUNT, ask(text), timeout=timeout) as stream:
                async for item in stream:
                    items.append(item.reason)  # noqa: PERF401 - as they come

        key = text if kind.once else None
        one = calls.exchange(kind, ask(text), timeout=timeout, key=key) if not kind.stream else read()
        self.asked.append(Asked(kind, text, self.world.start(one), items))

    @rule(
        kind=st.sampled_from([NOTE, REDEEM, REDEEM, COUNT]),
        text=st.sampled_from(["plain", "busy", "poor"]),
        timeout=st.sampled_from([2.0, 30.0, 200.0]),
    )
    def client_asks(self, kind: AnyKind, text: str, timeout: float) -> None:
        self._ask(self.world.calls, kind, text, timeout)

    @precondition(lambda self: self._server() is not None)
    @rule(kind=st.sampled_from([NOTE, REDEEM, COUNT]), timeout=st.sampled_from([2.0, 30.0]))
    def server_asks(self, kind: AnyKind, timeout: float) -> None:
        server = self._server()
        assert server is not None
        self._ask(server, kind, "back", timeout)

    def _server(self) -> Calls | None:
        platform = self.world.platform or self.world.away
        return next(iter(platform.kept.values()), None) if platform is not None else None

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def caller_gives_up(self, data: st.DataObject) -> None:
        strand = data.draw(st.sampled_from([each.strand for each in self.asked]))
        if not strand.is_over():
            strand.cancel()

    @precondition(lambda self: self.gates)
    @rule(data=st.data())
    def handler_goes_on(self, data: st.DataObject) -> None:
        gate = data.draw(st.sampled_from(self.gates))
        gate.open = True
        self.gates.remove(gate)

    # The world

    @rule(seconds=st.sampled_from([0.0, 0.0, 0.001, 0.5, 3.0, 20.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule()
    def one_thing_happens(self) -> None:
        for line in self.world.lines:
            line.move(self.world.clock.now.mono)

    @rule()
    def others_run(self) -> None:
        self.world.host.turn()

    @precondition(lambda self: self.world.lines)
    @rule(how=st.sampled_from(["cut", "cut_client", "drop"]))
    def line_is_lost(self, how: str) -> None:
        getattr(self.world.line, how)()

    @precondition(lambda self: self.world.lines)
    @rule(seconds=st.sampled_from([0.0, 0.3, 2.0]))
    def line_becomes_slow(self, seconds: float) -> None:
        for end in (self.world.line.client, self.world.line.server):
            end.link.latency = seconds

    @rule(seconds=st.sampled_from([0.0, 2.0]))
    def transports_take_long_to_end(self, seconds: float) -> None:
        self.world.closing_takes = seconds

    @rule()
    def server_cannot_be_found(self) -> None:
        world = self.world
        world.away = world.platform or world.away
        world.platform = None

    @rule()
    def server_is_found_again(self) -> None:
        world = self.world
        world.platform = world.platform or world.away

    @rule(back=st.booleans())
    def server_says_goodbye(self, back: bool) -> None:
        world = self.world
        if world.platform is not None:
            world.platform.close()
            world.platform = None
        if back:
            world.start_platform()

    @rule()
    def server_is_another_one(self) -> None:
        self.world.start_platform()
        for line in self.world.lines:
            line.cut()

    # What must hold

    @invariant()
    def at_most_once(self) -> None:
        for asked in self.asked:
            if asked.kind is REDEEM:
                assert self.begun[asked.text] <= 1

    @invariant()
    def one_truth(self) -> None:
        for asked in self.asked:
            self._check(asked)

    def _check(self, asked: Asked) -> None:
        strand = asked.strand
        assert asked.items == [f"{asked.text} {number}" for number in range(len(asked.items))]
        if not strand.is_over() or isinstance(strand.error, Cancelled):
            return
        error: Any = strand.error
        if error is None:
            assert "poor" not in asked.text or asked.kind is COUNT
            if asked.kind is COUNT:
                assert len(asked.items) == ITEMS
            else:
                assert strand.result.message == say(asked.text)
                assert self.begun[asked.text] >= 1
            return
        assert isinstance(error, CallError)
        if isinstance(error, CallFailed):
            assert error.failure.reason == "NO_FUNDS"
        elif isinstance(error, CallRefused):
            assert self.begun[asked.text] == 0, "what surely had no effect was not begun"
        else:
            assert isinstance(error, OutcomeUnknown)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        self.open = True
        for gate in self.gates:
            gate.open = True
        world.platform = world.platform or world.away or world.start_platform()
        if world.platform.closing:
            world.start_platform()
        world.run(300.0)
        waiting = [each.text for each in self.asked if not each.strand.is_over()]
        assert waiting == [], "every call has an outcome"
        self.at_most_once()
        self.one_truth()
        assert world.fault() is None, "it dials for ever"
        assert world.at_rest()
        assert len(world.calls._asker.sessions) == 1
        last = world.start(world.calls.exchange(NOTE, ask("last")))
        world.run(20.0)
        assert last.result.message == say("last")
        world.calls.give_up(Closed(Fault.ABANDONED, "test", "over"))
        world.running.cancel()
        world.line.client.close()
        world.run(2 * KEPT)
        assert world.ended == 1
        assert world.calls._asker.sessions == set()
        assert (len(world.platform.kept), len(world.platform.table)) == (0, 0)
        assert world.host.unfinished == []


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=30)
