"""Secret keys: made of entropy, used, and never shown."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from ratatoskr.errors import LocalProtocolError
from ratatoskr.identity.keys import SecretKeys
from ratatoskr.identity.verify import VerifyKey, check_exchange_key

SECRET = bytes(range(1, 65))


def test_keys_come_from_the_entropy_alone() -> None:
    asked: list[int] = []

    def entropy(count: int) -> bytes:
        asked.append(count)
        return SECRET

    keys = SecretKeys.generate(entropy)
    assert asked == [64]
    assert keys.to_bytes() == SECRET
    assert keys.public == SecretKeys.from_bytes(SECRET).public


def test_what_is_signed_verifies_under_the_public_key() -> None:
    keys = SecretKeys(SECRET)
    signature = keys.sign(b"words")
    assert len(signature) == 64
    key = VerifyKey(keys.public.signing_key)
    assert key.verify(signature, b"words")
    assert key.kid == keys.kid


def test_two_exchange_keys_agree() -> None:
    one, two = SecretKeys(SECRET), SecretKeys(SECRET[::-1])
    check_exchange_key(one.public.exchange_key)
    assert one.exchange.exchange(X25519PublicKey.from_public_bytes(two.public.exchange_key)) == two.exchange.exchange(
        X25519PublicKey.from_public_bytes(one.public.exchange_key)
    )


@pytest.mark.parametrize("length", [0, 32, 63, 65])
def test_secret_keys_have_64_bytes(length: int) -> None:
    with pytest.raises(LocalProtocolError, match="have 64 bytes"):
        SecretKeys.from_bytes(bytes(length))


def test_secrets_do_not_show() -> None:
    keys = SecretKeys(SECRET)
    shown = f"{keys!r} {keys}"
    assert keys.kid.hex()[:16] in shown
    for form in (SECRET.hex(), SECRET[:32].hex(), SECRET[32:].hex(), repr(SECRET), str(list(SECRET))):
        assert form not in shown
        assert form[8:24] not in shown


def test_keys_compare_by_their_public_halves() -> None:
    one, same, other = SecretKeys(SECRET), SecretKeys(SECRET), SecretKeys(SECRET[::-1])
    assert one == same != other
    assert one != SECRET
    assert len({one, same, other}) == 2
