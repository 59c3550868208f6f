"""Floods of controls, of flights that bring nothing, and of silence."""

from __future__ import annotations

from ratatoskr import v1
from ratatoskr.events import GoingAway
from ratatoskr.limits import Limits
from ratatoskr.messages.standard import MARKETPLACE_SEARCH
from tests.attacks.floods.attack import SHORT, Scene, attack
from tests.unit.messages.support import custom, envelope, field, search

PING = v1.Control(ping=v1.Ping(token=1))
SEARCH = envelope(search())
FEED = envelope(custom(3, b""))
HELD = "COPIES * record_bytes"


def bursts(scale: int) -> Limits:
    return Limits(**SHORT, control_burst=20 * scale, drain_timeout=10.0)


def flood(scene: Scene, *controls: v1.Control, sealed: bool = False) -> None:
    """One flight of these after the other."""
    for _ in scene.rounds(3 * scene.limits.control_burst):
        scene.say(controls=controls, sealed=sealed)


def pongs(scene: Scene) -> None:
    """No more answers than flights that asked."""
    scene.hear()
    scene.claim("pongs", scene.heard["pong"], scene.flights)


@attack("pings, one a flight", ends="controls.rate", holds=HELD, limits=bursts)
def pings(scene: Scene) -> None:
    flood(scene, PING)


@attack("pings, full flights", ends="controls.rate", holds=HELD, limits=bursts)
def full_flights(scene: Scene) -> None:
    flood(scene, *[PING] * scene.limits.controls)
    pongs(scene)


@attack("pings, as fast as is allowed", ends=None, holds=HELD, limits=bursts)
def pings_in_time(scene: Scene) -> None:
    for _ in scene.rounds(15 * scene.scale):
        scene.say(controls=[PING] * 10)
        scene.victim.advance(1.0)
    pongs(scene)


@attack("pings, nothing read", ends="timer.write", holds=HELD, limits=bursts)
def pings_unread(scene: Scene) -> None:
    scene.victim.holds_writes = True
    for _ in scene.rounds(80 * scene.scale):
        scene.say(controls=[PING], ack=0)
        scene.victim.advance(0.5 / scene.scale)


@attack("flights of nothing", ends="controls.rate", holds=HELD, limits=bursts)
def nothing(scene: Scene) -> None:
    flood(scene)


@attack("flights of unknown fields", ends="controls.rate", holds=HELD, limits=bursts)
def padding(scene: Scene) -> None:
    flight = v1.Flight(first_number=1).SerializeToString() + field(99, bytes(3000))
    for _ in scene.rounds(3 * scene.limits.control_burst):
        scene.peer.say(flight)


@attack("seals over nothing", ends="controls.rate", holds=HELD, limits=bursts)
def seals(scene: Scene) -> None:
    flood(scene, sealed=True)


@attack("controls of no kind", ends="controls.rate", holds=HELD, limits=bursts)
def no_kind(scene: Scene) -> None:
    flood(scene, v1.Control())


@attack("grants that raise nothing", ends="controls.rate", holds=HELD, limits=bursts)
def empty_grants(scene: Scene) -> None:
    scene.say(FEED)
    flood(scene, v1.Control(grant=v1.Grant(request_number=1, items=16)))


@attack("grants of one more, none used", ends="controls.rate", holds=HELD, limits=bursts)
def small_grants(scene: Scene) -> None:
    scene.say(FEED)
    for at in scene.rounds(3 * scene.limits.control_burst):
        scene.say(controls=[v1.Control(grant=v1.Grant(request_number=1, items=17 + at))])


@attack("GOAWAY again and again", ends="controls.rate", holds=HELD, limits=bursts)
def go_away(scene: Scene) -> None:
    scene.ask(MARKETPLACE_SEARCH, v1.Search())
    flood(scene, v1.Control(go_away=v1.GoAway(reason="x" * 200)))
    scene.claim("told", scene.victim.told[GoingAway], 1)


@attack("DISCONNECT again and again", ends="controls.rate", holds=HELD, limits=bursts)
def disconnect(scene: Scene) -> None:
    scene.ask(MARKETPLACE_SEARCH, v1.Search())
    flood(scene, v1.Control(disconnect=v1.Disconnect(reason="x" * 200)))


@attack("GOAWAY, then requests", ends="timer.drain", holds=HELD, limits=bursts)
def requests_after_go_away(scene: Scene) -> None:
    scene.ask(MARKETPLACE_SEARCH, v1.Search())
    scene.say(controls=[v1.Control(go_away=v1.GoAway())])
    for _ in scene.rounds(12 * scene.scale):
        scene.say(SEARCH, sealed=True)
        scene.victim.advance(1.0 / scene.scale)
    scene.claim("handlers", scene.handlers_most, 0)


@attack("silence", ends="liveness", holds=HELD, limits=bursts)
def silence(scene: Scene) -> None:
    scene.say(controls=[PING])
    scene.victim.advance(scene.limits.liveness_timeout)


@attack("a last word that is never read", ends="controls.rate", holds=HELD, limits=bursts)
def last_word(scene: Scene) -> None:
    """The victim has ended it and waits to say so."""
    scene.victim.holds_writes = True
    for _ in scene.rounds(3 * scene.limits.control_burst):
        scene.say(controls=[PING], ack=0)
    scene.victim.advance(scene.limits.close_timeout)
    scene.require(any(each.abort for each in scene.victim.disconnects), "the transport is cut")
