"""Liveness: any byte proves life; a quiet line is pinged; a silent one is given up.

1. Both deadlines are lazy: a byte moves nothing but the time of the last byte, and a timer that finds that it came too
   early sets itself again.
2. Our own stall is no silence of the peer's. A poll is due when the deadline of the last Wait has come, and at once
   after any other output. One that comes more than half a heartbeat late shows that nobody listened in between (a
   blocked loop, a stopped process, a suspended laptop), whatever it comes for and whatever it finds. That is told once,
   and the peer gets one more heartbeat to be heard.
   So does what it owed meanwhile: the end of a record, a seal, room for a write.
3. What a peer owes ends all the same. A silent one gets that heartbeat :data:`MAX_EXCUSES` times in a row, and each of
   its other deadlines once.
4. A round trip is the time from the flight of a ping to its Pong. One ping is outstanding, the last, and its token
   cannot be guessed: a peer can make a round trip longer, and never shorter. The handshake gives the first, as each of
   its messages answers the one before. What a stall runs into is not measured.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from ratatoskr import v1
from ratatoskr.errors import Fault, ProtocolFault
from ratatoskr.events import Stalled
from ratatoskr.limits import Limits
from ratatoskr.timers import Now, Timer, Timers

MAX_EXCUSES = 3
"""Without it a driver that comes late each time would never give up a dead peer."""


class Liveness:
    """Pings and their answers. ``heard`` is set when bytes came; ``touch`` gives them their time."""

    __slots__ = (
        "_asked_at",
        "_entropy",
        "_excuses",
        "_last_byte",
        "_limits",
        "_ping",
        "_pong",
        "_postponed",
        "_timers",
        "_token",
        "due",
        "heard",
        "patience",
        "round_trip",
    )

    def __init__(self, limits: Limits, timers: Timers, entropy: Callable[[int], bytes]) -> None:
        self._limits = limits
        self._timers = timers
        self._entropy = entropy
        self._last_byte = 0.0
        self._excuses = 0
        self._postponed: dict[Timer, float] = {}
        self._ping = False
        self._pong: int | None = None
        self._token: int | None = None
        """The last ping's."""
        self._asked_at: float | None = None
        """When what is to be answered was said; None when nothing is outstanding."""
        self.heard: bool = False
        self.due: float = inf
        """When the next poll is due, in seconds of the monotonic clock."""
        self.patience: float = limits.heartbeat_interval / 2
        """A poll that comes more than so many seconds late is a stall."""
        self.round_trip: float | None = None
        """The last one that was measured, in seconds."""

    def touch(self, now: float) -> None:
        """The bytes that were heard came by ``now``."""
        self.heard = False
        self._last_byte = now
        self._excuses = 0

    def start(self, now: Now) -> None:
        """The connection is open."""
        self.touch(now.mono)
        self._timers.set(Timer.HEARTBEAT, now.mono + self._limits.heartbeat_interval)
        self._timers.set(Timer.LIVENESS, now.mono + self._limits.liveness_timeout)

    def stall(self, now: float) -> Stalled:
        """The driver came late; rules 2 and 3."""
        excused = now - self._limits.liveness_timeout + self._limits.heartbeat_interval
        if excused > self._last_byte and self._excuses < MAX_EXCUSES:
            self._excuses += 1
            self._last_byte = excused
        self._asked_at = None
        return Stalled(now - self.due)

    def postpone(self, timer: Timer, timers: Timers, now: float) -> None:
        """After a stall: a deadline of the peer's, where it is set, lies a heartbeat ahead, and is moved there once."""
        deadline, ahead = timers.get(timer), now + self._limits.heartbeat_interval
        if deadline < ahead and deadline != self._postponed.get(timer):
            self._postponed[timer] = ahead
            timers.set(timer, ahead)

    def heartbeat(self, now: Now) -> None:
        """HEARTBEAT is due: ping, unless the peer was heard since."""
        quiet_since = self._last_byte
        if quiet_since + self._limits.heartbeat_interval <= now.mono:
            self._ping = True
            quiet_since = now.mono
        self._timers.set(Timer.HEARTBEAT, quiet_since + self._limits.heartbeat_interval)

    def expire(self, now: Now) -> None:
        """LIVENESS is due. Raises ProtocolFault, unless the peer was heard since."""
        deadline = self._last_byte + self._limits.liveness_timeout
        if deadline <= now.mono:
            raise ProtocolFault(Fault.PEER_SILENT, "liveness", f"nothing heard for {self._limits.liveness_timeout} s")
        self._timers.set(Timer.LIVENESS, deadline)

    def receive(self, control: v1.Control, now: Now) -> None:
        """A control came: a ping is answered, once for all that came together; the Pong of ours ends a round trip."""
        which = control.WhichOneof("control")
        if which == "ping":
            self._pong = control.ping.token
        elif which == "pong" and control.pong.token == self._token:
            self.answered(now)

    def ask(self, now: Now) -> None:
        """What goes out now is to be answered; rule 4."""
        self._asked_at = now.mono

    def answered(self, now: Now) -> None:
        """The answer came, or came again."""
        if self._asked_at is not None:
            self.round_trip = now.mono - self._asked_at
            self._asked_at = None

    def controls(self, now: Now) -> list[v1.Control]:
        """What the flight that is built now has to say."""
        due: list[v1.Control] = []
        if self._pong is None and not self._ping:
            return due
        if self._ping:
            self._ping = False
            self._token = int.from_bytes(self._entropy(8), "big")
            self.ask(now)
            due.append(v1.Control(ping=v1.Ping(token=self._token)))
        if self._pong is not None:
            due.append(v1.Control(pong=v1.Pong(token=self._pong)))
            self._pong = None
        return due
