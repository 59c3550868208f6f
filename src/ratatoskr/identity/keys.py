"""Secret keys: one for key exchange, one for signatures."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ratatoskr.errors import LocalProtocolError
from ratatoskr.identity.verify import KEY_BYTES, key_id

SECRET_BYTES = 2 * KEY_BYTES
"""An X25519 secret, then an Ed25519 seed."""


class PublicKeys(NamedTuple):
    """What others may know of :class:`SecretKeys`: two public keys of 32 bytes."""

    exchange_key: bytes
    """X25519."""
    signing_key: bytes
    """Ed25519."""


class SecretKeys:
    """An X25519 key for Noise and an Ed25519 key for signatures; each is used for nothing else.

    The secrets leave by :meth:`to_bytes` alone and never show in a representation.
    """

    __slots__ = ("_secret", "exchange", "kid", "public", "sign")

    exchange: X25519PrivateKey
    """The Noise static key."""
    kid: bytes
    """:func:`~ratatoskr.identity.verify.key_id` of the signing key, 32 bytes."""
    public: PublicKeys
    sign: Callable[[bytes], bytes]
    """``sign(message)``: the Ed25519 signature, 64 bytes, over a message that a
    :func:`~ratatoskr.identity.verify.signed_input` made."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise LocalProtocolError(f"secret keys have {SECRET_BYTES} bytes, not {len(secret)}")
        self._secret = bytes(secret)
        signing = Ed25519PrivateKey.from_private_bytes(self._secret[KEY_BYTES:])
        self.exchange = X25519PrivateKey.from_private_bytes(self._secret[:KEY_BYTES])
        self.sign = signing.sign
        self.public = PublicKeys(self.exchange.public_key().public_bytes_raw(), signing.public_key().public_bytes_raw())
        self.kid = key_id(self.public.signing_key)

    @classmethod
    def generate(cls, entropy: Callable[[int], bytes]) -> Self:
        """New keys from 64 bytes of ``entropy``."""
        return cls(entropy(SECRET_BYTES))

    @classmethod
    def from_bytes(cls, secret: bytes) -> Self:
        """The keys that :meth:`to_bytes` wrote. Raises LocalProtocolError unless there are 64 bytes."""
        return cls(secret)

    def to_bytes(self) -> bytes:
        """Both secrets, 64 bytes. Whoever reads them is this identity."""
        return self._secret

    def __eq__(self, other: object) -> bool:
        return self.public == other.public if isinstance(other, SecretKeys) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.public)

    def __repr__(self) -> str:
        return f"<SecretKeys kid={self.kid.hex()[:16]}>"
