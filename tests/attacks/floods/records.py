"""Slow writers: records that do not end, or end late, or are too long."""

from __future__ import annotations

from ratatoskr import v1
from ratatoskr.channel import RecordType
from ratatoskr.limits import Limits
from tests.attacks.floods.attack import Scene, attack, header
from tests.unit.messages.support import custom, envelope, search

RECORD = "COPIES * record_bytes"
NOTHING = "4 * OBJECT"


def records(scale: int) -> Limits:
    return Limits(record_bytes=8192 * scale, envelope_bytes=7168 * scale)


def longest(scene: Scene) -> bytes:
    """An envelope almost as long as the limit."""
    return envelope(custom(2, v1.GoAway(reason="x" * (scene.limits.envelope_bytes - 100)).SerializeToString()))


@attack("a record, whole", ends=None, holds=RECORD, limits=records)
def whole(scene: Scene) -> None:
    scene.say(longest(scene))
    scene.require(scene.handlers_most == 1, "it arrives")


@attack("a record, byte by byte", ends=None, holds=RECORD, limits=records)
def byte_by_byte(scene: Scene) -> None:
    payload = v1.GoAway(reason="x" * 300 * scene.scale)
    scene.victim.feed(scene.record(envelope(custom(2, payload.SerializeToString()))), [1])
    scene.require(scene.handlers_most == 1, "it arrives")


@attack("a header, and no more", ends="timer.record", holds=NOTHING, limits=records)
def header_alone(scene: Scene) -> None:
    scene.victim.feed(header(RecordType.DATA, scene.limits.record_bytes))
    scene.victim.advance(scene.limits.record_timeout)


@attack("a record but its last byte", ends="timer.record", holds=RECORD, limits=records)
def all_but_one(scene: Scene) -> None:
    scene.victim.feed(scene.record(longest(scene))[:-1], [512])
    scene.victim.advance(scene.limits.record_timeout)


@attack("a byte every 29 seconds", ends="timer.record", holds=NOTHING, limits=records)
def now_and_then(scene: Scene) -> None:
    record = header(RecordType.DATA, scene.limits.record_bytes)
    for at in scene.rounds(len(record)):
        scene.victim.feed(record[at : at + 1])
        scene.victim.advance(29.0)


@attack("a record one byte too long", ends="record.length", holds=NOTHING, limits=records)
def too_long(scene: Scene) -> None:
    scene.victim.feed(header(RecordType.DATA, scene.limits.record_bytes + 1))
    scene.victim.feed(bytes(scene.limits.record_bytes), [512])


@attack("an envelope one byte too long", ends="envelope.length", holds=RECORD, limits=records)
def long_envelope(scene: Scene) -> None:
    padded = longest(scene)
    missing = scene.limits.envelope_bytes + 1 - len(padded)
    payload = v1.GoAway(reason="x" * (scene.limits.envelope_bytes - 100 + missing))
    scene.say(envelope(custom(2, payload.SerializeToString())))


@attack("a new key with every record", ends=None, holds=RECORD + " + requests_open * OBJECT", limits=records)
def rekeying(scene: Scene) -> None:
    for _ in scene.rounds(20 * scene.scale):
        flight = scene.peer.flight(envelope(search()), sealed=False)
        scene.victim.feed(scene.peer.record(flight.SerializeToString(), RecordType.DATA_REKEY))
    scene.require(scene.handlers_most == 20 * scene.scale, "they arrive")
