"""Nonces from business keys, and nonces from entropy."""

from __future__ import annotations

from hashlib import sha256

import pytest

from ratatoskr.messages import NonceSource, business_nonce


def test_a_business_nonce_is_the_one_of_the_specification() -> None:
    expected = sha256(b"ratatoskr-v1 nonce\x00" + b"\x00\x00\x00\x0b" + b"\x00\x00\x00\x01" + b"ORDER 1/2026").digest()
    assert business_nonce(11, 1, b"ORDER 1/2026") == expected[:16]
    assert business_nonce(11, 1, b"ORDER 1/2026").hex() == "e556a8c64cda47f2b4dd1ac930e70a16"


@pytest.mark.parametrize(
    "other", [(11, 2, b"k"), (12, 1, b"k"), (11, 1, b"l"), (11, 1, b""), (2**31 - 1, 2**32 - 1, b"k")]
)
def test_a_business_nonce_depends_on_kind_and_key(other: tuple[int, int, bytes]) -> None:
    assert business_nonce(11, 1, b"k") != business_nonce(*other)


def test_fresh_nonces_are_the_entropy_in_pieces_and_none_comes_twice() -> None:
    drawn: list[int] = []

    def entropy(size: int) -> bytes:
        drawn.append(size)
        start = 256 * len(drawn)
        return b"".join((start + at).to_bytes(16, "big") for at in range(size // 16))

    source = NonceSource(entropy)
    assert drawn == [], "nothing is drawn before it is needed"
    nonces = [source.fresh() for _ in range(130)]
    assert len(set(nonces)) == 130
    assert {len(nonce) for nonce in nonces} == {16}
    assert drawn == [1024, 1024, 1024]
