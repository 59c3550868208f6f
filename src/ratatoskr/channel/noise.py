"""The Noise Protocol Framework, revision 34, with the hybrid tokens e1 and ekem1: patterns as data, one interpreter.

A message is written in two steps, and read in two, because our payloads carry a signature over the transcript
hash as it stands before the payload enters it::

    state.write_tokens()                     state.read_tokens(message)
    h = state.h                              h = state.h
    message = state.write_payload(payload)   payload = state.read_payload()

The interpreter trusts its caller about the order of these calls; :mod:`ratatoskr.channel.handshake` keeps it.
Whatever the peer sends raises :class:`ProtocolFault` with ``Fault.REFUSED``, and nothing else. After a fault the
state is of no further use.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from ratatoskr.channel.suites import TAG_BYTES, Entropy, Kem, KemKey, Suite
from ratatoskr.errors import Fault, ProtocolFault

KEY_BYTES: Final = 32
"""An X25519 key, a cipher key, a hash."""
MAX_COUNTER: Final = 2**64 - 1
"""Never the counter of a message: Noise reserves it for rekeying."""

_FIELD_PRIME: Final = 2**255 - 19

Token: TypeAlias = Literal["e", "s", "e1", "ee", "es", "se", "ss", "ekem1"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A handshake pattern. The initiator sends the first message; ``known`` names who is known beforehand."""

    messages: tuple[tuple[Token, ...], ...]
    initiator_known: bool = False
    responder_known: bool = False


XX: Final = Pattern((("e",), ("e", "ee", "s", "es"), ("s", "se")))
XXHFS: Final = Pattern((("e", "e1"), ("e", "ee", "ekem1", "s", "es"), ("s", "se")))


def refused(rule: str, detail: str) -> ProtocolFault:
    """The fault of a handshake that the peer got wrong."""
    return ProtocolFault(Fault.REFUSED, rule, detail)


def rekeyed(suite: Suite, encrypt: Callable[[bytes, bytes, bytes | None], bytes]) -> bytes:
    """REKEY(k) of section 4.2, given the encrypting function of the cipher under k."""
    return encrypt(suite.nonce(MAX_COUNTER), bytes(KEY_BYTES), None)[:KEY_BYTES]


class CipherState:
    """One key and its counter, section 5.1."""

    __slots__ = ("_aead", "_nonce", "counter")

    def __init__(self, suite: Suite, key: bytes) -> None:
        self._aead = suite.aead(key)
        self._nonce = suite.nonce
        self.counter: int = 0

    def encrypt(self, associated_data: bytes, plaintext: bytes) -> bytes:
        """The ciphertext, tag included."""
        ciphertext = self._aead.encrypt(self._nonce(self.counter), plaintext, associated_data)
        self.counter += 1
        return ciphertext

    def decrypt(self, associated_data: bytes, ciphertext: bytes) -> bytes:
        """The plaintext. The counter moves only when the ciphertext verifies."""
        try:
            plaintext = self._aead.decrypt(self._nonce(self.counter), ciphertext, associated_data)
        except InvalidTag:
            raise refused("noise.forged", "a handshake message does not authenticate") from None
        self.counter += 1
        return plaintext


class SymmetricState:
    """The chaining key, the transcript hash and the cipher between them, section 5.2."""

    __slots__ = ("_ck", "_suite", "cipher", "h")

    def __init__(self, suite: Suite) -> None:
        name = suite.name.encode("ascii")
        self.h: bytes = name.ljust(KEY_BYTES, b"\0") if len(name) <= KEY_BYTES else sha256(name).digest()
        self._ck = self.h
        self._suite = suite
        self.cipher: CipherState | None = None

    def mix_key(self, secret: bytes) -> None:
        """Derive the next chaining key and cipher key from a shared secret."""
        self._ck, key = self._hkdf(secret)
        self.cipher = CipherState(self._suite, key)

    def mix_hash(self, data: bytes) -> None:
        """Let the transcript hash cover ``data``."""
        self.h = sha256(self.h + data).digest()

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """What goes on the wire: the ciphertext, or the plaintext while there is no key."""
        sent = plaintext if self.cipher is None else self.cipher.encrypt(self.h, plaintext)
        self.mix_hash(sent)
        return sent

    def decrypt_and_hash(self, received: bytes) -> bytes:
        """The plaintext of what came from the wire."""
        plaintext = received if self.cipher is None else self.cipher.decrypt(self.h, received)
        self.mix_hash(received)
        return plaintext

    def derive(self, info: bytes) -> bytes:
        """HMAC-SHA256 of ``info`` under the chaining key."""
        return hmac.digest(self._ck, info, "sha256")

    def split(self) -> tuple[bytes, bytes]:
        """The keys of the two directions, the initiator's first. The chaining key and the cipher are dropped."""
        keys = self._hkdf(b"")
        self._ck = b""
        self.cipher = None
        return keys

    def _hkdf(self, secret: bytes) -> tuple[bytes, bytes]:
        extracted = hmac.digest(self._ck, secret, "sha256")
        first = hmac.digest(extracted, b"\x01", "sha256")
        return first, hmac.digest(extracted, first + b"\x02", "sha256")


