"""Schedule: which lane's turn it is. It decides; it neither sleeps nor sends.

Of each lane only the first post is ever picked, so a lane keeps its order however long its first post takes. Lanes go
in the order of their first posts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import NamedTuple

from ratatoskr.limits import MAX_REQUEST_TIMEOUT
from ratatoskr.service.outbox.policy import OutboxPolicy
from ratatoskr.service.outbox.store import Head

_ENTROPY_BYTES = 4
_DOUBLINGS = 32


class _Pause(NamedTuple):
    until: float
    advised: float
    """Not before then, where the peer is asked."""
    attempts: int


class Schedule:
    """``entropy(n)`` returns n unpredictable bytes. Times are of the monotonic clock, in seconds."""

    def __init__(self, policy: OutboxPolicy, entropy: Callable[[int], bytes]) -> None:
        self._policy = policy
        self._entropy = entropy
        self._pauses: dict[int, _Pause] = {}
        self._busy: set[int] = set()

    @property
    def busy(self) -> frozenset[int]:
        """Posts that are being sent."""
        return frozenset(self._busy)

    def pick(self, heads: Sequence[Head], now: float) -> list[Head]:
        """What to send now, of the first posts of all lanes. Each is busy until :meth:`finish`."""
        self._pauses = {head.id: self._pauses[head.id] for head in heads if head.id in self._pauses}
        due = [head for head in heads if head.id not in self._busy and self._due(head.id) <= now]
        picked = due[: self._policy.lanes - len(self._busy)]
        self._busy.update(head.id for head in picked)
        return picked

    def finish(self, id: int) -> None:
        """It is settled, or nothing is left of it."""
        self._busy.discard(id)
        self._pauses.pop(id, None)

    def postpone(self, id: int, now: float, advice: float | None) -> None:
        """An attempt has ended, and another one is to be made; not before so many seconds, where the peer says so.

        Delays double, drawn between a half and all of that, so that not everybody comes back together. The advice of
        the peer is a floor.
        """
        self._busy.discard(id)
        attempts = self._pauses[id].attempts if id in self._pauses else 0
        policy = self._policy
        longest = min(policy.longest_delay, policy.first_delay * 2.0 ** min(attempts, _DOUBLINGS))
        advised = now + min(max(0.0, advice or 0.0), MAX_REQUEST_TIMEOUT)
        self._pauses[id] = _Pause(advised + longest * (0.5 + self._random() / 2), advised, attempts + 1)

    def hurry(self) -> None:
        """What waits for its next attempt need not wait any longer than the peer has asked for, and begins anew."""
        self._pauses = {id: _Pause(pause.advised, pause.advised, 0) for id, pause in self._pauses.items()}

    def next_in(self, now: float) -> float:
        """Seconds until the next post is due again; infinity where none waits for that, or no more can be sent."""
        if len(self._busy) >= self._policy.lanes:
            return inf
        return min((pause.until for id, pause in self._pauses.items() if id not in self._busy), default=inf) - now

    def _due(self, id: int) -> float:
        pause = self._pauses.get(id)
        return pause.until if pause else -inf

    def _random(self) -> float:
        """From 0 to below 1."""
        return int.from_bytes(self._entropy(_ENTROPY_BYTES), "big") / (1 << 8 * _ENTROPY_BYTES)
