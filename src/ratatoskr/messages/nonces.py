"""Nonces: the idempotency keys of requests.

A nonce that follows from a business key is the same in a retry, in a restarted process and in a second run of the
command line, so that the receiver recognizes the request. Other nonces come from the injected entropy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256

NONCE_BYTES = 16
_POOL_NONCES = 64


def business_nonce(type: int, operation: int, key: bytes) -> bytes:
    """``SHA256("ratatoskr-v1 nonce" ‖ 00 ‖ type u32 ‖ operation u32 ‖ key)[:16]``."""
    return sha256(_nonce_prefix(type, operation) + key).digest()[:NONCE_BYTES]


@lru_cache(maxsize=256)
def _nonce_prefix(type: int, operation: int) -> bytes:
    return b"ratatoskr-v1 nonce\0" + type.to_bytes(4, "big") + operation.to_bytes(4, "big")


class NonceSource:
    """Fresh nonces, drawn from the entropy in pools: a call to the operating system costs more than a slice."""

    __slots__ = ("_entropy", "_pool")

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._pool: list[bytes] = []

    def fresh(self) -> bytes:
        """16 bytes that were not handed out before."""
        if not self._pool:
            drawn = self._entropy(NONCE_BYTES * _POOL_NONCES)
            self._pool = [drawn[i : i + NONCE_BYTES] for i in range(0, len(drawn), NONCE_BYTES)]
        return self._pool.pop()
