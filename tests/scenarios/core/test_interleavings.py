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
from hypothesis.stateful import initialize, precondition, rule

from ratatoskr import v1
from ratatoskr.connection import Connection, State
from ratatoskr.events import RequestId
from ratatoskr.messages import AnyKind, Kind
from ratatoskr.messages.standard import PAYMENT_AUTHORIZE
from ratatoskr.testing.authority import SERVER_NAME
from ratatoskr.testing.clock import Clock
from tests.scenarios.core.driving import flow, run
from tests.scenarios.core.ledger import ALL_KINDS, DECLINED, FEED, question
from tests.scenarios.core.machine import AT, NAMES, SIDES, SIZES, Ends
from tests.scenarios.core.parties import Party
from tests.scenarios.core.support import AUTHORITY, DEVICE, GLANCE, SERVER, note
from tests.scenarios.core.variety import CALLS, MANNERS, SMALL, STRANGER, limits

UNKNOWN: AnyKind = Kind(1000, 99, "UNKNOWN", v1.GoAway, v1.GoAway)


class Interleavings(Ends):
    """Both ends, both applications, and everything that may happen to them."""

    line = ""

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

    @precondition(lambda self: self.both[1].connection.state is State.DECIDING)
    @rule(let_in=st.sampled_from([True, True, True, False]))
    def decide(self, let_in: bool) -> None:
        server = self.both[1]
        connection = server.connection
        if connection._decision is None:
            connection.accept() if let_in else connection.reject(DECLINED)
        server.misuse(connection.accept)

    # The line

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
