"""Slow readers, and streams that keep no rule: credit without end, acks that never come, items that nobody wants."""

from __future__ import annotations

from typing import Any

from ratatoskr import v1
from ratatoskr.errors import WouldBlock
from ratatoskr.events import Event, ItemReceived, RequestId, RequestReceived, Writable
from ratatoskr.limits import MAX_CREDIT, Limits
from tests.attacks.floods.attack import SHORT, Scene, attack
from tests.attacks.floods.controls import PING
from tests.unit.messages.support import FEED, custom, envelope, item

ASK = envelope(custom(3, b""))
ITEM = v1.GoAway(reason="x" * 2000)


# The victim answers


def backlog(scale: int) -> Limits:
    return Limits(
        **SHORT,
        requests_open=16,
        item_bytes_queued=32_000 * scale,
        outbox_messages=64 * scale,
        outbox_bytes=64_000 * scale,
    )


QUEUED = "COPIES * record_bytes + item_bytes_queued + requests_open * OBJECT"
UNACKED = QUEUED + " + outbox_bytes + envelope_bytes + outbox_messages * OBJECT"


def stream(scene: Scene, item: v1.GoAway = ITEM) -> None:
    """The application answers each request with items without end, as fast as it is let."""

    def write(id: RequestId) -> None:
        try:
            for _ in range(150 * scene.scale):
                scene.connection.respond(id, item, last=False)
        except WouldBlock:
            pass

    def handle(event: Event) -> None:
        match event:
            case RequestReceived() | Writable():
                assert event.id is not None
                write(event.id)

    scene.on_event = handle


def hops(count: int) -> list[v1.Hop]:
    return [v1.Hop(index=at, credit=MAX_CREDIT, timeout_ms=600_000) for at in range(count)]


def stay(scene: Scene, rounds: int, **fields: Any) -> None:
    """Show life, and nothing else."""
    for _ in scene.rounds(rounds):
        scene.say(controls=[PING], **fields)
        scene.victim.advance(2.0)
    scene.hear()


def in_outbox(scene: Scene) -> None:
    scene.claim("messages", scene.heard["message"], scene.limits.outbox_messages)
    scene.claim("bytes", scene.heard["byte"], scene.limits.outbox_bytes + scene.limits.envelope_bytes)


@attack("credit without end, no acks", ends=None, holds=UNACKED, limits=backlog)
def unacknowledged(scene: Scene) -> None:
    stream(scene)
    scene.say(ASK, sealed=True, hops=hops(1), ack=0)
    stay(scene, 20, ack=0)
    in_outbox(scene)


@attack("credit without end, no acks, short", ends=None, holds=UNACKED, limits=backlog)
def unacknowledged_short(scene: Scene) -> None:
    stream(scene, v1.GoAway())
    scene.say(ASK, sealed=True, hops=hops(1), ack=0)
    stay(scene, 20, ack=0)
    in_outbox(scene)


@attack("credit without end to many, no acks", ends=None, holds=UNACKED, limits=backlog)
def unacknowledged_many(scene: Scene) -> None:
    stream(scene)
    scene.say(*[ASK] * 16, sealed=True, hops=hops(16), ack=0)
    stay(scene, 20, ack=0)
    in_outbox(scene)


@attack("credit without end, nothing read", ends="timer.write", holds=QUEUED, limits=backlog)
def unread(scene: Scene) -> None:
    stream(scene)
    scene.victim.holds_writes = True
    scene.say(ASK, sealed=True, hops=hops(1), ack=0)
    stay(scene, 20, ack=0)


@attack(
    "no credit",
    ends=None,
    holds="COPIES * record_bytes + DEFAULT_CREDIT * envelope_bytes + requests_open * OBJECT",
    limits=backlog,
)
def no_credit(scene: Scene) -> None:
    stream(scene)
    scene.say(ASK, sealed=True, hops=[v1.Hop(timeout_ms=600_000)])
    stay(scene, 20 * scene.scale)
    scene.claim("items", scene.heard["message"], 16)


# The victim asks


def ahead(scale: int) -> Limits:
    return Limits(**SHORT, stream_credit_ahead=32 * scale)


HELD = "COPIES * record_bytes"


def send(scene: Scene) -> None:
    """Items, twice as many as were asked for."""
    for at in scene.rounds(2 * scene.limits.stream_credit_ahead):
        asked = scene.place()
        scene.say(envelope(item(at, **asked, payload=ITEM.SerializeToString())), sealed=at % 16 == 15)


@attack("items beyond the credit", ends="stream.credit", holds=HELD, limits=ahead)
def unasked(scene: Scene) -> None:
    scene.ask(FEED, v1.GoAway(), credit=scene.limits.stream_credit_ahead)
    send(scene)
    scene.claim("items", scene.victim.told[ItemReceived], scene.limits.stream_credit_ahead)


@attack("items for a call given up", ends="stream.credit", holds=HELD, limits=ahead)
def given_up(scene: Scene) -> None:
    scene.ask(FEED, v1.GoAway(), credit=scene.limits.stream_credit_ahead, timeout=1.0)
    scene.victim.advance(2.0)
    send(scene)
    scene.claim("items", scene.victim.told[ItemReceived], 0)


@attack("items for a call cancelled", ends="stream.credit", holds=HELD, limits=ahead)
def cancelled(scene: Scene) -> None:
    scene.connection.cancel(scene.ask(FEED, v1.GoAway(), credit=scene.limits.stream_credit_ahead))
    scene.victim.drain()
    send(scene)
    scene.claim("items", scene.victim.told[ItemReceived], 0)


# Spans


def spans(scale: int) -> Limits:
    return Limits(**SHORT, requests_open=1024, span_messages=64 * scale, flight_messages=16)


SPAN = "COPIES * record_bytes + span_messages * OBJECT"


@attack("a span without a seal", ends="span.length", holds=SPAN, limits=spans)
def unsealed(scene: Scene) -> None:
    for _ in scene.rounds(2 * scene.limits.span_messages):
        scene.say(envelope(custom(2, b"")))


@attack("a message without a seal", ends="span.time", holds=SPAN, limits=spans)
def never_sealed(scene: Scene) -> None:
    scene.say(envelope(custom(2, b"")), hops=[v1.Hop(timeout_ms=600_000)])
    for _ in scene.rounds(70 * scene.scale):
        scene.say(controls=[PING])
        scene.victim.advance(1.0 / scene.scale)
