"""A connection that a test drives by hand: each poll, each byte, each write that ends late.

A :class:`~ratatoskr.testing.Pair` does at once all that can be done. Here everything waits until it is told to happen,
so that anything may happen in between. What every poll must keep is asserted on the way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import inf

from ratatoskr.connection import Connection, State
from ratatoskr.events import Closed, Disconnect, Event, Stalled, Transmit, Wait
from ratatoskr.limits import Limits
from ratatoskr.testing.clock import Clock
from ratatoskr.timers import Now, Timer
from tests.scenarios.core.bounds import check_bounds

LIMITS = Limits()
"""Times that no test changes."""
PATIENCE = LIMITS.heartbeat_interval / 2
"""A poll that comes more than so many seconds late is a stall."""
MAX_POLLS = 10_000
"""More is a loop without end."""


class Wire:
    """One direction: bytes that were written and have not come."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        """Whether nothing more is written."""
        self.told = False
        """Whether the reader knows that."""
        self.lost = False
        """Whether what is written disappears, as behind a dead router."""

    def write(self, data: bytes | bytearray) -> None:
        if not (self.ended or self.lost):
            self.data += data

    def end(self) -> None:
        self.ended = self.ended or not self.lost

    def cut(self, keep: int) -> None:
        """The line breaks: no more than so many bytes will come."""
        del self.data[keep:]
        self.ended = True

    @property
    def moves(self) -> bool:
        """Whether something is to be delivered."""
        return bool(self.data) or (self.ended and not self.told)


class Driver(ABC):
    """One end of a line, without its application."""

    peer: Driver

    def __init__(self, name: str, connection: Connection, clock: Clock) -> None:
        self.name = name
        self.connection = connection
        self.clock = clock
        self.wire = Wire()
        """What this end writes."""
        self.loan: bytearray | None = None
        """What is left of a write that is under way."""
        self.lent_at = 0.0
        self.blocks = False
        """Whether writes stay under way until :meth:`write`."""
        self.waits_until = -inf
        self.chunk: int | None = None
        """How many bytes :func:`flow` delivers at once; None for all."""
        self.due = inf
        """When the next poll is due: one that comes much later is a stall."""
        self.stalls = 0
        """Stalls that it is yet to be told of."""
        self.excused = 0.0
        """Seconds that a deadline of the peer's may have been moved because of them."""
        self.came: Now | None = None
        """When the first bytes came since the last Wait."""
        self.closed: Closed | None = None

    @property
    def incoming(self) -> Wire:
        """What comes to this end."""
        return self.peer.wire

    @abstractmethod
    def on_event(self, event: Event) -> None:
        """The application takes an event."""

    @abstractmethod
    def on_poll(self) -> None:
        """Time was told."""

    @abstractmethod
    def on_wait(self) -> None:
        """Everything that was to be done by now is done."""

    def poll(self) -> bool:
        """One output. False where it is Wait."""
        self.on_poll()
        now = self.clock.now
        late = now.mono - self.due
        if late > PATIENCE and self.connection.state in (State.OPEN, State.DRAINING):
            self.stalls += 1
        self.due = now.mono
        output = self.connection.poll(now)
        self.check_bounds()
        match output:
            case Wait():
                self._wait(output)
                return False
            case Stalled():
                assert output.seconds > PATIENCE
                self.stalls -= 1
                self.excused += output.seconds + LIMITS.heartbeat_interval
            case Transmit():
                assert self.loan is None, "one write at a time"
                assert output.data
                self.loan, self.lent_at = bytearray(output.data), now.mono
                if not self.blocks:
                    self.write()
            case Disconnect():
                assert output.abort or self.loan is None, "what is written goes out first"
                self._hang_up()
            case _:
                assert self.closed is None, f"{output} after Closed"
                if isinstance(output, Closed):
                    assert not self.connection._reader.unread, "what came before the end is read"
                    self.closed = output
                self.on_event(output)
        return True

    def check_bounds(self) -> None:
        """What is held is within its limits."""
        check_bounds(self.connection._session, ended=self.connection.state in (State.CLOSING, State.CLOSED))

    def polls(self, most: int = MAX_POLLS) -> bool:
        """Outputs until Wait, at most so many. Whether there were any."""
        for at in range(most):
            if not self.poll():
                return at > 0
        assert most < MAX_POLLS, "poll does not come to Wait"
        return True

    def write(self, size: int | None = None) -> None:
        """So many bytes of the write under way go out; all of them, and it is reported, by default."""
        if self.loan is None:
            return
        part = self.loan[:size]
        del self.loan[:size]
        self.wire.write(part)
        if size is None:
            self.loan = None
            self.connection.sent()

    def deliver(self, size: int | None = None) -> bool:
        """So many bytes come to this end, or the end of the line behind them. Whether there was anything."""
        wire = self.incoming
        if not wire.moves:
            return False
        if wire.data:
            part = bytes(wire.data[:size])
            del wire.data[:size]
            self.came = self.came or self.clock.now
            self.connection.receive(part)
        else:
            wire.told = True
            self.connection.receive_eof()
            self.wire.end()
        return True

    def _hang_up(self) -> None:
        """Close the line: what was written still arrives at the other end, and nothing more comes here."""
        self.wire.end()
        self.loan = None
        incoming = self.incoming
        incoming.data.clear()
        incoming.ended = incoming.told = True
        self.connection.receive_eof()

    def _wait(self, wait: Wait) -> None:
        now, state = self.clock.now, self.connection.state
        assert state is not State.READY
        assert wait.until > now.mono, "a Wait lies ahead"
        assert self.connection._reader.buffered <= LIMITS.handshake_bytes, "less than a record is held"
        if state is State.CLOSED:
            assert self.closed is not None, "between CLOSED and Closed there is no Wait"
            assert (wait.until, wait.timer) == (inf, None)
        else:
            assert wait.until < inf, f"{state} has no deadline"
            stalled = self.loan is not None and now.mono > self.lent_at + LIMITS.write_timeout + self.excused
            assert not stalled or state is State.CLOSING, "a write does not end"
        again = self.connection.poll(now)
        assert isinstance(again, Wait), f"after a Wait, at the same moment: {again}"
        assert again.until == wait.until
        assert not self.stalls
        self.waits_until = self.due = wait.until
        self.came = None
        self.on_wait()


