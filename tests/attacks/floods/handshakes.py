"""Connections that never open: half-open ones, silence, noise, and payloads that are large for their bytes."""

from __future__ import annotations

from functools import partial

from ratatoskr import v1
from ratatoskr.admission import MAX_TOKEN_BYTES
from ratatoskr.channel import RecordType, encode_record
from ratatoskr.limits import Limits
from tests.attacks.floods.attack import Attack, Scene, attack, header
from tests.attacks.hostile import CLIENT, SERVER_SIDE, HostilePeer
from tests.attacks.meter import native_bytes
from tests.unit.messages.support import field

COUNT = 5
"""Connections at the smaller scale."""
HALF_OPEN = "connections * (handshake_bytes + 8 * OBJECT) + COPIES * handshake_bytes"
"""One of them at a time is at work on a message."""


def default(scale: int) -> Limits:
    return Limits()


on_servers = partial(attack, holds=HALF_OPEN, limits=default, sides=(SERVER_SIDE,), opens=False)
on_clients = partial(attack, holds=HALF_OPEN, limits=default, sides=(CLIENT,), opens=False)


def wait(scene: Scene) -> None:
    """Until the time for a handshake is over."""
    for victim in scene.victims:
        victim.advance(scene.limits.handshake_timeout)


def opening(peer: HostilePeer) -> RecordType:
    """The record that the victim awaits at first."""
    return RecordType.M2 if peer.victim.is_client else RecordType.M1


@attack(
    "a connection, and no more",
    ends="timer.handshake",
    holds="connections * 8 * OBJECT",
    limits=default,
    opens=False,
)
def first_bytes(scene: Scene) -> None:
    for _ in range(COUNT * scene.scale):
        peer = scene.connect()
        peer.victim.drain()
        peer.victim.feed(header(opening(peer), 40)[:1])
    wait(scene)


@attack("a byte a second", ends="timer.handshake", holds="connections * 8 * OBJECT", limits=default, opens=False)
def dripping(scene: Scene) -> None:
    for _ in range(scene.scale):
        peer = scene.connect()
        peer.victim.drain()
        for byte in header(opening(peer), 40) + bytes(10):
            peer.victim.feed(bytes([byte]))
            peer.victim.advance(1.0)


@on_servers("first messages, and no more", ends="timer.handshake")
def first_messages(scene: Scene) -> None:
    """Each costs what an answer to it costs: one signature, and the secrets of a handshake."""
    for _ in range(COUNT * scene.scale):
        scene.connect().begin()
    scene.signatures = len(scene.victims)
    wait(scene)


@on_servers("half-open, with most of a third message", ends="timer.handshake")
def half_open(scene: Scene) -> None:
    """The keys of the handshake are native memory."""
    before = native_bytes()
    length = scene.limits.handshake_bytes * 7 // 8
    for _ in range(COUNT * scene.scale):
        peer = scene.connect()
        peer.begin()
        peer.victim.feed(header(RecordType.M3, length) + bytes(length - 1))
    count = scene.signatures = len(scene.victims)
    scene.claim("native bytes", native_bytes() - before, count * 2 * scene.limits.handshake_bytes)
    wait(scene)


@on_servers("noise for a first message", ends="handshake.magic")
def noise(scene: Scene) -> None:
    """No signature, no key is spent on it."""
    for _ in range(COUNT * scene.scale):
        victim = scene.connect().victim
        victim.drain()
        victim.feed(encode_record(RecordType.M1, bytes(58)))


@on_servers("a first message one byte too long", ends="record.length")
def long_m1(scene: Scene) -> None:
    for _ in range(COUNT * scene.scale):
        victim = scene.connect().victim
        victim.drain()
        victim.feed(header(RecordType.M1, 400) + bytes(300), [50])


@on_servers("a third message one byte too long", ends="record.length")
def long_m3(scene: Scene) -> None:
    for _ in range(COUNT * scene.scale):
        peer = scene.connect()
        peer.begin()
        peer.victim.feed(header(RecordType.M3, scene.limits.handshake_bytes))
        peer.victim.feed(bytes(scene.limits.handshake_bytes), [512])
    scene.signatures = len(scene.victims)


@on_clients("a second message one byte too long", ends="record.length")
def long_m2(scene: Scene) -> None:
    for _ in range(COUNT * scene.scale):
        victim = scene.connect().victim
        victim.drain()
        victim.feed(header(RecordType.M2, scene.limits.handshake_bytes + 1))
        victim.feed(bytes(scene.limits.handshake_bytes), [512])


@on_clients("a third message that nobody answers", ends="timer.accept")
def unanswered(scene: Scene) -> None:
    for _ in range(COUNT * scene.scale):
        peer = scene.connect()
        peer.challenge()
        peer.victim.advance(scene.limits.accept_timeout + scene.limits.handshake_timeout)
    scene.signatures = len(scene.victims)
    scene.verifications = 2 * len(scene.victims)


# Bombs. Who sends them proves nothing before.

SIZE = 13_000
"""What fits into a handshake message."""


def payload_of(body: bytes, payload: bytes) -> bytes:
    """B3 with another payload."""
    request = v1.RatatoskrRequest.FromString(body)
    request.payload = payload
    return request.SerializeToString(deterministic=True)


def third_message(name: str, ends: str, payload: bytes) -> Attack:
    @on_servers(name, ends=ends)
    def flood(scene: Scene) -> None:
        for _ in range(COUNT * scene.scale):
            peer = scene.connect(rewrite_body=lambda body: payload_of(body, payload))
            peer.begin()
            peer.request()
        scene.signatures = len(scene.victims)

    return flood


empty_certificates = third_message(
    "a third message of empty certificates", "admission.malformed", field(1, b"") * (SIZE // 2)
)
packed_suites = third_message("a third message of packed suites", "admission.malformed", field(2, b"\1" * SIZE))
long_token = third_message(
    "a third message with a long token",
    "admission.field",
    v1.ConnectionRequest(suites=[1], versions=[1], token=bytes(MAX_TOKEN_BYTES + 1)).SerializeToString(),
)


@on_servers("a third message of many certificates", ends="certificate.chain")
def certificates(scene: Scene) -> None:
    """None of them is looked at."""
    for _ in range(COUNT * scene.scale):
        peer = scene.connect()
        peer.chain *= 40
        peer.begin()
        peer.request()
    scene.signatures = len(scene.victims)


@on_clients("a second message of empty certificates", ends="admission.malformed")
def empty_certificates_of_servers(scene: Scene) -> None:
    for _ in range(COUNT * scene.scale):
        scene.connect(rewrite_body=lambda body: field(1, b"") * (SIZE // 2) + body).challenge()
