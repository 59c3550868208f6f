"""What a victim says about liveness, and a driver that comes late."""

from __future__ import annotations

from ratatoskr import v1
from ratatoskr.events import Stalled
from ratatoskr.limits import Limits
from tests.attacks.hostile import HostilePeer
from tests.attacks.victim import Victim

EPSILON = 1 / 1024
INTERVAL, TIMEOUT = Limits().heartbeat_interval, Limits().liveness_timeout
LATE = INTERVAL / 2
"""Later than that is a stall."""
PING, GO_AWAY = v1.Control(ping=v1.Ping(token=1)), v1.Control(go_away=v1.GoAway())


def said(peer: HostilePeer) -> list[str | None]:
    """The controls of the victim since the last call."""
    return [control.WhichOneof("control") for flight in peer.hear() for control in flight.controls]


def asked(peer: HostilePeer) -> list[int]:
    """The tokens of the victim's pings since the last call."""
    controls = [control for flight in peer.hear() for control in flight.controls]
    return [control.ping.token for control in controls if control.HasField("ping")]


def pong(peer: HostilePeer, token: int = 1) -> None:
    peer.say(peer.flight(controls=[v1.Control(pong=v1.Pong(token=token))]))


def sleep(victim: Victim, seconds: float) -> list[float]:
    """Nobody polls for so long. Returns the stalls that are told when somebody does."""
    victim.clock.advance(seconds)
    return stalls(victim)


def stalls(victim: Victim) -> list[float]:
    """Poll, and return how late the driver is said to be."""
    before = len(victim.seen(Stalled))
    victim.drain()
    return [stalled.seconds for stalled in victim.seen(Stalled)[before:]]
