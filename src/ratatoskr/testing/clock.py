"""Virtual time and repeatable entropy: a test runs the same way every time, and waits for nothing."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from ratatoskr.timers import Now

START = 1_700_000_000.0
"""Wall time at which a clock starts: 2023-11-14T22:13:20Z."""


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self, mono: float = 0.0, wall: float = START) -> None:
        self._mono = mono
        self._wall = wall

    @property
    def now(self) -> Now:
        """Both readings."""
        return Now(self._mono, self._wall)

    def advance(self, seconds: float) -> None:
        """Let time pass on both."""
        if seconds < 0:
            raise ValueError("monotonic time does not go back; use set_wall() to move the wall clock alone")
        self._mono += seconds
        self._wall += seconds

    def set_wall(self, wall: float) -> None:
        """Move the wall clock alone, as an administrator does."""
        self._wall = wall


def seeded(seed: int | str) -> Callable[[int], bytes]:
    """An entropy that repeats: the same seed gives the same bytes. For tests only."""
    key = sha256(str(seed).encode()).digest()
    counter = 0
    pool = b""

    def draw(size: int) -> bytes:
        nonlocal counter, pool
        while len(pool) < size:
            pool += sha256(key + counter.to_bytes(8, "big")).digest()
            counter += 1
        drawn, pool = pool[:size], pool[size:]
        return drawn

    return draw
