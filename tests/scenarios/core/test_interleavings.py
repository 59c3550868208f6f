"""Two real connections under any interleaving, legal and illegal, in virtual time: what may be relied on, holds.

Hypothesis drives both ends: each poll, the chunks in which bytes come, writes that end late, time, the end of the line
at any byte; and two applications that ask, answer, stream, grant, cancel, repeat, close, and misuse every method.
Limits are small, so that all of them are met. What holds at every moment is asserted in ``driving`` (what poll keeps),
``bounds`` (what a connection holds), ``ledger`` (what an outcome may say) and ``parties`` (what an application may rely
on). In the end everything is let go, and both ends close in bounded time.

Every run takes a few hundred examples. To look for bugs, take thousands of new ones::

    INTERLEAVINGS=5000 pytest --timeout=0 tests/scenarios/core/test_interleavings.py
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from math import nan
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from ratatoskr import v1
from ratatoskr.connection import Connection, State
from ratatoskr.events import RequestId
from ratatoskr.messages import AnyKind, Kind
from ratatoskr.messages.standard import PAYMENT_AUTHORIZE
from ratatoskr.testing.authority import SERVER_NAME
from ratatoskr.testing.clock import Clock
from tests.scenarios.core.driving import flow, rest, run
from tests.scenarios.core.ledger import ALL_KINDS, DECLINED, FEED, SPOKEN, Call, question
from tests.scenarios.core.parties import Party
from tests.scenarios.core.support import AUTHORITY, DEVICE, GLANCE, SERVER, note
from tests.scenarios.core.variety import CALLS, MANNERS, SMALL, STRANGER, limits

SIDES = st.sampled_from(["client", "server"])
AT = st.integers(0, 30)
SIZES = st.sampled_from([1, 3, 4, 5, 20, 100, 1000])
NAMES = st.sampled_from(list(SPOKEN))
PADDING = st.sampled_from([0, 0, 0, 200, 2500, 3500])
TIMEOUTS = st.sampled_from([20.0, 5.0, 0.5, 0.05])
UNKNOWN: AnyKind = Kind(1000, 99, "UNKNOWN", v1.GoAway, v1.GoAway)


class Interleavings(RuleBasedStateMachine):
    """Both ends, both applications, and everything that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.count = 0
        self.line = ""

    @initialize(
        client=st.sampled_from(SMALL),
        server=st.sampled_from(SMALL),
        line=st.sampled_from(["steady"] * 6 + ["breaks", "changes", "loses", "sleeps"]),
        opens=st.sampled_from(["at once", "at once", "at once", "step by step", "asks first"]),
        habit=st.sampled_from(["settle", "poll", "wait"]),
        manners=st.sampled_from(MANNERS),
        chunk=st.sampled_from([None, None, 1000, 97, 11]),
        first=st.lists(st.tuples(SIDES, NAMES, st.sampled_from(CALLS)), max_size=4),
    )
    def begin(
        self,
        client: dict[str, int],
        server: dict[str, int],
        line: str,
        opens: str,
        habit: str,
        manners: tuple[str, str, bool],
        chunk: int | None,
        first: list[tuple[str, str, dict[str, Any]]],
    ) -> None:
        self.clock, self.line, self.habit = Clock(), line, habit
        closers: set[str] = set()
        ends = {
            "client": Connection.client(
                AUTHORITY.client_config(DEVICE, kinds=ALL_KINDS, limits=limits(client)), server_name=SERVER_NAME
            ),
            "server": Connection.server(
                AUTHORITY.server_config(identity=SERVER, kinds=ALL_KINDS, limits=limits(server))
            ),
        }
        self.parties = {name: Party(name, end, self.clock, self.calls, closers) for name, end in ends.items()}
        self.both = one, other = self.parties["client"], self.parties["server"]
        one.peer, other.peer = other, one
        one.chunk = other.chunk = chunk
        one.manner, other.manner, one.consumes = manners
        other.accepts = opens != "asks first"
        if opens == "at once":
            flow(*self.both)
        for side, name, options in first:
            self.ask(side, name, options, 1)

    def words(self, kind: AnyKind, padding: int = 0) -> str:
        """What nobody has said before, with so many letters more where the kind takes any text."""
        self.count += 1
        return f"w{self.count}" + "x" * (0 if kind == PAYMENT_AUTHORIZE else padding)

    def after(self, party: Party) -> None:
        """What follows when an application has done something, by the habit of this run."""
        if self.habit == "settle":
            flow(*self.both)
        elif self.habit == "poll":
            party.polls()

    def party(self, side: str, able: Callable[[Party], object]) -> Party:
        """That side, or the other one where only that one is able."""
        party = self.parties[side]
        return party if able(party) else party.peer

    # Applications

    @rule(side=SIDES, name=NAMES, options=st.sampled_from(CALLS), times=st.integers(1, 4))
    def ask(self, side: str, name: str, options: dict[str, Any], times: int) -> None:
        kind, party = SPOKEN[name], self.parties[side]
        ahead = party.connection._session._limits.stream_credit_ahead
        options = {"timeout": 20.0, **options, "credit": min(ahead, options.get("credit", 3))}
        padding = options.pop("padding", 0)
        expires_in = options.pop("expires_in", None)
        if expires_in is not None:
            options["expires_at"] = self.clock.now.wall + expires_in
        for _ in range(times):
            party.ask(kind, self.words(kind, padding), **options)
        self.after(party)

    @rule(side=SIDES, name=st.sampled_from(["FEED", "TICKER"]), options=st.sampled_from(CALLS))
    def subscribe(self, side: str, name: str, options: dict[str, Any]) -> None:
        self.ask(side, name, options, 2)

    @precondition(lambda self: any(party.asked for party in self.both))
    @rule(side=SIDES, at=AT, how=st.sampled_from(["answer", "end", "fail", "later"]), padding=PADDING)
    def answer(self, side: str, at: int, how: str, padding: int) -> None:
        """One request, perhaps too late, perhaps twice."""
        party = self.party(side, lambda party: party.asked)
        call = party.asked[at % len(party.asked)]
        party.say(call, how, self.words(call.kind, padding))
        self.after(party)

    @precondition(lambda self: any(party.owed for party in self.both))
    @rule(side=SIDES, how=st.sampled_from(["answer", "fail", "items", "items"]), padding=PADDING)
    def serve(self, side: str, how: str, padding: int) -> None:
        """All requests that are owed an answer; of streams a few items, or the end."""
        party = self.party(side, lambda party: party.owed)
        for call in party.owed:
            if how != "items":
                party.say(call, how, self.words(call.kind, padding))
            elif call.kind.stream:
                for _ in range(4):
                    party.say(call, "item", self.words(call.kind, padding))
        self.after(party)

    @precondition(lambda self: any(party.owed for party in self.both))
    @rule(side=SIDES, at=AT, times=st.integers(1, 4), padding=PADDING)
    def item(self, side: str, at: int, times: int, padding: int) -> None:
        party = self.party(side, lambda party: party.owed)
        owed = [call for call in party.owed if call.kind.stream] or party.owed
        call = owed[at % len(owed)]
        for _ in range(times):
            party.say(call, "item", self.words(call.kind, padding))
        self.after(party)

    @precondition(lambda self: any(party.own for party in self.both))
    @rule(side=SIDES, at=AT)
    def cancel(self, side: str, at: int) -> None:
        party = self.party(side, lambda party: party.own)
        party.cancel(party.own[-1 - at % len(party.own)])
        self.after(party)

    @precondition(lambda self: any(party.reads for party in self.both))
    @rule(side=SIDES, at=AT, items=st.sampled_from([1, 1, 2, 4, 1000]), times=st.sampled_from([1, 12]))
    def grant(self, side: str, at: int, items: int, times: int) -> None:
        """Once, or step by step, each said at once."""
        party = self.party(side, lambda party: party.reads)
        call = party.reads[at % len(party.reads)]
        for _ in range(times):
            party.grant(call, items)
            self.after(party)

    @precondition(lambda self: any(call.outcome for call in self.calls))
    @rule(side=SIDES, at=AT, timeout=TIMEOUTS)
    def retry(self, side: str, at: int, timeout: float) -> None:
        party = self.parties[side]
        old = [*party.own, STRANGER]
        party.retry(old[-1 - at % len(old)], timeout)
        self.after(party)

    @precondition(lambda self: len(self.calls) > 5)
    @rule(side=SIDES, drain=st.sampled_from([True, True, True, False]))
    def close(self, side: str, drain: bool) -> None:
        self.parties[side].close(drain=drain)
        self.after(self.parties[side])

    @precondition(lambda self: self.both[1].connection.state is State.DECIDING)
    @rule(let_in=st.sampled_from([True, True, True, False]))
    def decide(self, let_in: bool) -> None:
        server = self.both[1]
        connection = server.connection
        if connection._decision is None:
            connection.accept() if let_in else connection.reject(DECLINED)
        server.misuse(connection.accept)

    # Drivers

    @rule(side=SIDES, most=st.sampled_from([1, 2, 3, 1000]))
    def poll(self, side: str, most: int) -> None:
        self.parties[side].polls(most)

    @precondition(lambda self: any(party.wire.moves for party in self.both))
    @rule(side=SIDES, size=SIZES, times=st.sampled_from([1, 30]))
    def deliver(self, side: str, size: int, times: int) -> None:
        """A chunk, or many, with a few polls between them."""
        party = self.party(side, lambda party: party.peer.wire.moves)
        while party.deliver(size) and times > 1:
            times -= 1
            party.polls(2)

    @precondition(lambda self: any(party.wire.moves or party.loan for party in self.both))
    @rule(side=SIDES)
    def go_on(self, side: str) -> None:
        """All that was written comes to one end, and it is driven to its Wait."""
        party = self.party(side, lambda party: party.peer.wire.moves or party.peer.loan)
        party.peer.write()
        while party.deliver():
            party.polls()

    @precondition(lambda self: not all(party.blocks for party in self.both))
    @rule(side=SIDES)
    def block(self, side: str) -> None:
        """Writes take time from now on."""
        self.parties[side].blocks = True

    @precondition(lambda self: any(party.loan for party in self.both))
    @rule(side=SIDES, size=st.sampled_from([1, 5, 100, None]))
    def write(self, side: str, size: int | None) -> None:
        """A write goes on or ends."""
        self.party(side, lambda party: party.loan).write(size)

    @precondition(lambda self: self.habit != "settle" or any(party.wire.moves or party.loan for party in self.both))
    @rule()
    def settle(self) -> None:
        flow(*self.both)

    @rule(seconds=st.sampled_from([0.001, 0.019, 0.021, 0.1, 0.26, 1.0, 4.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([0.05, 0.05, 0.3, 1.0, 6.0, 25.0]))
    def pass_time(self, seconds: float) -> None:
        run(*self.both, seconds)
        if seconds >= 1.0:
            self.rest()

    @precondition(lambda self: any(party.loan for party in self.both))
    @rule(seconds=st.sampled_from([0.05, 6.0, 40.0]))
    def pass_blocked(self, seconds: float) -> None:
        """As :meth:`pass_time`, and no write ends."""
        run(*self.both, seconds, writes=False)

    def rest(self) -> None:
        rest(*self.both)
        if self.well and all(party.live for party in self.both):
            for party in self.both:
                party.check_rest()

    # The line

    @property
    def well(self) -> bool:
        """Whether all that is written arrives as it is."""
        return not any(party.changed or party.wire.lost for party in self.both)

    @precondition(lambda self: self.line == "sleeps")
    @rule(side=SIDES, seconds=st.sampled_from([9.0, 20.0, 50.0, 1000.0]))
    def sleep(self, side: str, seconds: float) -> None:
        self.clock.advance(seconds)
        self.parties[side].polls()

    @precondition(lambda self: self.line == "breaks" and self.count > 3)
    @rule(client=SIZES, server=SIZES, at_once=st.booleans())
    def break_(self, client: int, server: int, at_once: bool) -> None:
        """The line ends behind so many bytes, which may come with the news of it, or later."""
        for party, keep in zip(self.both, (client, server), strict=True):
            party.wire.cut(keep)
        for party in self.both:
            while at_once and party.deliver():
                pass

    @precondition(lambda self: self.line == "changes")
    @rule(side=SIDES, at=st.integers(0, 5000), bit=st.integers(0, 7))
    def change(self, side: str, at: int, bit: int) -> None:
        data = self.parties[side].wire.data
        if data:
            data[at % len(data)] ^= 1 << bit
            for party in self.both:
                party.changed = True

    @precondition(lambda self: self.line == "loses" and self.count > 3)
    @rule(side=SIDES)
    def lose(self, side: str) -> None:
        self.parties[side].wire.lost = True

    # Misuse

    @rule(side=SIDES, at=AT, which=st.integers(0, 100))
    def misuse(self, side: str, at: int, which: int) -> None:
        party = self.parties[side]
        methods = self.misuses(party, at)
        party.misuse(methods[which % len(methods)])
        self.nothing(party, at)
        if party.own:
            party.grant(party.own[at % len(party.own)], 1)  # perhaps late, perhaps of what is no stream

    def misuses(self, party: Party, at: int) -> list[Callable[[], object]]:
        """What raises in every state."""
        connection, message = party.connection, note()
        mine = [call.id for call in party.own]
        asked = [call.asked.id for call in party.asked if call.asked]
        foreign = [RequestId(), STRANGER.id, *asked, *(call.id for call in party.peer.own)]
        other = foreign[at % len(foreign)]
        methods: list[Callable[[], object]] = [
            lambda: connection.cancel(other),
            lambda: connection.grant(other, 1),
            lambda: connection.respond(STRANGER.id, message),
            lambda: connection.fail(RequestId(), DECLINED),
            lambda: connection.retry(RequestId()),
            lambda: connection.request(UNKNOWN, message),
            lambda: connection.request(GLANCE, question(PAYMENT_AUTHORIZE, "w")),
            lambda: connection.request(GLANCE, message, timeout=nan),
            lambda: connection.request(GLANCE, message, credit=1),
            lambda: connection.request(FEED, message, credit=0),
            lambda: connection.request(FEED, message, credit=31),
            lambda: connection.request(GLANCE, message, metadata={"A": ""}),
            lambda: connection.request(GLANCE, message, expires_at=-1.0),
        ]
        if mine:
            own = mine[at % len(mine)]
            methods += [
                lambda: connection.respond(own, message),
                lambda: connection.fail(own, DECLINED),
                lambda: connection.grant(own, 0),
            ]
        if asked:
            theirs = asked[at % len(asked)]
            methods += [lambda: connection.respond(theirs, v1.Search()), lambda: connection.retry(theirs)]
        if connection.state not in (State.DECIDING, State.CLOSING, State.CLOSED):
            methods += [connection.accept, lambda: connection.reject(DECLINED)]
        return methods

    def nothing(self, party: Party, at: int) -> None:
        """What may be called at any time, and is of no effect then."""
        connection = party.connection
        party.changes_nothing(lambda: connection.receive(b""))
        if not connection._writer.on_loan:
            party.changes_nothing(connection.sent)
        if connection._eof is not None:
            party.changes_nothing(connection.receive_eof)
        if connection.state in (State.CLOSING, State.CLOSED):
            party.changes_nothing(lambda: connection.receive(b"late"))
            party.changes_nothing(connection.accept)
        done = [call for call in party.own if call.outcome]
        if done:
            party.changes_nothing(lambda: connection.cancel(done[at % len(done)].id))

    # The end

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None or not hasattr(self, "both"):
            return
        client, server = self.both
        server.accepts = True
        if server.connection.state is State.DECIDING and server.connection._decision is None:
            server.connection.accept()
        self.rest()
        well = self.well and all(party.connection.state is State.OPEN for party in self.both)
        for party in self.both:
            party.manner = "answers" if self.count % 3 else "waits"  # and never answers
            for call in party.owed if party.manner == "answers" else ():
                party.say(call, "answer", self.words(call.kind))
        well = well and not any(party.owed for party in self.both)
        (client, server)[self.count % 2].close(drain=True)
        run(*self.both, 150.0)
        for party in self.both:
            assert party.closed is not None, f"the {party.name} is {party.connection.state}"
            assert party.closed.clean or not well, f"{party.name}: {party.closed}"
            assert all(call.outcome for call in party.own)
            assert not party.poll()


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(
    max_examples=int(os.environ.get("INTERLEAVINGS", "300")), stateful_step_count=40, deadline=None
)
