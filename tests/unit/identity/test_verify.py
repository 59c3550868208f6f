"""The strict verifier: which keys and signatures it takes, beside what the library takes."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr.errors import Fault
from ratatoskr.identity.verify import (
    SMALL_ORDER_EXCHANGE_KEYS,
    SMALL_ORDER_SIGNING_KEYS,
    KeyRefused,
    VerifyKey,
    check_exchange_key,
    key_id,
    signed_input,
)
from tests.unit.identity import curve

SEED = bytes(range(32))
MESSAGE = b"the squirrel carries words"
SECRET = Ed25519PrivateKey.from_private_bytes(SEED)
PUBLIC = SECRET.public_key().public_bytes_raw()
SIGNATURE = SECRET.sign(MESSAGE)
SMALL_ORDER = curve.small_order_encodings()
FORGED_R = curve.encode(curve.IDENTITY)
"""With R the neutral element, S = challenge · secret: the library takes it from whoever knows the secret."""


def little(value: int) -> bytes:
    return value.to_bytes(32, "little")


def library_verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def test_signed_input_is_spaces_label_zero_and_parts() -> None:
    assert signed_input(b"label", b"ab", b"", b"c") == b"\x20" * 64 + b"label\x00abc"


def test_kid_is_the_hash_of_suite_and_key() -> None:
    assert VerifyKey(PUBLIC).kid == hashlib.sha256(b"ratatoskr-v1 key\x00\x01" + PUBLIC).digest() == key_id(PUBLIC)


def test_a_good_signature_verifies() -> None:
    assert VerifyKey(PUBLIC).verify(SIGNATURE, MESSAGE)


def test_the_first_vector_of_rfc_8032_verifies() -> None:
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    signature = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )
    assert VerifyKey(public).verify(signature, b"")


def test_every_bit_of_a_signature_counts() -> None:
    key = VerifyKey(PUBLIC)
    for bit in range(512):
        changed = bytearray(SIGNATURE)
        changed[bit // 8] ^= 1 << bit % 8
        assert not key.verify(bytes(changed), MESSAGE)


def test_another_message_does_not_verify() -> None:
    assert not VerifyKey(PUBLIC).verify(SIGNATURE, MESSAGE + b".")


def test_another_key_does_not_verify() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    assert not VerifyKey(other).verify(SIGNATURE, MESSAGE)


@pytest.mark.parametrize("length", [0, 1, 32, 63, 65, 128])
def test_a_signature_of_another_length_does_not_verify(length: int) -> None:
    assert not VerifyKey(PUBLIC).verify((SIGNATURE * 2)[:length], MESSAGE)


@pytest.mark.parametrize("multiple", range(1, 16))
def test_s_must_be_below_the_order(multiple: int) -> None:
    s = int.from_bytes(SIGNATURE[32:], "little") + multiple * curve.ORDER
    assert s < 2**256
    assert not VerifyKey(PUBLIC).verify(SIGNATURE[:32] + little(s), MESSAGE)


@pytest.mark.parametrize("r", SMALL_ORDER, ids=bytes.hex)
def test_r_must_not_be_of_small_order(r: bytes) -> None:
    s = curve.challenge(r, PUBLIC, MESSAGE) * curve.secret_scalar(SEED) % curve.ORDER
    signature = r + little(s)
    assert library_verifies(PUBLIC, signature, MESSAGE) == (r == FORGED_R)
    assert not VerifyKey(PUBLIC).verify(signature, MESSAGE)


def test_the_table_of_small_order_signing_keys_is_complete() -> None:
    assert len(SMALL_ORDER) == 14
    assert frozenset(SMALL_ORDER) == SMALL_ORDER_SIGNING_KEYS


@pytest.mark.parametrize("public", SMALL_ORDER, ids=bytes.hex)
def test_a_signing_key_of_small_order_is_refused(public: bytes) -> None:
    Ed25519PublicKey.from_public_bytes(public)  # the library takes it
    with pytest.raises(KeyRefused) as refused:
        VerifyKey(public)
    assert (refused.value.rule, refused.value.fault) == ("key.small_order", Fault.REFUSED)


def test_why_small_order_matters() -> None:
    """Under the neutral element one signature verifies every message, and nobody knows a secret."""
    assert all(library_verifies(FORGED_R, FORGED_R + bytes(32), message) for message in (b"a", b"b", MESSAGE))


@pytest.mark.parametrize("above", range(2, 19))
@pytest.mark.parametrize("sign", [0, 1])
def test_a_signing_key_with_y_of_p_or_more_is_refused(above: int, sign: int) -> None:
    with pytest.raises(KeyRefused) as refused:
        VerifyKey(little(curve.P + above | sign << 255))
    assert refused.value.rule == "key.canonical"


def test_a_signing_key_off_the_curve_is_refused() -> None:
    off = [y for y in range(2, 60) if curve.recover_x(y, 0) is None]
    on = [y for y in range(2, 60) if curve.recover_x(y, 0) is not None]
    assert len(off) > 10
    assert len(on) > 10
    for y in off:
        Ed25519PublicKey.from_public_bytes(little(y))  # the library takes it
        with pytest.raises(KeyRefused) as refused:
            VerifyKey(little(y))
        assert refused.value.rule == "key.curve"
    for y in on:
        VerifyKey(little(y))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_keys_have_32_bytes(length: int) -> None:
    for check in (VerifyKey, check_exchange_key):
        with pytest.raises(KeyRefused) as refused:
            check(bytes([7]) * length)
        assert refused.value.rule == "key.length"


def test_the_table_of_small_order_exchange_keys_is_complete() -> None:
    assert frozenset(map(little, curve.small_order_us())) == SMALL_ORDER_EXCHANGE_KEYS


@pytest.mark.parametrize("u", curve.small_order_us(), ids=hex)
def test_an_exchange_key_of_small_order_is_refused(u: int) -> None:
    with pytest.raises(ValueError, match="shared key"):
        X25519PrivateKey.from_private_bytes(SEED).exchange(X25519PublicKey.from_public_bytes(little(u)))
    with pytest.raises(KeyRefused) as refused:
        check_exchange_key(little(u))
    assert refused.value.rule == "key.small_order"


@pytest.mark.parametrize("u", [*range(curve.P, 2**255), 2 | 1 << 255, 9 | 1 << 255, 2**256 - 1], ids=hex)
def test_an_exchange_key_that_is_not_canonical_is_refused(u: int) -> None:
    with pytest.raises(KeyRefused) as refused:
        check_exchange_key(little(u))
    assert refused.value.rule == "key.canonical"


@pytest.mark.parametrize("u", [2, 9, curve.P - 2], ids=hex)
def test_other_exchange_keys_are_taken(u: int) -> None:
    check_exchange_key(little(u))


def test_keys_compare_by_their_bytes() -> None:
    other = VerifyKey(Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw())
    assert VerifyKey(PUBLIC) == VerifyKey(PUBLIC) != other
    assert VerifyKey(PUBLIC) != PUBLIC
    assert {VerifyKey(PUBLIC): 1}[VerifyKey(PUBLIC)] == 1
    assert repr(VerifyKey(PUBLIC)) == f"VerifyKey({PUBLIC.hex()})"


@given(st.binary(max_size=70) | st.binary(min_size=32, max_size=32))
def test_any_bytes_are_a_key_or_refused(data: bytes) -> None:
    try:
        key = VerifyKey(data)
    except KeyRefused:
        return
    assert not key.verify(SIGNATURE, b"never signed")


@given(st.binary(max_size=70) | st.binary(min_size=64, max_size=64), st.binary())
def test_any_bytes_as_a_signature_give_false(signature: bytes, message: bytes) -> None:
    assert VerifyKey(PUBLIC).verify(signature, message) is False
