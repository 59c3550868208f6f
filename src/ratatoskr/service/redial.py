"""Redial: whether a client that has lost its line dials again, and after how long. It decides; it neither sleeps nor
dials.

1. *Only where it may.* What a fault forbids is not done (:attr:`~ratatoskr.Closed.may_reconnect`), and a line that this
   side ended stays ended. Whom the server's goodbye (GOAWAY) sends away may come back, and so may whom it rejects with
   the advice when to.
2. *At once, once.* A line that had been open for ``steady_after`` and is lost without a word is dialled again at once:
   most lines are lost alone, by something between the two ends. Where it is lost sooner the backoff goes on, or a
   server that lets everybody in and fails would be dialled without a pause.
3. *Then once in each window.* Windows follow each other and grow, from ``first_delay`` by ``growth`` to
   ``longest_delay``. A client draws a place when it loses its line, anywhere between the beginning and the end of a
   window, and tries at that place of each. So those that lost their lines in the same moment are spread evenly over
   each window, and come back evenly, whenever the server does. A delay drawn anew for each try (full jitter) would let
   up to twice as many come in one second, and leave some behind for long: who draws little is in a long window early.
4. *Where everybody comes, nobody comes at once.* After a goodbye all clients of that server want in. Their first window
   is ``spread`` long, and the others grow from there. Whoever needs something does not wait for that, and where its
   try fails its windows begin with the shortest: it is not to be punished for having come early.
5. *Advice is a floor.* The window begins where the server's advice ends: those that were refused in one moment must not
   be back in one moment.
6. *Not for ever,* where ``give_up_after`` says so. A try that would begin later after the loss is not waited for.

**The herd.** 1,000 clients lose their lines in the same moment, and each try fails at once until the server is back.
The largest share that any one second held, in 20 runs, and the time from the server's return to a client's:

==================  ============  ========  =========
the server is away  worst second  median    99 of 100
==================  ============  ========  =========
not at all          100.0 %        0.0 s     0.0 s
0.5 s                65.4 %        0.5 s     2.5 s
2 s                  29.2 %        2.0 s     6.8 s
5 s                   9.3 %        8.0 s    15.8 s
10 s                  9.3 %        8.1 s    24.5 s
21 s                  4.3 %       22.6 s    44.6 s
30 s                  4.3 %       22.5 s    44.6 s
60 s                  4.3 %       22.3 s    44.5 s
120 s                 4.3 %       22.5 s    44.6 s
GOAWAY, and 0 s       4.3 %       22.6 s    44.6 s
GOAWAY, and 2 s       4.3 %       22.5 s    44.6 s
GOAWAY, and 30 s      4.3 %       22.4 s    44.5 s
==================  ============  ========  =========

So no second holds more than 5 % of 1,000 clients where the server was away for 21 seconds, when the longest window
begins, or longer; and none after a goodbye, however soon it is back. Where it is back sooner there is a herd. Both
cannot be had: clients that come back evenly over 30 seconds wait for 15, which is too long where most lines are lost
alone, and most servers that fail are back in seconds. About ``n / longest_delay`` of ``n`` clients come back in a
second: more clients want longer windows. With ``spread=10`` half of them are back 5 seconds after a goodbye instead of
23, and 13 % in one second.

Tries that hang come on top: all that are under way succeed in the moment of the return. Where each takes 10 seconds to
fail, that is a quarter of all clients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from ratatoskr.errors import Fault, LocalProtocolError
from ratatoskr.limits import MAX_REQUEST_TIMEOUT

_ENTROPY_BYTES = 4

_RANGES: dict[str, tuple[float, float]] = {
    "first_delay": (0.001, MAX_REQUEST_TIMEOUT),
    "growth": (1, 10),
    "longest_delay": (0.001, MAX_REQUEST_TIMEOUT),
    "spread": (0.001, MAX_REQUEST_TIMEOUT),
    "steady_after": (1, MAX_REQUEST_TIMEOUT),
    "give_up_after": (0.001, inf),
    "session_timeout": (0, MAX_REQUEST_TIMEOUT),
}
"""What works: lines that count as steady sooner than after a second would be dialled at once again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redial:
    """How soon and for how long a client dials again. Times in seconds."""

    first_delay: float = 1.0
    """The first window: the longest time from a lost line, or a first try that failed, to the next try."""
    growth: float = 4.0
    """How much longer each window is than the one before."""
    longest_delay: float = 45.0
    """The longest window, and so the longest time between two tries that the server has not asked for."""
    spread: float = 45.0
    """The first window after the server's goodbye; no longer than ``give_up_after``."""
    steady_after: float = 10.0
    """How long a line must have been open to be dialled again at once, and for all that was before to be forgotten."""
    give_up_after: float = inf
    """After how long without an open line there are no more tries; inf for never."""
    session_timeout: float = 300.0
    """How long this side keeps its session without a line; 0 for not at all. The server may keep it for less."""

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise LocalProtocolError(f"Redial.{name} must be from {least} to {most}")
        if self.first_delay > self.longest_delay:
            raise LocalProtocolError("Redial.first_delay <= Redial.longest_delay must hold")


