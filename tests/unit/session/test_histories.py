"""Two honest sessions under any history: every call ends once, with what its handler said, and nothing is left over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ratatoskr import v1
from ratatoskr.errors import Disposition, Failure, Fault, WouldBlock
from ratatoskr.events import (
    GoingAway,
    RequestExpired,
    RequestFailed,
    RequestId,
    RequestReceived,
    ResponseReceived,
    SpanSealed,
    Writable,
)
from ratatoskr.limits import Limits
from tests.unit.messages.support import PLAIN, failure
from tests.unit.session.support import PAY, Both, Side, paid, pay

SIDES = st.sampled_from(["client", "server"])


class Histories(RuleBasedStateMachine):
    """Flights of one direction arrive in order, each after any delay; handlers answer when they like."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.asked: dict[RequestId, bytes] = {}
        """What each request said."""
        self.outcomes: dict[RequestId, ResponseReceived | RequestFailed] = {}
        self.executed: dict[bytes, Disposition | None] = {}
        """What a handler answered to each request: None for an answer, or the failure's disposition."""
        self.waiting: list[tuple[Side, RequestReceived]] = []
        self.under_way: dict[str, list[bytes]] = {"client": [], "server": []}

    @initialize(requests_open=st.integers(1, 4), span=st.integers(1, 6))
    def begin(self, requests_open: int, span: int) -> None:
        counts = Limits(requests_open=requests_open, requests_queued=6, span_messages=span, flight_messages=span)
        self.both = Both(replace(counts, span_timeout=3600.0))  # a line that stands still is no peer's fault here

    def side(self, name: str) -> Side:
        return self.both.client if name == "client" else self.both.server

    @rule(name=SIDES, sealed=st.booleans(), timeout=st.sampled_from([0.5, 30.0]))
    def ask(self, name: str, sealed: bool, timeout: float) -> None:
        self.count += 1
        words = f"Q {self.count}"
        kind, message = (PAY, pay(words)) if sealed else (PLAIN, v1.GoAway(reason=words))
        try:
            id = self.side(name).request(kind, message, timeout=timeout)
        except WouldBlock:
            return
        self.asked[id] = words.encode()

    @precondition(lambda self: self.waiting)
    @rule(at=st.integers(0, 20), refuse=st.booleans())
    def answer(self, at: int, refuse: bool) -> None:
        side, asked = self.waiting.pop(at % len(self.waiting))
        words = self.words(asked.message)
        if refuse:
            side.session.fail(asked.id, failure("REFUSED"))
        else:
            side.session.respond(asked.id, paid(words) if asked.kind == PAY else v1.GoAway(reason=words))
        self.executed[words.encode()] = Disposition.FAILED if refuse else None

    @staticmethod
    def words(message: Any) -> str:
        return str(message.reason if isinstance(message, v1.GoAway) else message.end_to_end_id)

    @rule(name=SIDES)
    def speak(self, name: str) -> None:
        flight = self.side(name).output(self.both.now)
        if flight is not None:
            self.under_way[name].append(flight)
        self.look()

    @rule(name=SIDES)
    def arrive(self, name: str) -> None:
        if self.under_way[name]:
            other = self.side("server" if name == "client" else "client")
            other.input(self.under_way[name].pop(0), self.both.now)
        self.look()

    @rule(seconds=st.sampled_from([0.01, 0.03, 0.3, 1.0]))
    def wait(self, seconds: float) -> None:
        self.both.advance(seconds)

    @precondition(lambda self: self.count > 3)
    @rule(name=SIDES)
    def drain(self, name: str) -> None:
        self.side(name).session.drain("")

    def look(self) -> None:
        """The applications see their events."""
        for side in (self.both.client, self.both.server):
            for event in side.events:
                match event:
                    case ResponseReceived() | RequestFailed():
                        assert event.id not in self.outcomes, "one outcome"
                        self.outcomes[event.id] = event
                        self.judge(event)
                    case RequestReceived():
                        words = self.words(event.message).encode()
                        assert words not in self.executed
                        self.executed[words] = Disposition.MAYBE
                        self.waiting.append((side, event))
                    case RequestExpired():
                        expired = [each for each in self.waiting if each[1].id is event.id]
                        assert len(expired) <= 1
                    case _:
                        assert isinstance(event, SpanSealed | Writable | GoingAway)
            side.events.clear()

    def judge(self, event: ResponseReceived | RequestFailed) -> None:
        """The outcome is true."""
        words = self.asked[event.id]
        if isinstance(event, ResponseReceived):
            assert self.words(event.message).encode() == words
            assert self.executed[words] is None
        elif event.failure.disposition is Disposition.NOT_PROCESSED:
            assert words not in self.executed, "surely not processed"
        elif event.failure.disposition is Disposition.FAILED:
            assert self.executed[words] is Disposition.FAILED
            assert event.failure == Failure(failure().status, "REFUSED", "no")

    @invariant()
    def slots_hold(self) -> None:
        if not hasattr(self, "both"):
            return
        for side in (self.both.client, self.both.server):
            session = side.session
            assert len(session._asking.calls._open) <= self.both.limits.requests_open
            assert session._answering.calls.open <= self.both.limits.requests_open

    def teardown(self) -> None:
        """Let everything arrive, drain, and see that nothing is left."""
        if not hasattr(self, "both"):
            return
        for name in ("client", "server"):
            while self.under_way[name]:
                self.arrive(name)
        self.both.settle()
        self.look()
        for side, asked in self.waiting:
            side.session.fail(asked.id, failure("REFUSED"))
            self.executed[self.words(asked.message).encode()] = Disposition.FAILED
        self.waiting.clear()
        for side in (self.both.client, self.both.server):
            side.session.drain("")
        for _ in range(100):
            self.both.run(1.0)
            self.look()
            for side, asked in self.waiting:
                side.session.fail(asked.id, failure("REFUSED"))
                self.executed[self.words(asked.message).encode()] = Disposition.FAILED
            self.waiting.clear()
        for side in (self.both.client, self.both.server):
            session = side.session
            assert session.over, "an honest end is clean"
            assert (
                session._answering.calls.open,
                session._answering.calls._bytes_open,
                session._asking.calls._bytes_open,
            ) == (0, 0, 0)
            session.end(Fault.CLEAN)
            side.collect()
        self.look()
        assert self.outcomes.keys() == self.asked.keys(), "every call has its outcome"


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
