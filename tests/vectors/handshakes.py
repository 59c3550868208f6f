"""handshakes.json: a whole handshake in each suite with all that both ends hold, and messages that must be refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ratatoskr.admission import (
    DEVICE_AUTH,
    SERVER_AUTH,
    ConnectionRequest,
    ServerHello,
    announced,
    transcript_bytes,
)
from ratatoskr.channel import SUITES, ClientHandshake, ServerHandshake, SignedPayload
from ratatoskr.connection.proof import prove
from ratatoskr.errors import ProtocolFault
from ratatoskr.identity import Role
from ratatoskr.limits import Limits
from tests.vectors.cast import DEVICE, NOW, NOW_MS, PROVIDER, SERVER, SERVER_NAME, TRUST, FixedEntropy, secret
from tests.vectors.kem import KEM, suite
from tests.vectors.stranger import noise

PRIME = 2**255 - 19
Edit = Callable[[bytes], bytes]


class Run:
    """A handshake of the implementation, step by step."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.suite = suite(number)
        self.ephemerals = {name: secret(f"handshake {number} {name} ephemeral") for name in ("client", "server")}
        self.kem_seed = secret(f"handshake {number} kem", 64) if self.suite.kem is not None else b""
        self.client = ClientHandshake(
            static=DEVICE.keys.exchange,
            suite=self.suite,
            server_name=SERVER_NAME,
            entropy=FixedEntropy(self.ephemerals["client"] + self.kem_seed),
        )
        self.server = ServerHandshake(
            static=SERVER.keys.exchange, suites=[self.suite], entropy=FixedEntropy(self.ephemerals["server"])
        )
        self.b2 = ServerHello(tuple(SERVER.wire_chain()), NOW, 14_905, 10.0).encode()
        self.b3 = ConnectionRequest(
            tuple(DEVICE.wire_chain()), (number,), (1,), b"a token", announced(Limits()), 120.0
        ).encode(secret("nonce of m3", 16), NOW_MS)

    def m1(self) -> bytes:
        return self.client.m1()

    def m2(self, m1: bytes, payload: Callable[[bytes], bytes] | None = None) -> bytes:
        self.server.read_m1(m1)
        return self.server.m2(payload or self.payload_2)

    def m3(self, m2: bytes, payload: Callable[[bytes], bytes] | None = None) -> bytes:
        self.client.read_m2(m2)
        return self.client.m3(payload or self.payload_3)

    def payload_2(self, h: bytes) -> bytes:
        return self.b2 + SERVER.sign(transcript_bytes(SERVER_AUTH, h, self.b2))

    def payload_3(self, h: bytes) -> bytes:
        return self.b3 + DEVICE.sign(transcript_bytes(DEVICE_AUTH, h, self.b3))


def by_hand(run: Run, *, client: bool) -> noise.Handshake:
    """The same end, from the specification."""
    own = DEVICE if client else SERVER
    return noise.Handshake(
        run.number,
        noise.h1(run.number, SERVER_NAME.encode()),
        client,
        noise.Secrets(own.keys.to_bytes()[:32], run.ephemerals["client" if client else "server"], run.kem_seed),
    )


def whole(number: int) -> dict[str, Any]:
    """One handshake."""
    run = Run(number)
    m1 = run.m1()
    m2 = run.m2(m1)
    m3 = run.m3(m2)
    run.server.read_m3(m3)
    ends = run.client.establish(), run.server.establish()
    client = by_hand(run, client=True)
    assert client.h1 + client.write(1) == m1
    client.read(2, m2)
    assert client.write(3, run.payload_3) == m3
    assert ends[0].h == ends[1].h == client.h
    assert ends[0].session_id == ends[1].session_id == client.export(b"session-id")
    assert ends[0].resume_secret == ends[1].resume_secret == client.export(b"resume")
    keys = client.split()
    vector: dict[str, Any] = {
        "suite": number,
        "name": run.suite.name,
        "server_name": SERVER_NAME,
        "client": "device",
        "server": "server",
        "client_ephemeral": run.ephemerals["client"].hex(),
        "server_ephemeral": run.ephemerals["server"].hex(),
    }
    if run.suite.kem is not None:
        ciphertext, shared = KEM.used[sha256(m1[-KEM.public_bytes :]).hexdigest()]
        vector |= {"kem_seed": run.kem_seed.hex(), "kem_ciphertext": ciphertext, "kem_shared": shared}
    h_2, h_3 = client.payloads[2][1], client.payloads[3][1]
    return vector | {
        "b2": run.b2.hex(),
        "sig_s": run.payload_2(h_2)[-64:].hex(),
        "b3": run.b3.hex(),
        "sig_c": run.payload_3(h_3)[-64:].hex(),
        "steps": [asdict(step) for step in client.steps],
        "m1": m1.hex(),
        "m2": m2.hex(),
        "m3": m3.hex(),
        "h": ends[0].h.hex(),
        "prk": client.prk.hex(),
        "session_id": ends[0].session_id.hex(),
        "resume_secret": ends[0].resume_secret.hex(),
        "client_key": keys[0].hex(),
        "server_key": keys[1].hex(),
    }


# What must be refused


def refused(step: Callable[[], object]) -> str:
    """The rule by which the implementation refuses."""
    try:
        step()
    except ProtocolFault as fault:
        return fault.rule
    raise AssertionError("it was not refused")


def at(offset: int, data: bytes) -> Edit:
    """Put other bytes there."""
    return lambda message: message[:offset] + data + message[offset + len(data) :]


def flip(offset: int) -> Edit:
    return lambda message: at(offset % len(message), bytes([message[offset] ^ 1]))(message)


