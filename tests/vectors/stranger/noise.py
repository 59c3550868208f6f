"""docs/spec/handshake.md: both ends of a handshake, with everything that they hold after each step."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

NAMES = {
    0x0001: "Noise_XXhfs_25519+MLKEM768_AESGCM_SHA256",
    0x0002: "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_SHA256",
    0x0011: "Noise_XX_25519_AESGCM_SHA256",
    0x0012: "Noise_XX_25519_ChaChaPoly_SHA256",
}
PRIME = 2**255 - 19
TAG = 16
PUBLIC, KEM_PUBLIC, KEM_CIPHERTEXT = 32, 1184, 1088
NAME_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._:-")


class Refused(Exception):
    """A rule was broken."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


def require(holds: object, rule: str) -> None:
    if not holds:
        raise Refused(rule)


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def hybrid(suite: int) -> bool:
    return "hfs" in NAMES[suite]


def aead(suite: int, key: bytes, counter: int) -> tuple[AESGCM | ChaCha20Poly1305, bytes]:
    """The cipher, and the nonce of that counter."""
    if "AESGCM" in NAMES[suite]:
        return AESGCM(key), bytes(4) + counter.to_bytes(8, "big")
    return ChaCha20Poly1305(key), bytes(4) + counter.to_bytes(8, "little")


def public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def h1(suite: int, name: bytes) -> bytes:
    return b"RTSK" + bytes([1]) + suite.to_bytes(2, "big") + bytes([len(name)]) + name


def read_h1(m1: bytes, accepted: list[int]) -> tuple[int, bytes, bytes]:
    """Suite, H1, and what follows."""
    require(len(m1) >= 8, "handshake.short")
    require(m1[:4] == b"RTSK", "handshake.magic")
    require(m1[4] == 1, "handshake.version")
    suite, length = int.from_bytes(m1[5:7], "big"), m1[7]
    name = m1[8 : 8 + length]
    require(0 < length == len(name) and set(name) <= NAME_CHARACTERS, "handshake.server-name")
    require(suite in accepted, "handshake.suite")
    whole = 8 + length + PUBLIC + (KEM_PUBLIC if hybrid(suite) else 0)
    require(len(m1) == whole, "handshake.length")
    return suite, m1[: 8 + length], m1[8 + length :]


@dataclass
class Secrets:
    """What one end draws and holds. ``kem_seed``: a client's. ``encapsulated``: a server's ciphertext and secret."""

    static: bytes
    ephemeral: bytes
    kem_seed: bytes = b""
    encapsulated: tuple[bytes, bytes] = (b"", b"")


@dataclass
class Step:
    """What is held behind one step."""

    message: int
    token: str
    h: str
    ck: str
    k: str
    n: int


