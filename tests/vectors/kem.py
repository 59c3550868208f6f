"""The one thing that cannot be drawn from a label: encapsulations of ML-KEM, whose randomness the cryptography package
draws by itself. ``encapsulations.json`` keeps those that were made, by the hash of the public key that they are for. A
public key follows from a label, so the same vectors find the same encapsulations.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from ratatoskr.channel import SUITES, KemKey, Suite
from ratatoskr.channel.suites import ML_KEM_768

FILE = Path(__file__).with_name("encapsulations.json")
ABOUT = "Ciphertext and shared secret of each encapsulation in the vectors, by SHA-256 of the public key."


class Encapsulations:
    """ML-KEM-768 that gives out what it gave out before. ``used``: what this run needed."""

    public_bytes = ML_KEM_768.public_bytes
    ciphertext_bytes = ML_KEM_768.ciphertext_bytes

    def __init__(self) -> None:
        kept = json.loads(FILE.read_text(encoding="utf-8"))["encapsulations"] if FILE.exists() else {}
        self._kept: dict[str, list[str]] = kept
        self.used: dict[str, list[str]] = {}

    def forget(self) -> None:
        """A new run begins."""
        self.used.clear()

    def keypair(self, entropy: Callable[[int], bytes]) -> KemKey:
        return ML_KEM_768.keypair(entropy)

    def encapsulate(self, public: bytes, entropy: Callable[[int], bytes]) -> tuple[bytes, bytes]:
        name = sha256(public).hexdigest()
        if name not in self._kept:
            ciphertext, shared = ML_KEM_768.encapsulate(public, entropy)
            self._kept[name] = [ciphertext.hex(), shared.hex()]
        self.used[name] = self._kept[name]
        ciphertext, shared = map(bytes.fromhex, self._kept[name])
        return ciphertext, shared


KEM = Encapsulations()


def suite(number: int) -> Suite:
    """A published suite whose encapsulations repeat."""
    published = SUITES[number]
    return published if published.kem is None else replace(published, kem=KEM)


def make() -> dict[str, object]:
    """encapsulations.json; after everything else was made."""
    return {"about": ABOUT, "encapsulations": dict(sorted(KEM.used.items()))}
