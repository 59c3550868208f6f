"""Two ends whose lines are cut at any time, and whose sessions go on, are refused, forgotten, given up, or expire.

As ``test_interleavings``, with other lines: what may be relied on there holds here, over any number of lines. To look
for bugs::

    INTERLEAVINGS=5000 pytest --timeout=0 tests/scenarios/core/test_resuming.py
"""

from __future__ import annotations

import os
import sys
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from ratatoskr.channel import XX_AESGCM
from ratatoskr.config import Config
from ratatoskr.connection import Connection, State
from ratatoskr.testing.authority import SERVER_NAME
from ratatoskr.testing.clock import Clock
from tests.scenarios.core.driving import Wire, flow, run
from tests.scenarios.core.keeping import Keeper, check_agreement
from tests.scenarios.core.ledger import ALL_KINDS
from tests.scenarios.core.machine import NAMES, SIDES, Ends
from tests.scenarios.core.support import AUTHORITY, DEVICE, SERVER
from tests.scenarios.core.variety import CALLS, MANNERS, SMALL, limits

KEPT = st.sampled_from([30.0, 30.0, 300.0, 5.0, 0.0])
SIZES = st.sampled_from([0, 1, 5, 20, 100, 300, 1000, 100_000])
SMALLER: list[dict[str, int]] = [*SMALL, {"span_messages": 4, "flight_messages": 2, "outbox_messages": 3}]
LATER = [{name: value for name, value in small.items() if name != "requests_queued"} for small in SMALLER]
"""Of later lines: what was queued before may be more than has room, and is kept."""


class Resuming(Ends):
    """Both ends, both applications, and all their lines."""

    keepers: tuple[Keeper, Keeper]

    @initialize(
        client=st.sampled_from(SMALLER),
        server=st.sampled_from(SMALLER),
        kept=st.tuples(KEPT, KEPT),
        habit=st.sampled_from(["settle", "poll", "wait"]),
        manners=st.sampled_from(MANNERS),
        chunk=st.sampled_from([None, None, 1000, 97]),
        first=st.lists(st.tuples(SIDES, NAMES, st.sampled_from(CALLS)), max_size=4),
    )
    def begin(
        self,
        client: dict[str, int],
        server: dict[str, int],
        kept: tuple[float, float],
        habit: str,
        manners: tuple[str, str, bool],
        chunk: int | None,
        first: list[tuple[str, str, dict[str, Any]]],
    ) -> None:
        self.clock, self.habit, self.kept = Clock(), habit, kept
        closers: set[str] = set()
        one = Keeper("client", self.connect(client), self.clock, self.calls, closers)
        other = Keeper("server", self.await_client(server), self.clock, self.calls, closers)
        self.keepers = self.both = one, other
        self.parties = {"client": one, "server": other}
        one.peer, other.peer = other, one
        one.chunk = other.chunk = chunk
        one.manner, other.manner, one.consumes = manners
        flow(*self.both)
        for side, name, options in first:
            self.ask(side, name, options, 1)

    def config(self, small: dict[str, int], kept: float) -> dict[str, Any]:
        return {"kinds": ALL_KINDS, "limits": limits(small), "suites": (XX_AESGCM,), "session_timeout": kept}

    def connect(self, small: dict[str, int]) -> Connection:
        """A client's connection, to go on with its session, if it has one."""
        config: Config = AUTHORITY.client_config(DEVICE, **self.config(small, self.kept[0]))
        session = self.keepers[0].connection.session if hasattr(self, "keepers") else None
        return Connection.client(config, server_name=SERVER_NAME, session=session)

    def await_client(self, small: dict[str, int]) -> Connection:
        """A server's."""
        return Connection.server(AUTHORITY.server_config(identity=SERVER, **self.config(small, self.kept[1])))

    # The line

    @precondition(lambda self: self.keepers[0].closed is None)
    @rule(client=SIZES, server=SIZES, noticed=st.booleans(), at_once=st.booleans())
    def cut(self, client: int, server: int, noticed: bool, at_once: bool) -> None:
        """The line ends behind so many bytes; the server may not be told."""
        one, other = self.both
        other.wire.cut(server)
        if noticed:
            one.wire.cut(client)
        else:
            del one.wire.data[client:]
            one.wire.lost = True
        if at_once:
            flow(*self.both)

    @precondition(lambda self: self.keepers[0].closed is not None)
    @rule(
        client=st.sampled_from(LATER),
        server=st.sampled_from(LATER),
        how=st.sampled_from(["knows"] * 6 + ["forgot", "refuses"]),
        asleep=st.booleans(),
        at_once=st.sampled_from([True, True, False]),
    )
    def reconnect(self, client: dict[str, int], server: dict[str, int], how: str, asleep: bool, at_once: bool) -> None:
        """Another line. ``asleep``: nobody polls what is left of the server's old one."""
        one, other = self.keepers
        other.knows, other.lets_in = how != "forgot", how != "refuses"
        connection = self.connect(client)
        other.renew(self.await_client(server), asleep=asleep)
        one.renew(connection, asleep=False)
        one.wire, other.wire = Wire(), Wire()
        if at_once:
            flow(*self.both)

    @precondition(
        lambda self: any(session.transport is None for each in self.keepers for session in each.sessions.values())
    )
    @rule(side=SIDES)
    def abandon(self, side: str) -> None:
        """An application gives up the sessions that have no line."""
        keeper = self.keepers[side == "server"]
        for session in keeper.sessions.values():
            if session.transport is None:
                session.abandon()
        self.after(keeper)

    @precondition(lambda self: any(left.asleep for left in self.keepers[1].left))
    @rule()
    def wake(self) -> None:
        """What is left of old lines is polled again."""
        for left in self.keepers[1].left:
            left.asleep = False
        self.keepers[1].polls()

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "keepers"):
            check_agreement(*self.keepers)

    # The end

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None or not hasattr(self, "keepers"):
            return
        one, other = self.keepers
        self.wake()
        other.knows = other.lets_in = True
        if one.wire.lost or other.wire.lost:
            self.cut(0, 0, noticed=True, at_once=True)
        flow(*self.both)
        if one.closed is not None:
            self.reconnect({}, {}, "knows", asleep=False, at_once=True)
        self.rest()
        well = all(each.connection.state is State.OPEN for each in self.both)
        for each in self.both:
            each.manner = "answers" if self.count % 3 else "waits"  # and never answers
            for call in each.owed if each.manner == "answers" else ():
                each.say(call, "answer", self.words(call.kind))
        well = well and not any(each.owed for each in self.both)
        self.both[self.count % 2].close(drain=True)
        run(*self.both, 500.0)
        for each in self.keepers:
            assert each.closed is not None, f"the {each.name} is {each.connection.state}"
            assert each.closed.clean or not well, f"{each.name}: {each.closed}"
            assert all(call.outcome for call in each.own)
            assert not each.sessions
            assert not each.left
            assert not each.poll()


TestResuming = Resuming.TestCase
TestResuming.settings = settings(
    max_examples=int(os.environ.get("INTERLEAVINGS", "200")), stateful_step_count=40, deadline=None
)
