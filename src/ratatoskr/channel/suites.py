"""Cipher suites: the names on the wire and the algorithms behind them.

Every suite uses X25519 and SHA-256. A *hybrid* suite adds a key encapsulation mechanism, so that a recording
stays closed to whoever can break X25519 later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Final, Protocol, TypeAlias

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

Entropy: TypeAlias = Callable[[int], bytes]
"""Returns that many unpredictable bytes. Every key of this floor is made from what it returns."""

TAG_BYTES: Final = 16
"""What every AEAD of ours adds to a plaintext."""


class Aead(Protocol):
    """Authenticated encryption under one key. ``decrypt`` raises ``InvalidTag`` for whatever does not verify."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """The ciphertext, followed by its tag."""
        ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """The plaintext."""
        ...


class KemKey(Protocol):
    """The private half of one key pair of a :class:`Kem`."""

    @property
    def public(self) -> bytes:
        """The public half: ``Kem.public_bytes`` bytes."""
        ...

    def decapsulate(self, ciphertext: bytes, /) -> bytes:
        """The shared secret that the ciphertext carries; raises ``ValueError`` if it has the wrong form."""
        ...


class Kem(Protocol):
    """A key encapsulation mechanism."""

    @property
    def public_bytes(self) -> int:
        """Length of a public key."""
        ...

    @property
    def ciphertext_bytes(self) -> int:
        """Length of a ciphertext."""
        ...

    def keypair(self, entropy: Entropy, /) -> KemKey:
        """A new key pair."""
        ...

    def encapsulate(self, public: bytes, entropy: Entropy, /) -> tuple[bytes, bytes]:
        """A ciphertext for the key's owner and the shared secret in it; raises ``ValueError`` for an invalid key."""
        ...


class MlKem768:
    """ML-KEM-768 (FIPS 203)."""

    __slots__ = ()
    public_bytes: int = 1184
    ciphertext_bytes: int = 1088

    def keypair(self, entropy: Entropy) -> KemKey:
        """A key pair from 64 bytes of entropy: d and z of FIPS 203, algorithm 16."""
        return _MlKem768Key(MLKEM768PrivateKey.from_seed_bytes(entropy(64)))

    def encapsulate(self, public: bytes, entropy: Entropy) -> tuple[bytes, bytes]:
        """Ciphertext (1088 bytes) and shared secret (32 bytes).

        The cryptography package draws the randomness of an encapsulation itself, so ``entropy`` is left alone.
        """
        del entropy
        shared, ciphertext = MLKEM768PublicKey.from_public_bytes(public).encapsulate()
        return ciphertext, shared


class _MlKem768Key:
    __slots__ = ("_key", "public")

    def __init__(self, key: MLKEM768PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    def decapsulate(self, ciphertext: bytes) -> bytes:
        return self._key.decapsulate(ciphertext)


@dataclass(frozen=True, slots=True)
class Suite:
    """One set of algorithms under one number.

    ``name`` is the Noise protocol name, ``aead`` makes a cipher from a 32-byte key, ``nonce`` encodes a record
    counter as 12 bytes, ``kem`` is None in classic suites. Numbers from 0xFF00 are for private use.
    """

    id: int
    name: str
    aead: Callable[[bytes], Aead]
    nonce: Callable[[int], bytes]
    kem: Kem | None


# Noise revision 34, section 12: 32 zero bits, then the counter, each cipher in the byte order of its own standard.
AESGCM_NONCE: Final[Callable[[int], bytes]] = Struct(">4xQ").pack
CHACHAPOLY_NONCE: Final[Callable[[int], bytes]] = Struct("<4xQ").pack

ML_KEM_768: Final = MlKem768()

XXHFS_AESGCM: Final = Suite(0x0001, "Noise_XXhfs_25519+MLKEM768_AESGCM_SHA256", AESGCM, AESGCM_NONCE, ML_KEM_768)
"""The default."""
XXHFS_CHACHAPOLY: Final = Suite(
    0x0002, "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_SHA256", ChaCha20Poly1305, CHACHAPOLY_NONCE, ML_KEM_768
)
XX_AESGCM: Final = Suite(0x0011, "Noise_XX_25519_AESGCM_SHA256", AESGCM, AESGCM_NONCE, None)
XX_CHACHAPOLY: Final = Suite(0x0012, "Noise_XX_25519_ChaChaPoly_SHA256", ChaCha20Poly1305, CHACHAPOLY_NONCE, None)

SUITES: Final = {suite.id: suite for suite in (XXHFS_AESGCM, XXHFS_CHACHAPOLY, XX_AESGCM, XX_CHACHAPOLY)}
"""The published suites by number."""