NAME = len(SERVER_NAME)
E = 8 + NAME
BAD_KEYS = {
    "the point 0": bytes(32),
    "the point 1": (1).to_bytes(32, "little"),
    "a number of 2^255-19": PRIME.to_bytes(32, "little"),
    "the highest bit set": bytes(31) + b"\x80",
}
FIRST: dict[str, tuple[int, Edit]] = {
    "seven bytes": (0x12, lambda message: message[:7]),
    "another magic": (0x12, at(0, b"RTSX")),
    "version 2": (0x12, at(4, b"\2")),
    "a name in capitals": (0x12, at(8, b"YGG")),
    "a name that is cut short": (0x12, at(7, b"\xff")),
    "no name": (0x12, lambda message: message[:7] + b"\0" + message[8 + NAME :]),
    "suite 0003": (0x12, at(5, b"\0\3")),
    "a suite that is not accepted here": (0x12, at(5, b"\0\1")),
    "one byte more": (0x12, lambda message: message + b"\0"),
    "one byte less": (0x12, lambda message: message[:-1]),
    **{f"e is {what}": (0x12, at(E, key)) for what, key in BAD_KEYS.items()},
    "e1 with coefficients that are too great": (0x01, at(E + 32, b"\xff" * 1152)),
}
SECOND: dict[str, tuple[int, Edit]] = {
    **{f"e is {what}": (0x12, at(0, key)) for what, key in BAD_KEYS.items()},
    "cut inside s": (0x12, lambda message: message[:60]),
    "a changed bit in s": (0x12, flip(40)),
    "a changed bit in the payload": (0x12, flip(-40)),
    "a changed bit in the last tag": (0x11, flip(-1)),
    "one byte more": (0x11, lambda message: message + b"\0"),
    "another ephemeral key": (0x11, at(0, secret("another ephemeral"))),
    "a changed bit in ekem1": (0x01, flip(40)),
    "cut inside ekem1": (0x02, lambda message: message[:1000]),
}
THIRD: dict[str, tuple[int, Edit]] = {
    "cut inside s": (0x12, lambda message: message[:40]),
    "a changed bit in s": (0x12, flip(3)),
    "a changed bit in the payload": (0x11, flip(-40)),
    "no payload": (0x11, lambda message: message[:48]),
}


def refusals() -> list[dict[str, Any]]:
    """Messages that one end sends and the other refuses, with the handshake as it is above until then."""
    found = []

    def note(what: str, number: int, message: int, sent: bytes, rule: str) -> None:
        found.append({"what": what, "suite": number, "message": message, "sent": sent.hex(), "rule": rule})

    for what, (number, edit) in FIRST.items():
        run = Run(number)
        sent = edit(run.m1())
        note(what, number, 1, sent, refused(lambda run=run, sent=sent: run.m2(sent)))  # type: ignore[misc]
    for what, (number, edit) in SECOND.items():
        run = Run(number)
        sent = edit(run.m2(run.m1()))
        note(what, number, 2, sent, refused(lambda run=run, sent=sent: run.m3(sent)))  # type: ignore[misc]
    for what, (number, edit) in THIRD.items():
        run = Run(number)
        sent = edit(run.m3(run.m2(run.m1())))
        note(what, number, 3, sent, refused(lambda run=run, sent=sent: run.server.read_m3(sent)))  # type: ignore[misc]
    run = Run(0x12)
    short = run.m2(run.m1(), lambda _: bytes(63))
    note("a payload of 63 bytes", 0x12, 2, short, refused(lambda: run.m3(short)))
    run = Run(0x12)
    run.server = ServerHandshake(
        static=X25519PrivateKey.from_private_bytes(DEVICE.keys.to_bytes()[:32]),
        suites=[run.suite],
        entropy=FixedEntropy(run.ephemerals["server"]),
    )
    mirror = run.m2(run.m1())
    note("the client's own static key", 0x12, 2, mirror, refused(lambda: run.m3(mirror)))
    return found


# Proofs


def proofs() -> list[dict[str, Any]]:
    """Signatures over a transcript, by the keys of a certificate and by others."""
    peer = TRUST.judge(DEVICE.wire_chain(), roles={Role.DEVICE}, at=NOW)
    own, h, body = DEVICE.keys.public.exchange_key, secret("a transcript hash"), secret("a body", 70)
    right = DEVICE.sign(transcript_bytes(DEVICE_AUTH, h, body))
    cases = {
        "right": (own, h, body, right),
        "another static key": (PROVIDER.keys.public.exchange_key, h, body, right),
        "another transcript hash": (own, secret("another hash"), body, right),
        "another body": (own, h, body[1:], right),
        "by another key": (own, h, body, PROVIDER.sign(transcript_bytes(DEVICE_AUTH, h, body))),
        "with the server's label": (own, h, body, DEVICE.sign(transcript_bytes(SERVER_AUTH, h, body))),
        "of 64 zero bytes": (own, h, body, bytes(64)),
    }
    found = []
    for what, (static, said, signed, signature) in cases.items():
        payload = SignedPayload(signed, signature, said)
        rule = "" if what == "right" else refused(partial(prove, peer, static, payload, DEVICE_AUTH))
        found.append(
            {"what": what, "static": static.hex(), "h": said.hex(), "body": signed.hex(), "signature": signature.hex()}
            | {"rule": rule}
        )
    return found


def make() -> dict[str, Any]:
    """handshakes.json"""
    return {
        "about": "Handshakes with all that both ends hold after each step, and messages that must be refused.",
        "handshakes": [whole(number) for number in SUITES],
        "refused": refusals(),
        "proofs": {"by": "device", "label": DEVICE_AUTH.decode(), "signatures": proofs()},
    }