def flow(one: Driver, other: Driver, *, writes: bool = True) -> None:
    """Let everything happen that happens now. Without ``writes``, those that are under way do not end."""
    for _ in range(MAX_POLLS):
        moved = False
        for end in (one, other):
            if writes:
                end.blocks = False
                end.write()
            while end.deliver(end.chunk):
                moved = True
                end.polls()
            moved = end.polls() or moved
        if not moved:
            return
    raise AssertionError("the ends do not come to rest")


def run(one: Driver, other: Driver, seconds: float, *, writes: bool = True) -> None:
    """Let everything happen that happens within so many seconds."""
    clock = one.clock
    end = clock.now.mono + seconds
    for _ in range(MAX_POLLS):
        flow(one, other, writes=writes)
        ahead = min(one.waits_until, other.waits_until)
        if ahead > end:
            clock.advance(max(0.0, end - clock.now.mono))
            flow(one, other, writes=writes)
            return
        clock.advance(max(0.0, ahead - clock.now.mono))
    raise AssertionError("the ends do not come to rest")


def rest(one: Driver, other: Driver) -> None:
    """Go on until all is acknowledged and sealed, which takes a moment after the last event."""
    run(one, other, 1.0)
    for _ in range(5):
        timers = [end.connection._session.timers for end in (one, other)]
        if not any(timer in each for each in timers for timer in (Timer.ACK, Timer.SEAL)):
            return
        run(one, other, 0.3)
    raise AssertionError("acks and seals are due and do not go out")
