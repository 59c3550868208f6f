"""A waiter for tests without a runtime, and claims."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Generic, TypeVar

from ratatoskr.service import Claim, Entry, OnceKey

T = TypeVar("T")

NOW = 1_700_000_000.0
OUTCOME = b"\x00an outcome\xff"
KEEP = NOW + 2000
HELD = Entry(b"digest", b"owner", NOW + 60)
"""What is held where :func:`claim` was claimed."""
Db = sqlite3.Connection


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


# An application's table


def create(db: Db) -> None:
    db.execute("CREATE TABLE effects (text TEXT)")


def insert(text: str) -> Callable[[Db], None]:
    def effect(db: Db) -> None:
        db.execute("INSERT INTO effects VALUES (?)", (text,))

    return effect


def effects(db: Db) -> list[str]:
    return [text for (text,) in db.execute("SELECT text FROM effects ORDER BY rowid")]
