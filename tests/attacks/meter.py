"""What an attack costs its victim: the most bytes that it holds, its time, and its work, counted.

A meter measures sections: what runs inside ``with meter:``, and no more, so the attacker's own memory and work do not
count. Each meter measures one thing, because measuring one disturbs the others; an attack is run once under each.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from time import perf_counter_ns
from types import CodeType, FrameType
from typing import Any

import ratatoskr
from ratatoskr.connection import Connection
from ratatoskr.events import Closed, Event
from ratatoskr.testing import Clock
from tests.attacks.victim import Victim, cut

CORE = str(Path(ratatoskr.__file__).parent)


class Meter:
    """Measures nothing but what the attacker spends. Sections may lie within sections; they count once."""

    def __init__(self) -> None:
        self.on = False
        """Whether sections count."""
        self.spent = 0
        """Bytes that the attacker has sent."""
        self._depth = 0

    def start(self) -> None:
        """From now on sections count."""
        self.on = True

    def stop(self) -> None:
        """From now on they do not."""
        self.on = False

    def __enter__(self) -> None:
        self._depth += 1
        if self._depth == 1 and self.on:
            self.begin()

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth and self.on:
            self.end()

    def begin(self) -> None:
        """A section begins."""

    def end(self) -> None:
        """A section ends."""

    def left(self, data: bytes) -> None:
        """What a section has made leaves the victim."""


class BytesMeter(Meter):
    """The most bytes of Python's memory that the victim held at any moment, beyond what it held at the start.

    What it holds from section to section counts, and what leaves it no longer does. Cycles are not collected
    meanwhile, so what would wait for a collector counts too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._held = self._at = 0

    def start(self) -> None:
        gc.collect()
        gc.disable()
        tracemalloc.start()
        super().start()

    def stop(self) -> None:
        super().stop()
        tracemalloc.stop()
        gc.enable()

    def begin(self) -> None:
        tracemalloc.reset_peak()
        self._at, _ = tracemalloc.get_traced_memory()

    def end(self) -> None:
        now, peak = tracemalloc.get_traced_memory()
        self.peak = max(self.peak, self._held + peak - self._at)
        self._held += now - self._at

    def left(self, data: bytes) -> None:
        self.end()
        self._held -= sys.getsizeof(data)
        self.begin()


class TimeMeter(Meter):
    """Nanoseconds. For people: no test asserts anything about them."""

    def __init__(self) -> None:
        super().__init__()
        self.nanoseconds = 0
        self._since = 0

    def begin(self) -> None:
        self._since = perf_counter_ns()

    def end(self) -> None:
        self.nanoseconds += perf_counter_ns() - self._since


class WorkMeter(Meter):
    """Work that is the same in every run: calls that the core makes, of Python and of C; signatures; what parsers took.

    ``parsed`` is the most native memory that Protobuf's parser took for what came in one section, which tracemalloc
    does not see. Where the C library does not tell, it is 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parsed = 0
        self._calls: Counter[CodeType] = Counter()
        self._native: Counter[str] = Counter()
        self._before = self._taken = 0

    @property
    def calls(self) -> int:
        """Calls from the core's code, and of it."""
        return sum(count for code, count in self._calls.items() if code.co_filename.startswith(CORE))

    @property
    def signatures(self) -> int:
        """Signatures that were made."""
        return self._native["sign"]

    @property
    def verifications(self) -> int:
        """Signatures that were verified."""
        return self._native["verify"]

    def begin(self) -> None:
        self._taken = 0
        sys.setprofile(self._profile)

    def end(self) -> None:
        sys.setprofile(None)
        self.parsed = max(self.parsed, self._taken)

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self._calls[frame.f_code] += 1
        elif event == "c_call":
            self._calls[frame.f_code] += 1
            self._native[argument.__name__] += 1
            if argument.__name__ == "FromString":
                self._before = native_bytes()
        elif event == "c_return" and argument.__name__ == "FromString":
            self._taken += max(0, native_bytes() - self._before)


class _Mallinfo(ctypes.Structure):
    """What ``mallinfo2()`` of the GNU C library returns."""

    _names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = tuple((name, ctypes.c_size_t) for name in _names)


_mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
if _mallinfo is not None:
    _mallinfo.restype = _Mallinfo


def native_bytes() -> int:
    """Bytes that ``malloc`` has given out and not got back; 0 where the C library does not tell."""
    if _mallinfo is None:
        return 0
    info = _mallinfo()
    return int(info.uordblks + info.hblkhd)


class MeteredVictim(Victim):
    """A victim that is measured. Its application is told of each event once; none is kept but ``Closed``, the last."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        *,
        is_client: bool,
        meter: Meter,
        application: Callable[[Event], None],
    ) -> None:
        super().__init__(connection, clock, is_client=is_client)
        self.told: Counter[type[Event]] = Counter()
        """Events by class."""
        self._meter = meter
        self._application = application
        self._written: list[bytes] = []

    def feed(self, data: bytes, chunks: Iterable[int] = ()) -> None:
        """As a transport does it: each chunk is memory of its own."""
        for chunk in cut(data, chunks):
            self._meter.spent += len(chunk) if self._meter.on else 0
            with self._meter:
                self.connection.receive(bytes(memoryview(chunk)))
                self.drain()

    def drain(self) -> None:
        with self._meter:
            super().drain()

    def observe(self, event: Event) -> None:
        if isinstance(event, Closed) or not self._meter.on:
            super().observe(event)
        if self._meter.on:
            self.told[type(event)] += 1
            self._application(event)

    def transmit(self, data: bytes) -> None:
        self._written.append(data)
        if self._meter.on:
            self._meter.left(data)

    def written(self) -> bytes:
        data = b"".join(self._written)
        self._written.clear()
        return data
