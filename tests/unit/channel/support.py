"""Two sides of a handshake with fixed secrets, for the tests of this floor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ratatoskr.channel import ClientHandshake, Entropy, ServerHandshake, Suite
from ratatoskr.channel.noise import XX, XXHFS, HandshakeState
from ratatoskr.errors import Fault, ProtocolFault
from tests.vectors.cast import FixedEntropy, secret

NAME = "yggdrasil.example"
CLIENT_KEY = X25519PrivateKey.from_private_bytes(secret("test client"))
SERVER_KEY = X25519PrivateKey.from_private_bytes(secret("test server"))
CLIENT_PUBLIC = CLIENT_KEY.public_key().public_bytes_raw()
SERVER_PUBLIC = SERVER_KEY.public_key().public_bytes_raw()

SIGNED_2 = b"B2: hello, device" + b"\x22" * 64
SIGNED_3 = b"B3: hello, platform" + b"\x33" * 64

SMALL_ORDER = [
    u.to_bytes(32, "little")
    for u in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        2**255 - 20,
    )
]
"""Every canonical X25519 key whose shared secret is zero."""
NON_CANONICAL = [
    *((2**255 - 19 + more).to_bytes(32, "little") for more in (0, 1, 9, 18)),
    (2**255 + 9).to_bytes(32, "little"),
    b"\xff" * 32,
]
"""Second encodings of keys: u above the prime, or bit 255 set."""


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    """The rule by which a call refuses what the peer sent."""
    with pytest.raises(ProtocolFault) as caught:
        call(*arguments)
    assert caught.value.fault is Fault.REFUSED
    return caught.value.rule


def refused(call: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a call refuses what the peer sent. Any other exception, and any other fault, goes through."""
    try:
        call(*arguments)
    except ProtocolFault as fault:
        if fault.fault is not Fault.REFUSED:
            raise
        return True
    return False


def entropy(label: str) -> Entropy:
    """As much as a handshake needs, the same in every run."""
    return FixedEntropy(secret(label, 256))


def client(suite: Suite, label: str = "client") -> ClientHandshake:
    return ClientHandshake(static=CLIENT_KEY, suite=suite, server_name=NAME, entropy=entropy(label))


def server(*suites: Suite, label: str = "server") -> ServerHandshake:
    return ServerHandshake(static=SERVER_KEY, suites=suites, entropy=entropy(label))


def up_to_m2(suite: Suite) -> tuple[ClientHandshake, ServerHandshake, bytes]:
    """Both sides, and m2 on its way."""
    left, right = client(suite), server(suite)
    right.read_m1(left.m1())
    return left, right, right.m2(lambda _: SIGNED_2)


def up_to_m3(suite: Suite) -> tuple[ClientHandshake, ServerHandshake, bytes]:
    """Both sides, and m3 on its way."""
    left, right, m2 = up_to_m2(suite)
    left.read_m2(m2)
    return left, right, left.m3(lambda _: SIGNED_3)


def bare_side(suite: Suite, h1: bytes, static: X25519PrivateKey, *, initiator: bool) -> HandshakeState:
    """A side that keeps no rule but Noise's: what a hostile peer runs."""
    return HandshakeState(
        XX if suite.kem is None else XXHFS,
        suite,
        initiator=initiator,
        prologue=b"ratatoskr-v1\0" + h1,
        entropy=entropy("bare"),
        static=static,
    )
