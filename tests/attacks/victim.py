"""A connection under attack, driven as a careful driver would, and watched at every step."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from itertools import cycle
from math import inf
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TypeVar

from ratatoskr.connection import Connection, State
from ratatoskr.errors import Fault
from ratatoskr.events import Closed, Disconnect, Event, Transmit, Wait
from ratatoskr.testing import Clock

E = TypeVar("E")

MAX_POLLS = 50_000
"""More outputs than this between two waits are a loop without end."""


class Victim:
    """Feeds a connection, polls it to Wait after every chunk, and checks what must hold whatever the peer does:

    - no method raises,
    - ``Closed`` comes at most once, and after it only ``Wait(inf)``,
    - no Transmit comes while another is on loan,
    - a Wait lies ahead.
    """

    def __init__(self, connection: Connection, clock: Clock, *, is_client: bool) -> None:
        self.connection = connection
        self.clock = clock
        self.is_client = is_client
        self.events: list[Event] = []
        self.output = bytearray()
        """What was transmitted and not yet read by :meth:`written`."""
        self.disconnects: list[Disconnect] = []
        self.holds_writes = False
        self.wait = Wait(inf, None)
        self._on_loan = False

    @property
    def closed(self) -> Closed | None:
        """The last event, once it has come."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Closed) else None

    def verdict(self) -> tuple[Fault, str] | None:
        """The fault and the rule by which it ended; None while it goes on."""
        closed = self.closed
        return None if closed is None else (closed.fault, closed.rule)

    def seen(self, cls: type[E]) -> list[E]:
        """All events of that class."""
        return [event for event in self.events if isinstance(event, cls)]

    def written(self) -> bytes:
        """What was transmitted since the last call."""
        data = bytes(self.output)
        self.output.clear()
        return data

    def drain(self) -> None:
        """Poll until Wait."""
        for _ in range(MAX_POLLS):
            output = self.connection.poll(self.clock.now)
            if self.closed is not None:
                assert isinstance(output, Wait), f"after Closed came {output}"
                assert output.until == inf
                assert self.connection.state is State.CLOSED
            match output:
                case Wait():
                    assert output.until > self.clock.now.mono, "a Wait for what is due already: drivers would spin"
                    self.wait = output
                    return
                case Transmit(data):
                    assert not self._on_loan, "a Transmit came while another was on loan"
                    assert data
                    self._on_loan = True
                    self.transmit(data)
                    if not self.holds_writes:
                        self.sent()
                case Disconnect():
                    self.disconnects.append(output)
                    self.connection.receive_eof()
                case _:
                    self.observe(output)
        raise AssertionError(f"{MAX_POLLS} outputs without a Wait")

    def transmit(self, data: bytes) -> None:
        """The driver writes."""
        self.output += data

    def observe(self, event: Event) -> None:
        """The application is told."""
        self.events.append(event)

    def sent(self) -> None:
        """The driver has written what it borrowed."""
        self._on_loan = False
        self.connection.sent()

    def feed(self, data: bytes, chunks: Iterable[int] = ()) -> None:
        """Bytes from the peer: at once, or in chunks of these sizes, again and again."""
        for chunk in cut(data, chunks):
            self.connection.receive(chunk)
            self.drain()

    def eof(self) -> None:
        """The peer closes."""
        self.connection.receive_eof()
        self.drain()

    def advance(self, seconds: float) -> None:
        """Let time pass, from deadline to deadline."""
        end = self.clock.now.mono + seconds
        self.drain()
        for _ in range(MAX_POLLS):
            if self.wait.until > end:
                self.clock.advance(max(0.0, end - self.clock.now.mono))
                self.drain()
                return
            self.clock.advance(max(0.0, self.wait.until - self.clock.now.mono))
            self.drain()
        raise AssertionError(f"{MAX_POLLS} deadlines in {seconds} s")

    def finish(self) -> Closed:
        """Whatever happened: the transport ends now, and the connection says how it ended."""
        self.eof()
        closed = self.closed
        assert closed is not None, f"no Closed after the end of the transport; there was {self.events}"
        return closed


def cut(data: bytes, chunks: Iterable[int]) -> Iterator[bytes]:
    """The data in chunks of these sizes, again and again; whole without any."""
    at = 0
    for size in cycle(tuple(chunks) or (len(data) or 1,)):
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size


_FOREIGN = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)


def footprint(root: object) -> int:
    """Bytes of all that hangs on an object, classes, modules and functions left out."""
    seen: set[int] = set()
    stack = [root]
    size = 0
    while stack:
        each = stack.pop()
        if id(each) in seen or isinstance(each, _FOREIGN):
            continue
        seen.add(id(each))
        size += sys.getsizeof(each)
        stack.extend(gc.get_referents(each))
    return size
