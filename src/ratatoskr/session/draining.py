"""The end of a session, said by both sides.

1. GOAWAY: no new requests from now on, either way. Queued ones fail as surely not processed.
2. DISCONNECT: said once nothing is open either way, nothing unacknowledged, nothing undelivered. Afterwards only acks.
3. Who said GOAWAY first waits with DISCONNECT until the peer has said either: a request that crossed the GOAWAY must
   still be answered.
4. When both have said DISCONNECT the session is over, and an end of the transport is clean.
"""

from __future__ import annotations

from ratatoskr import v1


class Draining:
    """Who has said what."""

    __slots__ = ("announced", "began", "disconnect_received", "disconnect_sent", "go_away_due", "heard", "reason")

    def __init__(self) -> None:
        self.announced: bool = False
        """Whether either side announced the end: no new requests."""
        self.began: bool = False
        """Whether this side announced it first."""
        self.go_away_due: bool = False
        """Whether this side still has to say GOAWAY."""
        self.heard: bool = False
        """Whether the peer has said that it makes no new requests."""
        self.reason: str = ""
        self.disconnect_sent: bool = False
        self.disconnect_received: bool = False

    def begin(self, reason: str) -> None:
        """This side wants to end."""
        if not self.announced:
            self.announced = True
            self.began = self.go_away_due = True
            self.reason = reason

    def go_away_received(self) -> bool:
        """The peer wants to end. True the first time that either side wants it."""
        first = not self.announced
        self.announced = self.heard = True
        return first

    def controls(self, quiet: bool) -> list[v1.Control]:
        """What to say now; ``quiet`` is whether the session has nothing left to do."""
        due = []
        if self.go_away_due:
            self.go_away_due = False
            due.append(v1.Control(go_away=v1.GoAway(reason=self.reason)))
        if quiet and self.heard and not self.disconnect_sent:
            self.disconnect_sent = True
            due.append(v1.Control(disconnect=v1.Disconnect()))
        return due

    def restate(self) -> None:
        """What this side has said may be lost with its transport: say it again."""
        self.go_away_due = self.go_away_due or self.began
        self.disconnect_sent = False

    @property
    def over(self) -> bool:
        """Whether both sides have said DISCONNECT."""
        return self.disconnect_sent and self.disconnect_received
