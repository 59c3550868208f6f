"""Suites: numbers, names, nonces, and ML-KEM behind its protocol."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag

from ratatoskr.channel import SUITES, TAG_BYTES, XX_AESGCM, XX_CHACHAPOLY, XXHFS_AESGCM, XXHFS_CHACHAPOLY, Suite
from ratatoskr.channel.suites import ML_KEM_768
from tests.vectors.cast import FixedEntropy, secret

each_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)


@pytest.mark.parametrize(
    ("suite", "number", "name"),
    [
        (XXHFS_AESGCM, 0x0001, "Noise_XXhfs_25519+MLKEM768_AESGCM_SHA256"),
        (XXHFS_CHACHAPOLY, 0x0002, "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_SHA256"),
        (XX_AESGCM, 0x0011, "Noise_XX_25519_AESGCM_SHA256"),
        (XX_CHACHAPOLY, 0x0012, "Noise_XX_25519_ChaChaPoly_SHA256"),
    ],
)
def test_numbers_and_names_are_those_of_the_specification(suite: Suite, number: int, name: str) -> None:
    assert (suite.id, suite.name, suite.kem is not None) == (number, name, "hfs" in name)
    assert SUITES[number] is suite


@pytest.mark.parametrize(
    ("suite", "expected"),
    [(XX_AESGCM, "000000000102030405060708"), (XX_CHACHAPOLY, "000000000807060504030201")],
)
def test_nonces_have_the_byte_order_of_their_cipher(suite: Suite, expected: str) -> None:
    assert suite.nonce(0x0102030405060708).hex() == expected


@each_suite
def test_aead_adds_a_tag_and_refuses_whatever_is_shorter(suite: Suite) -> None:
    aead = suite.aead(bytes(32))
    assert len(aead.encrypt(suite.nonce(0), b"abc", b"")) == 3 + TAG_BYTES
    for length in range(TAG_BYTES + 1):
        with pytest.raises(InvalidTag):
            aead.decrypt(suite.nonce(0), bytes(length), b"")


def test_a_kem_key_comes_from_64_bytes_of_entropy_alone() -> None:
    entropy = FixedEntropy(secret("kem", 65))
    first = ML_KEM_768.keypair(entropy)
    assert len(entropy.stream) == 1
    assert first.public == ML_KEM_768.keypair(FixedEntropy(secret("kem", 64))).public
    assert len(first.public) == ML_KEM_768.public_bytes


def test_what_is_encapsulated_comes_out() -> None:
    key = ML_KEM_768.keypair(FixedEntropy(secret("kem", 64)))
    ciphertext, shared = ML_KEM_768.encapsulate(key.public, FixedEntropy(b""))
    assert (len(ciphertext), len(shared)) == (ML_KEM_768.ciphertext_bytes, 32)
    assert key.decapsulate(ciphertext) == shared
    changed = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    assert key.decapsulate(changed) != shared  # implicit rejection: another secret, no error


@pytest.mark.parametrize("public", [b"", bytes(1183), bytes(1185), b"\xff" * 1184])
def test_an_invalid_kem_key_is_a_value_error(public: bytes) -> None:
    with pytest.raises(ValueError, match="ML-KEM-768"):
        ML_KEM_768.encapsulate(public, FixedEntropy(b""))