class Redialing:
    """Decides about the tries of one client. ``entropy(n)`` returns n unpredictable bytes; times are monotonic."""

    __slots__ = ("_begins", "_entropy", "_length", "_lost_at", "_opened_at", "_place", "_policy")

    def __init__(self, policy: Redial, entropy: Callable[[int], bytes]) -> None:
        self._policy = policy
        self._entropy = entropy
        self._opened_at: float | None = None
        self._lost_at: float | None = None
        self._begins = 0.0
        self._length = 0.0
        self._place = 1.0

    def opened(self, now: float) -> None:
        """A line is open."""
        self._opened_at = now

    def hurried(self, now: float) -> None:
        """A try begins before its time, because it is needed."""
        self._begin(now, 0.0)

    def after(self, fault: Fault, now: float, *, going_away: bool = False, advice: float | None = None) -> float | None:
        """After how many seconds the next try begins, which may be 0.0; None where there is none.

        To be asked once for each line that has ended and each try that has failed, ``fault`` says how.
        ``going_away``: whether the server had said goodbye on that line. ``advice``: after how many seconds the server
        wants to see this client again, as the failure of a rejection says.
        """
        asked = min(advice or 0.0, MAX_REQUEST_TIMEOUT)
        if not _may_redial(fault, going_away=going_away, invited=asked > 0):
            return None
        opened_at, self._opened_at = self._opened_at, None
        if opened_at is not None:
            self._lost_at = now
            steady = now - opened_at >= self._policy.steady_after
            self._lost(now, steady=steady, going_away=going_away or fault is Fault.GOING_AWAY)
        elif self._lost_at is None:
            self._lost_at = now
            self._begin(now, self._next())
        else:
            self._failed(now)
        if asked > 0:
            self._begin(now + asked, self._length or self._next())
        delay = self._begins + self._place * self._length - now
        return delay if now + delay <= self._lost_at + self._policy.give_up_after else None

    def _lost(self, now: float, *, steady: bool, going_away: bool) -> None:
        """A line has ended that had been open. Lines that were steady forget what was before them."""
        if steady:
            self._length = 0.0
        if going_away:
            self._begin(now, min(max(self._policy.spread, self._next()), self._policy.give_up_after))
        else:
            self._begin(now, 0.0 if steady else self._next())

    def _failed(self, now: float) -> None:
        """A try has failed: the next one is at the same place of the next window where that is yet to come."""
        while True:
            self._begins += self._length
            longer = self._next()
            if longer == self._length:
                self._begins += longer * max(0, (now - self._begins - self._place * longer) // longer)
            self._length = longer
            if self._begins + self._place * longer > now:
                return

    def _begin(self, at: float, length: float) -> None:
        """A window that begins then, and a place in it, above 0: only an empty window has its try at once."""
        self._begins, self._length = at, length
        self._place = (1 + int.from_bytes(self._entropy(_ENTROPY_BYTES), "big")) / (1 << 8 * _ENTROPY_BYTES)

    def _next(self) -> float:
        """How long the next window is."""
        return min(self._policy.longest_delay, max(self._policy.first_delay, self._length * self._policy.growth))


def _may_redial(fault: Fault, *, going_away: bool, invited: bool) -> bool:
    """Whether a client may dial again by itself after this."""
    if fault is Fault.CLEAN:
        return going_away
    return fault.may_reconnect or (fault is Fault.REJECTED and invited)
