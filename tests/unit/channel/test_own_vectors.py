"""Our own vectors: the handshake gives them, and so does the specification computed line by line."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from ratatoskr.channel import SUITES
from tests.vectors.make_channel import FILE, run, secrets_of

VECTORS: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["vectors"]
each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])


def test_every_suite_has_a_vector() -> None:
    assert [vector["suite"] for vector in VECTORS] == list(SUITES)


@each_vector
def test_the_handshake_gives_the_vector(vector: dict[str, Any]) -> None:
    known = [*secrets_of(vector["suite"]), "kem_ciphertext", "kem_shared"]
    assert run(vector["suite"], {name: vector[name] for name in known if name in vector}) == vector


class ByHand:
    """Noise without an interpreter: the few functions of section 5, for one suite."""

    def __init__(self, name: str, prologue: bytes) -> None:
        self.aes = "AESGCM" in name
        self.h = name.encode().ljust(32, b"\0") if len(name) <= 32 else sha256(name.encode()).digest()
        self.ck = self.h
        self.k = b""
        self.n = 0
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> bytes:
        self.h = sha256(self.h + data).digest()
        return data

    def mix_key(self, secret: bytes) -> None:
        self.ck, self.k = self.hkdf(secret)
        self.n = 0

    def hkdf(self, secret: bytes) -> tuple[bytes, bytes]:
        prk = hmac.digest(self.ck, secret, "sha256")
        first = hmac.digest(prk, b"\1", "sha256")
        return first, hmac.digest(prk, first + b"\2", "sha256")

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        sealed = self.aead(self.k, self.n, self.h, plaintext) if self.k else plaintext
        self.n += 1
        return self.mix_hash(sealed)

    def aead(self, key: bytes, counter: int, data: bytes, plaintext: bytes) -> bytes:
        if self.aes:
            return AESGCM(key).encrypt(bytes(4) + counter.to_bytes(8, "big"), plaintext, data)
        return ChaCha20Poly1305(key).encrypt(bytes(4) + counter.to_bytes(8, "little"), plaintext, data)


def dh(private: bytes, public: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def read(vector: dict[str, Any]) -> Callable[[str], bytes]:
    return lambda name: bytes.fromhex(vector[name])


@each_vector
def test_the_vector_follows_from_the_specification(vector: dict[str, Any]) -> None:
    of = read(vector)
    name = vector["server_name"].encode()
    h1 = b"RTSK" + bytes([1]) + vector["suite"].to_bytes(2, "big") + bytes([len(name)]) + name
    noise = ByHand(vector["name"], b"ratatoskr-v1" + b"\0" + h1)

    m1 = noise.mix_hash(public(of("client_ephemeral")))
    kem = MLKEM768PrivateKey.from_seed_bytes(of("client_kem_seed")) if "hfs" in vector["name"] else None
    if kem is not None:
        m1 += noise.encrypt_and_hash(kem.public_key().public_bytes_raw())
    m1 += noise.encrypt_and_hash(b"")
    assert h1 + m1 == of("m1")

    m2 = noise.mix_hash(public(of("server_ephemeral")))
    noise.mix_key(dh(of("server_ephemeral"), public(of("client_ephemeral"))))
    if kem is not None:
        assert kem.decapsulate(of("kem_ciphertext")) == of("kem_shared")
        m2 += noise.encrypt_and_hash(of("kem_ciphertext"))
        noise.mix_key(of("kem_shared"))
    m2 += noise.encrypt_and_hash(public(of("server_static")))
    noise.mix_key(dh(of("server_static"), public(of("client_ephemeral"))))
    assert noise.h == of("h_2")
    m2 += noise.encrypt_and_hash(of("payload_2"))
    assert m2 == of("m2")

    m3 = noise.encrypt_and_hash(public(of("client_static")))
    noise.mix_key(dh(of("client_static"), public(of("server_ephemeral"))))
    assert noise.h == of("h_3")
    m3 += noise.encrypt_and_hash(of("payload_3"))
    assert m3 == of("m3")
    assert noise.h == of("h")

    prk = hmac.digest(noise.ck, b"ratatoskr-v1 exporter" + b"\0" + noise.h, "sha256")
    for label, field in ((b"session-id", "session_id"), (b"resume", "resume_secret")):
        info = b"ratatoskr-v1 " + label + b"\0" + sha256(b"").digest()
        assert hmac.digest(prk, info + b"\1", "sha256") == of(field)  # one block of HKDF-Expand

    client_key, server_key = noise.hkdf(b"")
    check_records(noise, client_key, vector["client_records"], [0x10, 0x11, 0x10])
    check_records(noise, server_key, vector["server_records"], [0x04, 0x10, 0x11, 0x10])


def check_records(noise: ByHand, key: bytes, records: list[dict[str, str]], kinds: list[int]) -> None:
    assert len(records) == len(kinds)
    for counter, (kind, entry) in enumerate(zip(kinds, records, strict=True)):
        plaintext = bytes.fromhex(entry["plaintext"])
        header = bytes([kind]) + (len(plaintext) + 16).to_bytes(3, "big")
        assert (header + noise.aead(key, counter, header, plaintext)).hex() == entry["record"]
        if kind == 0x11:
            key = noise.aead(key, 2**64 - 1, b"", bytes(32))[:32]
