"""A token bucket: so many at once, so many a second."""

from __future__ import annotations


class Bucket:
    """Starts full with ``burst`` tokens and gains ``rate`` a second."""

    __slots__ = ("_burst", "_rate", "_since", "_tokens")

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._since = 0.0

    @classmethod
    def per_minute(cls, count: int) -> Bucket:
        """So many at once, and so many a minute."""
        return cls(count / 60, count)

    def take(self, now: float) -> bool:
        """Take one token at ``now`` (monotonic seconds). False when there is none."""
        tokens = min(self._burst, self._tokens + max(0.0, now - self._since) * self._rate)
        self._since = now
        if tokens < 1:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1
        return True

    @property
    def next_in(self) -> float:
        """Seconds from the last :meth:`take` until there is a token."""
        return max(0.0, 1 - self._tokens) / self._rate
