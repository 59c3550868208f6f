"""Liveness: any byte proves life; a quiet line is pinged; a silent one is given up.

1. Both deadlines are lazy: a byte moves nothing but the time of the last byte, and a timer that finds that it came too
   early sets itself again.
2. Our own sleep is no silence of the peer's. A driver that comes with a deadline late by more than half a heartbeat did
   not listen in between (a suspended laptop, a stopped process), so the peer gets one more heartbeat to be heard.
"""

from __future__ import annotations

from ratatoskr import v1
from ratatoskr.errors import Fault, ProtocolFault
from ratatoskr.limits import Limits
from ratatoskr.timers import Now, Timer, Timers


class Liveness:
    """Pings and their answers. ``heard`` is set when bytes came; ``touch`` gives them their time."""

    __slots__ = ("_due", "_last_byte", "_limits", "_ping", "_pings", "_pong", "_timers", "heard")

    def __init__(self, limits: Limits, timers: Timers) -> None:
        self._limits = limits
        self._timers = timers
        self._due: dict[Timer, float] = {}
        self._last_byte = 0.0
        self._ping = False
        self._pings = 0
        self._pong: int | None = None
        self.heard: bool = False

    def touch(self, now: float) -> None:
        """The bytes that were heard came by ``now``."""
        self.heard = False
        self._last_byte = now

    def start(self, now: Now) -> None:
        """The connection is open."""
        self._last_byte = now.mono
        self._set(Timer.HEARTBEAT, now.mono + self._limits.heartbeat_interval)
        self._set(Timer.LIVENESS, now.mono + self._limits.liveness_timeout)

    def heartbeat(self, now: Now) -> None:
        """HEARTBEAT is due: ping, unless the peer was heard since."""
        self._excuse(Timer.HEARTBEAT, now.mono)
        quiet_since = self._last_byte
        if quiet_since + self._limits.heartbeat_interval <= now.mono:
            self._ping = True
            quiet_since = now.mono
        self._set(Timer.HEARTBEAT, quiet_since + self._limits.heartbeat_interval)

    def expire(self, now: Now) -> None:
        """LIVENESS is due. Raises ProtocolFault, unless the peer was heard since."""
        self._excuse(Timer.LIVENESS, now.mono)
        deadline = self._last_byte + self._limits.liveness_timeout
        if deadline <= now.mono:
            raise ProtocolFault(Fault.PEER_SILENT, "liveness", f"nothing heard for {self._limits.liveness_timeout} s")
        self._set(Timer.LIVENESS, deadline)

    def _set(self, timer: Timer, deadline: float) -> None:
        self._due[timer] = deadline
        self._timers.set(timer, deadline)

    def _excuse(self, timer: Timer, now: float) -> None:
        """Rule 2."""
        limits = self._limits
        if now - self._due[timer] > limits.heartbeat_interval / 2:
            self._last_byte = max(self._last_byte, now - limits.liveness_timeout + limits.heartbeat_interval)

    def receive(self, control: v1.Control) -> None:
        """A control came: a ping is answered, once for all that came together."""
        if control.WhichOneof("control") == "ping":
            self._pong = control.ping.token

    def controls(self) -> list[v1.Control]:
        """What to say now."""
        due: list[v1.Control] = []
        if self._pong is None and not self._ping:
            return due
        if self._ping:
            self._ping = False
            self._pings += 1
            due.append(v1.Control(ping=v1.Ping(token=self._pings)))
        if self._pong is not None:
            due.append(v1.Control(pong=v1.Pong(token=self._pong)))
            self._pong = None
        return due
