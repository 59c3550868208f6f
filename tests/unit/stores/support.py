"""A waiter for tests without a runtime, and claims."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future
from typing import Generic, TypeVar

from ratatoskr.service import Claim, OnceKey

T = TypeVar("T")

NOW = 1_700_000_000.0
OUTCOME = b"\x00an outcome\xff"


class Blocking(Generic[T]):
    """Awaits a future by blocking: the whole runtime of a test that does one thing at a time."""

    def __init__(self, future: Future[T], /) -> None:
        self._future = future

    def __await__(self) -> Generator[None, None, T]:
        yield from ()
        return self._future.result(timeout=30)


def claim(
    nonce: bytes = b"nonce",
    *,
    tenant: str = "tenant",
    subject: str = "subject",
    digest: bytes = b"digest",
    owner: bytes = b"owner",
    lease: float = 60.0,
    keep: float = 1000.0,
) -> Claim:
    return Claim(OnceKey(tenant, subject, nonce), digest, owner, NOW + lease, NOW + keep)
