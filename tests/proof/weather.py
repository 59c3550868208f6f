"""Weather: what becomes of the lines while processes die. One fault after the other, each for a moment."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from tests.proof.proxy import Proxy, Way

LONGEST = 0.2
"""Seconds that a fault holds, at most."""
FINE = 0.2
"""Seconds between two faults, at most."""


class Weather:
    """Faults of a proxy, drawn from a seeded source. ``seen`` counts them."""

    def __init__(self, proxy: Proxy, source: random.Random, seen: Counter[str]) -> None:
        self._proxy = proxy
        self._random = source
        self._faults: tuple[Callable[[], None], ...] = (
            self.latency,
            self.slices,
            self.stall,
            self.stall_both,
            self.reset,
            self.half_close,
            self.cut,
            self.refusal,
        )
        self._seen = seen

    async def last(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(self._random.uniform(0, FINE))
            fault = self._random.choice(self._faults)
            self._seen[fault.__name__] += 1
            fault()
            await asyncio.sleep(self._random.uniform(0, LONGEST))
            self._proxy.clear()

    def _way(self) -> Way:
        return self._random.choice([self._proxy.up, self._proxy.down])

    def latency(self) -> None:
        """A slow line."""
        self._way().latency = self._random.uniform(0.001, 0.05)

    def slices(self) -> None:
        """Bytes come one by one."""
        self._way().slice = 1

    def stall(self) -> None:
        """One side does not hear the other."""
        self._way().stall()

    def stall_both(self) -> None:
        """The line is dead, and nobody is told."""
        self._proxy.up.stall()
        self._proxy.down.stall()

    def reset(self) -> None:
        """All lines end."""
        self._proxy.reset()

    def half_close(self) -> None:
        """One side has ended, as the other one sees it."""
        self._proxy.half_close(self._way())

    def cut(self) -> None:
        """A line ends amid a record."""
        self._way().cut_after(self._random.randint(0, 2000))

    def refusal(self) -> None:
        """All lines end, and no new ones come about."""
        self._proxy.refusing = True
        self._proxy.reset()
