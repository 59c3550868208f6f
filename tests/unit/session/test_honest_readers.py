"""Streams on a slow line, under peers with no patience at all: who keeps to the rules is charged for nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.errors import WouldBlock
from ratatoskr.events import ItemReceived, RequestCancelled, RequestId, RequestReceived
from ratatoskr.limits import Limits
from tests.unit.messages.support import FEED, VAULT, failure
from tests.unit.session.support import Both, Outcome, Side, note

STINGY = Limits(control_burst=1, control_rate=0.001, requests_open=4, outbox_messages=6, stream_credit=1, controls=4)
AHEAD = 900
CANCEL = 0


class Reader:
    """Who asked for a stream. Its plan: how many items to grant at each step, or to cancel."""

    def __init__(self, side: Side, id: RequestId, plan: list[int]) -> None:
        self.side = side
        self.id = id
        self.plan = plan
        self.granted = STINGY.stream_credit
        self.cancelled = False
        self.words: list[str] = []

    def step(self) -> None:
        for event in list(self.side.events):
            if isinstance(event, ItemReceived) and event.id is self.id:
                self.side.events.remove(event)
                assert isinstance(event.message, v1.GoAway)
                assert not self.cancelled, "items are dropped from then on"
                self.words.append(event.message.reason)
        if self.plan and self.granted - len(self.words) < AHEAD:
            more = self.plan.pop()
            if more == CANCEL:
                self.cancelled = True
                self.side.session.cancel(self.id)
            else:
                self.granted += more
                self.side.session.grant(self.id, more)

    def hurry(self) -> None:
        """From now on credit never runs out."""
        if not self.plan and self.granted <= len(self.words):
            self.plan.append(1)


class Handler:
    """Who sends a stream: so many items, then its end. It stops when it is told to."""

    def __init__(self, side: Side, asked: RequestReceived, items: int) -> None:
        self.side = side
        self.asked = asked
        self.items = items
        self.sent = 0
        self.done = False

    def step(self) -> None:
        for event in list(self.side.events):
            if isinstance(event, RequestCancelled) and event.id is self.asked.id:
                self.side.events.remove(event)
                if not self.done:
                    self.side.session.fail(self.asked.id, failure())
                self.done = True
        if self.done:
            return
        if self.sent == self.items:
            self.side.session.respond(self.asked.id)
            self.done = True
            return
        try:
            self.side.session.respond(self.asked.id, note(self.sent), last=False)
        except WouldBlock:
            return
        self.sent += 1


class World:
    """A client's streams from a server, and two directions in which flights are under way."""

    def __init__(self, plans: list[list[int]], items: int) -> None:
        self.both = both = Both(STINGY)
        self.readers: list[Reader] = []
        self.handlers: list[Handler] = []
        for plan in plans:
            id, asked = both.stream(VAULT if len(plan) % 2 else FEED)
            self.readers.append(Reader(both.client, id, list(plan)))
            self.handlers.append(Handler(both.server, asked, items))
        self.up: list[bytes] = []
        self.down: list[bytes] = []

    def turn(self) -> None:
        """Everyone does one thing, and says it."""
        for handler in self.handlers:
            handler.step()
        for reader in self.readers:
            reader.step()
        for side, way in ((self.both.client, self.up), (self.both.server, self.down)):
            if (flight := side.output(self.both.now)) is not None:
                way.append(flight)
        self.both.advance(0.005)

    def arrive(self, up: int, down: int) -> None:
        """So many flights arrive."""
        for side, way, count in ((self.both.server, self.up, up), (self.both.client, self.down, down)):
            for flight in way[:count]:
                side.input(flight, self.both.now)
            del way[:count]


@given(
    st.lists(st.lists(st.integers(CANCEL, 3), max_size=30), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=100),
    st.integers(0, 40),
)
def test_streams_on_a_slow_line_end_well(plans: list[list[int]], arrivals: list[tuple[int, int]], items: int) -> None:
    world = World(plans, items)
    for up, down in arrivals:
        world.turn()
        world.arrive(up, down)
    for _ in range(items * 8 + 100):
        world.turn()
        world.arrive(99, 99)
        for reader in world.readers:
            reader.hurry()
    for reader in world.readers:
        (outcome,) = world.both.client.outcomes(reader.id)
        assert isinstance(outcome, Outcome)
        assert reader.words == [str(at) for at in range(len(reader.words))], "in order, without a gap"
        assert reader.cancelled or len(reader.words) == items
    for side in (world.both.client, world.both.server):
        assert side.session._asking.calls.empty
        assert side.session._answering.calls.open == 0
        assert side.session._sender.done
        assert not len(side.session._sender.streams)