@dataclass
class Handshake:
    """One end. ``sign`` gets ``h`` and returns a whole payload; what is read is kept in ``payloads`` with its ``h``."""

    suite: int
    h1: bytes
    client: bool
    secrets: Secrets
    steps: list[Step] = field(default_factory=list)
    payloads: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    theirs: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = NAMES[self.suite].encode()
        self.h = name.ljust(32, b"\0") if len(name) <= 32 else sha256(name).digest()
        self.ck, self.k, self.n = self.h, b"", 0
        self._rest = b""
        self._mix_hash(b"ratatoskr-v1\0" + self.h1)
        self._note(0, "prologue")

    # Section "State"

    def _mix_hash(self, data: bytes) -> None:
        self.h = sha256(self.h + data).digest()

    def _mix_key(self, secret: bytes) -> None:
        temp = mac(self.ck, secret)
        self.ck = mac(temp, b"\1")
        self.k, self.n = mac(temp, self.ck + b"\2"), 0

    def _encrypt(self, plaintext: bytes) -> bytes:
        sent = plaintext
        if self.k:
            cipher, nonce = aead(self.suite, self.k, self.n)
            sent = cipher.encrypt(nonce, plaintext, self.h)
            self.n += 1
        self._mix_hash(sent)
        return sent

    def _decrypt(self, received: bytes) -> bytes:
        plaintext = received
        if self.k:
            cipher, nonce = aead(self.suite, self.k, self.n)
            try:
                plaintext = cipher.decrypt(nonce, received, self.h)
            except InvalidTag:
                raise Refused("noise.forged") from None
            self.n += 1
        self._mix_hash(received)
        return plaintext

    def _note(self, message: int, token: str) -> None:
        self.steps.append(Step(message, token, self.h.hex(), self.ck.hex(), self.k.hex(), self.n))

    # Section "Messages"

    def _tokens(self, message: int) -> list[str]:
        tokens = {1: ["e", "e1"], 2: ["e", "ee", "ekem1", "s", "es"], 3: ["s", "se"]}[message]
        return [token for token in tokens if hybrid(self.suite) or token not in {"e1", "ekem1"}]

    def write(self, message: int, sign: Callable[[bytes], bytes] = lambda _: b"") -> bytes:
        """The message, without H1."""
        sent = b""
        for token in self._tokens(message):
            sent += self._write(token)
            self._note(message, token)
        payload = sign(self.h)
        self.payloads[message] = (payload, self.h)
        sent += self._encrypt(payload)
        self._note(message, "payload")
        return sent

    def _write(self, token: str) -> bytes:
        own = self.secrets
        if token == "e":
            self._mix_hash(public(own.ephemeral))
            return public(own.ephemeral)
        if token == "s":
            return self._encrypt(public(own.static))
        if token == "e1":
            return self._encrypt(MLKEM768PrivateKey.from_seed_bytes(own.kem_seed).public_key().public_bytes_raw())
        if token == "ekem1":
            try:
                MLKEM768PublicKey.from_public_bytes(self.theirs["e1"])
            except ValueError:
                raise Refused("noise.kem-key") from None
            ciphertext, shared = own.encapsulated
            sent = self._encrypt(ciphertext)
            self._mix_key(shared)
            return sent
        self._dh(token)
        return b""

    def read(self, message: int, received: bytes) -> None:
        """Take the message in. Raises Refused."""
        self._rest = received
        for token in self._tokens(message):
            self._read(token)
            self._note(message, token)
        require(message == 1 or self.theirs["s"] != public(self.secrets.static), "handshake.reflected")
        h = self.h
        payload = self._decrypt(self._rest)
        self._note(message, "payload")
        require(message == 1 or len(payload) >= 64, "handshake.signature")
        self.payloads[message] = (payload, h)

    def _read(self, token: str) -> None:
        if token == "e":
            self.theirs["e"] = self._canonical(self._take(PUBLIC))
            self._mix_hash(self.theirs["e"])
        elif token == "s":
            self.theirs["s"] = self._canonical(self._take_encrypted(PUBLIC))
        elif token == "e1":
            self.theirs["e1"] = self._take_encrypted(KEM_PUBLIC)
        elif token == "ekem1":
            ciphertext = self._take_encrypted(KEM_CIPHERTEXT)
            self._mix_key(MLKEM768PrivateKey.from_seed_bytes(self.secrets.kem_seed).decapsulate(ciphertext))
        else:
            self._dh(token)

    def _dh(self, token: str) -> None:
        ours, theirs = (token[0], token[1]) if self.client else (token[1], token[0])
        private = self.secrets.ephemeral if ours == "e" else self.secrets.static
        try:
            shared = X25519PrivateKey.from_private_bytes(private).exchange(
                X25519PublicKey.from_public_bytes(self.theirs[theirs])
            )
        except ValueError:
            raise Refused("noise.small-order") from None
        self._mix_key(shared)

    def _take(self, length: int) -> bytes:
        require(len(self._rest) >= length, "noise.short")
        taken, self._rest = self._rest[:length], self._rest[length:]
        return taken

    def _take_encrypted(self, length: int) -> bytes:
        return self._decrypt(self._take(length + (TAG if self.k else 0)))

    @staticmethod
    def _canonical(key: bytes) -> bytes:
        require(int.from_bytes(key, "little") < PRIME, "noise.non-canonical")
        return key

    # Sections "Exports" and "Split"

    @property
    def prk(self) -> bytes:
        return mac(self.ck, b"ratatoskr-v1 exporter\0" + self.h)

    def export(self, label: bytes) -> bytes:
        """32 bytes for the empty context: one block of HKDF-Expand."""
        return mac(self.prk, b"ratatoskr-v1 " + label + b"\0" + sha256(b"").digest() + b"\1")

    def split(self) -> tuple[bytes, bytes]:
        """The client's key, and the server's."""
        temp = mac(self.ck, b"")
        client = mac(temp, b"\1")
        return client, mac(temp, client + b"\2")


def transcript(label: bytes, h: bytes, body: bytes) -> bytes:
    """What sigS and sigC sign."""
    return b" " * 64 + label + b"\0" + h + sha256(body).digest()
