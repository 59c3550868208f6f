"""What handlers are doing: how far browses have come, and whether anything still works for one that nobody reads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from ratatoskr import Kind
from ratatoskr_sandbox.database import Party
from ratatoskr_sandbox.sandbox_pb2 import Activity, GetActivity

SANDBOX_ACTIVITY: Final = Kind(1000, 2, "SANDBOX_ACTIVITY", GetActivity, Activity)
"""A custom kind: with it a client sees that the handler of a browse which it has left has ended."""
REMEMBERED: Final = 1000
"""Callers whose latest browse is remembered after its end."""


@dataclass(slots=True)
class Progress:
    """How far one browse has come."""

    sent: int = 0
    """Offers that the connection has taken."""
    total: int = 0
    """Offers that it has found."""


@dataclass(slots=True)
class _Caller:
    running: int = 0
    latest: Progress = field(default_factory=Progress)


class Browses:
    """The browses of every caller."""

    def __init__(self) -> None:
        self._callers: OrderedDict[Party, _Caller] = OrderedDict()

    @contextmanager
    def begin(self, party: Party) -> Generator[Progress]:
        """A browse is at work for the time of a block."""
        caller = self._callers.setdefault(party, _Caller())
        self._callers.move_to_end(party)
        caller.running += 1
        caller.latest = Progress()
        try:
            yield caller.latest
        finally:
            caller.running -= 1
            self._forget()

    def activity(self, party: Party) -> Activity:
        """What happens for a caller."""
        caller = self._callers.get(party, _Caller())
        return Activity(
            browses_running=caller.running, latest_sent=caller.latest.sent, latest_total=caller.latest.total
        )

    def _forget(self) -> None:
        """Where there are too many, those who have not browsed for longest."""
        excess = len(self._callers) - REMEMBERED
        if excess > 0:
            idle = [party for party, caller in self._callers.items() if not caller.running]
            for party in idle[:excess]:
                del self._callers[party]