class HandshakeState:
    """One side of one handshake, section 5.3.

    ``static`` is this side's static key and ``remote_static`` the peer's, where the pattern needs them.
    """

    __slots__ = (
        "_entropy", "_initiator", "_kem_private", "_kem_public", "_local", "_message", "_pattern", "_remote",
        "_rest", "_suite", "_symmetric", "_turn",
    )  # fmt: skip

    def __init__(
        self,
        pattern: Pattern,
        suite: Suite,
        *,
        initiator: bool,
        prologue: bytes,
        entropy: Entropy,
        static: X25519PrivateKey | None = None,
        remote_static: bytes | None = None,
    ) -> None:
        self._pattern = pattern
        self._suite = suite
        self._initiator = initiator
        self._entropy = entropy
        self._symmetric = symmetric = SymmetricState(suite)
        self._local: dict[str, X25519PrivateKey] = {}
        self._remote: dict[str, bytes] = {}
        self._kem_private: KemKey | None = None
        self._kem_public = b""
        self._message = b""
        self._rest = b""
        self._turn = 0
        symmetric.mix_hash(prologue)
        if static is not None:
            self._local["s"] = static
        if remote_static is not None:
            self._remote["s"] = remote_static
        for known, ours in ((pattern.initiator_known, initiator), (pattern.responder_known, not initiator)):
            if known:
                symmetric.mix_hash(self._public("s") if ours else self._remote["s"])

    @property
    def h(self) -> bytes:
        """The transcript hash, 32 bytes, over all that was written or read so far."""
        return self._symmetric.h

    @property
    def remote_static(self) -> bytes:
        """The peer's static public key, 32 bytes, once it was read."""
        return self._remote["s"]

    def write_tokens(self) -> None:
        """Begin the next message with the keys of its pattern.

        Raises :class:`ProtocolFault` when the peer's keys of an earlier message turn out to be unusable.
        """
        self._message = b"".join(map(self._write, self._pattern.messages[self._turn]))

    def write_payload(self, payload: bytes) -> bytes:
        """End the message; returns the whole of it."""
        self._turn += 1
        return self._message + self._symmetric.encrypt_and_hash(payload)

    def read_tokens(self, message: bytes) -> None:
        """Read the keys at the beginning of the next message."""
        self._rest = message
        for token in self._pattern.messages[self._turn]:
            self._read(token)

    def read_payload(self) -> bytes:
        """Read the rest of the message."""
        self._turn += 1
        return self._symmetric.decrypt_and_hash(self._rest)

    def derive(self, info: bytes) -> bytes:
        """HMAC-SHA256 of ``info`` under the chaining key: a secret of this handshake, to be taken before the split."""
        return self._symmetric.derive(info)

    def split(self) -> tuple[bytes, bytes]:
        """The keys of the two directions, the initiator's first. Every other secret is dropped."""
        self._local.clear()
        self._kem_private = None
        return self._symmetric.split()

    def _write(self, token: Token) -> bytes:
        symmetric = self._symmetric
        match token:
            case "e":
                self._local["e"] = X25519PrivateKey.from_private_bytes(self._entropy(KEY_BYTES))
                public = self._public("e")
                symmetric.mix_hash(public)
                return public
            case "s":
                return symmetric.encrypt_and_hash(self._public("s"))
            case "e1":
                self._kem_private = private = self._kem.keypair(self._entropy)
                return symmetric.encrypt_and_hash(private.public)
            case "ekem1":
                try:
                    ciphertext, shared = self._kem.encapsulate(self._kem_public, self._entropy)
                except ValueError:
                    raise refused("noise.kem-key", "the peer's KEM key is not valid") from None
                sent = symmetric.encrypt_and_hash(ciphertext)
                symmetric.mix_key(shared)
                return sent
            case _:
                self._mix_dh(token)
                return b""

    def _read(self, token: Token) -> None:
        symmetric = self._symmetric
        match token:
            case "e":
                self._remote["e"] = public = _canonical(self._take(KEY_BYTES))
                symmetric.mix_hash(public)
            case "s":
                self._remote["s"] = _canonical(self._take_encrypted(KEY_BYTES))
            case "e1":
                self._kem_public = self._take_encrypted(self._kem.public_bytes)
            case "ekem1":
                assert self._kem_private is not None
                ciphertext = self._take_encrypted(self._kem.ciphertext_bytes)
                try:
                    shared = self._kem_private.decapsulate(ciphertext)
                except ValueError:
                    raise refused("noise.kem-ciphertext", "the peer's KEM ciphertext is not valid") from None
                symmetric.mix_key(shared)
            case _:
                self._mix_dh(token)

    def _mix_dh(self, token: str) -> None:
        """Token xy: the initiator's key x with the responder's key y."""
        ours, theirs = (token[0], token[1]) if self._initiator else (token[1], token[0])
        try:
            shared = self._local[ours].exchange(X25519PublicKey.from_public_bytes(self._remote[theirs]))
        except ValueError:
            raise refused("noise.small-order", "an X25519 key of the peer has small order") from None
        self._symmetric.mix_key(shared)

    @property
    def _kem(self) -> Kem:
        kem = self._suite.kem
        assert kem is not None, "a pattern with e1 goes with a suite that has a KEM"
        return kem

    def _public(self, name: str) -> bytes:
        return self._local[name].public_key().public_bytes_raw()

    def _take(self, length: int) -> bytes:
        if len(self._rest) < length:
            raise refused("noise.short", "a handshake message ends before its last key")
        taken, self._rest = self._rest[:length], self._rest[length:]
        return taken

    def _take_encrypted(self, length: int) -> bytes:
        tag = 0 if self._symmetric.cipher is None else TAG_BYTES
        return self._symmetric.decrypt_and_hash(self._take(length + tag))


def _canonical(public: bytes) -> bytes:
    """One encoding for one key: bit 255 clear and u below the prime of the field."""
    if int.from_bytes(public, "little") >= _FIELD_PRIME:
        raise refused("noise.non-canonical", "an X25519 key of the peer is not canonical")
    return public
