"""The state of a connection, and what follows from it: its deadline, and which records may come, how long."""

from __future__ import annotations

from ratatoskr.connection.client import ClientSide
from ratatoskr.connection.server import ServerSide
from ratatoskr.connection.states import DEADLINES, RECORD_INPUTS, TRANSITIONS, Input, State
from ratatoskr.limits import Limits
from ratatoskr.timers import Now, Timer, Timers

ANSWER_BYTES = 16 * 1024
"""Longest CONNECTION_RESPONSE record that a client reads."""
ALERT_BYTES = 6


class Machine:
    """Moves along the table of transitions."""

    __slots__ = ("_side", "_timers", "allowed", "limits", "state")

    def __init__(self, side: ClientSide | ServerSide, limits: Limits, timers: Timers) -> None:
        self._side = side
        self._timers = timers
        self.limits: Limits = limits
        """This side's limits, and the negotiated ones once it is open."""
        self.state = State.READY if isinstance(side, ClientSide) else State.LISTENING
        self.allowed: dict[int, int] = {}
        """The longest body of each record that may come now, in bytes, by type."""

    def start(self, now: Now) -> None:
        """The connection's first moment: the first deadline begins."""
        if self.state is State.READY:
            self.move(Input.START, now)
        else:
            self._enter(now)

    def move(self, input: Input, now: Now) -> None:
        """Take the transition. A deadline that the next state shares runs on; another one begins anew."""
        before = self.state
        self.state = after = TRANSITIONS[before, input]
        if before in DEADLINES and DEADLINES[before] is not DEADLINES.get(after):
            self._timers.stop(DEADLINES[before])
        self._enter(now)

    def open(self, limits: Limits) -> None:
        """The negotiated limits hold from now on."""
        self.limits = limits
        self._allow()

    def replaced(self) -> None:
        """Another connection has taken the session over. The last state has no deadline, so this takes no time."""
        self.state = TRANSITIONS[self.state, Input.REPLACED]
        self._allow()

    def _enter(self, now: Now) -> None:
        limits, state = self.limits, self.state
        seconds = {
            Timer.HANDSHAKE: limits.handshake_timeout,
            Timer.ACCEPT: self._side.decision_seconds,
            Timer.DRAIN: limits.drain_timeout,
            Timer.CLOSE: limits.close_timeout,
        }
        timer = DEADLINES.get(state)
        if timer in seconds and timer not in self._timers:
            self._timers.set(timer, now.mono + seconds[timer])
        self._allow()

    def _allow(self) -> None:
        state = self.state
        self.allowed = {
            type: self._longest(input) for type, input in RECORD_INPUTS.items() if (state, input) in TRANSITIONS
        }

    def _longest(self, input: Input) -> int:
        match input:
            case Input.DATA:
                return self._side.limits.record_bytes
            case Input.M1 if isinstance(self._side, ServerSide):
                return self._side.m1_limit
            case Input.M3 if isinstance(self._side, ServerSide):
                return self._side.m3_limit
            case Input.RESPONSE:
                return ANSWER_BYTES
            case Input.ALERT:
                return ALERT_BYTES
            case _:
                return self.limits.handshake_bytes
