"""The interpreter against peers that send unusable keys, short messages and forged ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr.channel import XX_AESGCM, XXHFS_AESGCM, Entropy, Suite
from ratatoskr.channel.noise import CipherState, HandshakeState
from ratatoskr.channel.suites import ML_KEM_768
from tests.unit.channel.support import CLIENT_KEY, NON_CANONICAL, SERVER_KEY, SMALL_ORDER, bare_side, refusal, refused

both_suites = pytest.mark.parametrize("suite", [XX_AESGCM, XXHFS_AESGCM], ids=["XX", "XXhfs"])


def sides(suite: Suite) -> tuple[HandshakeState, HandshakeState]:
    return (
        bare_side(suite, b"", CLIENT_KEY, initiator=True),
        bare_side(suite, b"", SERVER_KEY, initiator=False),
    )


def send(source: HandshakeState, target: HandshakeState, payload: bytes = b"") -> None:
    source.write_tokens()
    h = source.h
    message = source.write_payload(payload)
    target.read_tokens(message)
    assert target.h == h
    assert target.read_payload() == payload
    assert target.h == source.h


@both_suites
def test_both_sides_agree_on_the_hash_before_and_after_each_payload(suite: Suite) -> None:
    left, right = sides(suite)
    send(left, right, b"one")
    send(right, left, b"two")
    send(left, right, b"three")
    assert left.derive(b"label") == right.derive(b"label") != left.derive(b"other")
    assert left.split() == right.split()


@both_suites
def test_the_split_drops_every_secret_of_the_handshake(suite: Suite) -> None:
    left, right = sides(suite)
    for source, target in ((left, right), (right, left), (left, right)):
        send(source, target)
    chaining_key = left._symmetric._ck
    keys = left.split()
    assert left._local == {}
    assert left._kem_private is None
    assert left._symmetric.cipher is None
    assert left._symmetric._ck not in {chaining_key, *keys}


@both_suites
@pytest.mark.parametrize("public", SMALL_ORDER, ids=lambda key: key.hex()[:8])
def test_a_small_order_ephemeral_of_the_initiator_is_refused(suite: Suite, public: bytes) -> None:
    left, right = sides(suite)
    left.write_tokens()
    message = left.write_payload(b"")
    right.read_tokens(public + message[32:])
    right.read_payload()
    assert refusal(right.write_tokens) == "noise.small-order"


@both_suites
@pytest.mark.parametrize("public", SMALL_ORDER, ids=lambda key: key.hex()[:8])
def test_a_small_order_ephemeral_of_the_responder_is_refused(suite: Suite, public: bytes) -> None:
    left, right = sides(suite)
    send(left, right)
    right.write_tokens()
    message = right.write_payload(b"")
    assert refusal(left.read_tokens, public + message[32:]) == "noise.small-order"


class ForeignKey:
    """A private key whose owner claims another public half, and whose shared secret is always zero."""

    def __init__(self, public: bytes) -> None:
        self.public = public

    def public_key(self) -> ForeignKey:
        return self

    def public_bytes_raw(self) -> bytes:
        return self.public

    def exchange(self, _: object) -> bytes:
        return bytes(32)


@both_suites
@pytest.mark.parametrize(
    ("public", "rule"),
    [*((key, "noise.small-order") for key in SMALL_ORDER), *((key, "noise.non-canonical") for key in NON_CANONICAL)],
)
def test_an_unusable_static_key_is_refused_on_both_sides(suite: Suite, public: bytes, rule: str) -> None:
    """The peer knows the shared secret of such a key, so its messages would authenticate."""
    hostile: Any = ForeignKey(public)
    left, right = sides(suite)
    right._local["s"] = hostile
    send(left, right)
    right.write_tokens()
    assert refusal(left.read_tokens, right.write_payload(b"")) == rule

    left, right = sides(suite)
    left._local["s"] = hostile
    send(left, right)
    send(right, left)
    left.write_tokens()
    assert refusal(right.read_tokens, left.write_payload(b"")) == rule


@both_suites
@pytest.mark.parametrize("public", NON_CANONICAL, ids=lambda key: key.hex()[-8:])
def test_a_second_encoding_of_an_ephemeral_key_is_refused(suite: Suite, public: bytes) -> None:
    left, right = sides(suite)
    left.write_tokens()
    message = left.write_payload(b"")
    assert refusal(right.read_tokens, public + message[32:]) == "noise.non-canonical"


def test_an_invalid_kem_key_is_refused() -> None:
    left, right = sides(XXHFS_AESGCM)
    left.write_tokens()
    message = left.write_payload(b"")
    right.read_tokens(message[:32] + b"\xff" * 1184)
    right.read_payload()
    assert refusal(right.write_tokens) == "noise.kem-key"


class PickyKey:
    """A KEM key that finds every ciphertext malformed."""

    public = bytes(ML_KEM_768.public_bytes)

    def decapsulate(self, _: bytes) -> bytes:
        raise ValueError


class PickyKem:
    """Nothing stops a peer from sending what another KEM calls malformed."""

    public_bytes = ML_KEM_768.public_bytes
    ciphertext_bytes = ML_KEM_768.ciphertext_bytes

    def keypair(self, _: Entropy) -> PickyKey:
        return PickyKey()

    def encapsulate(self, _: bytes, entropy: Entropy) -> tuple[bytes, bytes]:
        return bytes(self.ciphertext_bytes), entropy(32)


def test_a_malformed_kem_ciphertext_is_refused() -> None:
    left, right = sides(replace(XXHFS_AESGCM, kem=PickyKem()))
    send(left, right)
    right.write_tokens()
    assert refusal(left.read_tokens, right.write_payload(b"")) == "noise.kem-ciphertext"


@both_suites
def test_a_message_cut_anywhere_is_refused(suite: Suite) -> None:
    left, right = sides(suite)
    left.write_tokens()
    keys = left.write_payload(b"")
    for length in range(len(keys)):
        _, fresh = sides(suite)
        assert refusal(fresh.read_tokens, keys[:length]) == "noise.short"
    right.read_tokens(keys)
    right.read_payload()
    right.write_tokens()
    message = right.write_payload(b"payload")
    payload_at = len(message) - len(b"payload") - 16
    for length in range(len(message)):
        fresh, _ = sides(suite)
        fresh.write_tokens()
        fresh.write_payload(b"")
        if length < payload_at:
            assert refusal(fresh.read_tokens, message[:length]) == "noise.short"
        else:
            fresh.read_tokens(message[:length])
            assert refusal(fresh.read_payload) == "noise.forged"


def test_a_cipher_counts_successes_only() -> None:
    cipher, other = CipherState(XX_AESGCM, bytes(32)), CipherState(XX_AESGCM, bytes(32))
    message = other.encrypt(b"ad", b"plain")
    assert refusal(cipher.decrypt, b"AD", message) == "noise.forged"
    assert cipher.counter == 0
    assert cipher.decrypt(b"ad", message) == b"plain"
    assert (cipher.counter, other.counter) == (1, 1)


@given(message=st.binary(max_size=3000), reader=st.sampled_from(["responder", "initiator", "responder twice"]))
def test_no_bytes_of_the_peer_raise_anything_else(message: bytes, reader: str) -> None:
    for suite in (XX_AESGCM, XXHFS_AESGCM):
        left, right = sides(suite)
        if reader != "responder":
            send(left, right)
        if reader == "responder twice":
            send(right, left)
        target = left if reader == "initiator" else right
        if not refused(target.read_tokens, message):
            refused(target.read_payload)
