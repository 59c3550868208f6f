"""Charges: what a peer may make us do for nothing.

1. Every control, and every flight that brings nothing, takes from one bucket.
2. A Grant is free, once for each item that was sent: who consumes may say so. It may cross the end of its stream, so
   it is not asked whether it raises anything.
3. Cancels have a bucket of their own, because each may throw away work that was begun.
4. So have requests that break a rule: an error costs us a signature, and its sender next to nothing.
5. Over a new transport a peer may say again what may be lost: one Grant for each open call, and as much as NEWS beside.
   That cost it a handshake.
"""

from __future__ import annotations

from ratatoskr.errors import Fault, ProtocolFault
from ratatoskr.limits import Limits
from ratatoskr.session.bucket import Bucket

NEWS = 3
"""An acknowledgement, GOAWAY, DISCONNECT."""


class Charges:
    """The buckets of one session. Each method raises ProtocolFault where its bucket is empty."""

    __slots__ = ("_cancels", "_controls", "_errors", "_free_controls", "_free_grants", "_limits", "_most_free")

    def __init__(self, limits: Limits) -> None:
        self.bind(limits)

    def bind(self, limits: Limits) -> None:
        """The limits were negotiated."""
        self._limits = limits
        self._controls = Bucket(limits.control_rate, limits.control_burst)
        self._cancels = Bucket.per_minute(limits.cancels_per_minute)
        self._errors = Bucket.per_minute(limits.errors_per_minute)
        self._free_controls = 0
        self._free_grants = 0
        # So many come at most from a peer that grants at most once an item: for items on their way, one more a stream,
        # and one again.
        self._most_free = limits.outbox_messages + 2 * limits.requests_open

    def control(self, now: float) -> None:
        """A control, or a flight that brought nothing."""
        if self._free_controls:
            self._free_controls -= 1
        elif not self._controls.take(now):
            raise _exceeded("controls.rate", f"more than {self._limits.control_rate} controls a second")

    def cancel(self, now: float) -> None:
        """A request was cancelled."""
        if not self._cancels.take(now):
            raise _exceeded("cancels.rate", f"more than {self._limits.cancels_per_minute} cancels a minute")

    def error(self, now: float) -> None:
        """A request broke a rule."""
        if not self._errors.take(now):
            raise _exceeded("errors.rate", f"more than {self._limits.errors_per_minute} invalid requests a minute")

    def grant(self, now: float) -> None:
        """A credit was granted."""
        if self._free_grants:
            self._free_grants -= 1
        else:
            self.control(now)

    def resumed(self, streams: int) -> None:
        """There is a new transport; rule 5."""
        self._free_controls = NEWS
        self._free_grants = min(self._most_free, self._free_grants + streams)

    def items_sent(self, count: int) -> None:
        """The peer may grant as often for them."""
        self._free_grants = min(self._most_free, self._free_grants + count)


def _exceeded(rule: str, detail: str) -> ProtocolFault:
    return ProtocolFault(Fault.LIMIT_EXCEEDED, rule, detail)
