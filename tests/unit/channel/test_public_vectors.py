"""The public Noise vectors: every pattern that they hold runs on the one interpreter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ratatoskr.channel.noise import XX, CipherState, HandshakeState, Pattern
from ratatoskr.channel.suites import XX_AESGCM, XX_CHACHAPOLY, Suite

FILE = Path(__file__).parents[4] / "shared" / "vectors" / "noise-25519-sha256.json"
VECTORS: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["vectors"] if FILE.exists() else []

PATTERNS = {
    "XX": XX,
    "NN": Pattern((("e",), ("e", "ee"))),
    "KK": Pattern((("e", "es", "ss"), ("e", "ee", "se")), initiator_known=True, responder_known=True),
    "IK": Pattern((("e", "es", "s", "ss"), ("e", "ee", "se")), responder_known=True),
    "XK": Pattern((("e", "es"), ("e", "ee"), ("s", "se")), responder_known=True),
}


def suite_of(name: str) -> Suite:
    cipher = XX_AESGCM if "_AESGCM_" in name else XX_CHACHAPOLY
    return Suite(0xFF00, name, cipher.aead, cipher.nonce, None)


def side(vector: dict[str, Any], role: str) -> HandshakeState:
    static = vector.get(f"{role}_static")
    remote = vector.get(f"{role}_remote_static")
    fixed: Callable[[int], bytes] = lambda _: bytes.fromhex(vector[f"{role}_ephemeral"])  # noqa: E731
    return HandshakeState(
        PATTERNS[vector["protocol_name"].split("_")[1]],
        suite_of(vector["protocol_name"]),
        initiator=role == "init",
        prologue=bytes.fromhex(vector[f"{role}_prologue"]),
        entropy=fixed,
        static=None if static is None else X25519PrivateKey.from_private_bytes(bytes.fromhex(static)),
        remote_static=None if remote is None else bytes.fromhex(remote),
    )


@pytest.mark.skipif(not VECTORS, reason=f"no public vectors at {FILE.parent.name}/{FILE.name} beside the project")
def test_there_are_twenty_vectors() -> None:
    assert len(VECTORS) == 20


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['protocol_name']}-{vector['source']}")
def test_vector(vector: dict[str, Any]) -> None:
    sender, receiver = side(vector, "init"), side(vector, "resp")
    messages = [(bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in vector["messages"]]
    handshake = len(PATTERNS[vector["protocol_name"].split("_")[1]].messages)
    initiator = sender
    for payload, expected in messages[:handshake]:
        sender.write_tokens()
        assert sender.write_payload(payload) == expected
        receiver.read_tokens(expected)
        assert receiver.read_payload() == payload
        assert receiver.h == sender.h
        sender, receiver = receiver, sender
    if "handshake_hash" in vector:
        assert initiator.h.hex() == vector["handshake_hash"]

    keys = sender.split()
    assert receiver.split() == keys
    suite = suite_of(vector["protocol_name"])
    ciphers = [CipherState(suite, key) for key in keys]
    for number, (payload, expected) in enumerate(messages[handshake:], handshake):
        # The initiator sends every other message, counted from the first; NN, KK and IK have two, so it goes on.
        cipher = ciphers[number % 2]
        assert cipher.encrypt(b"", payload) == expected
        if vector["source"] == "snow":  # its transport counters stay where they are
            cipher.counter = 0
