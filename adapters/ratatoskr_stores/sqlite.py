"""SqliteStore: claims and outcomes in a file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from os import PathLike, fspath
from types import TracebackType
from typing import Self, TypeVar

from ratatoskr.service import Claim, Entry, SubjectFull
from ratatoskr_stores.database import Database, Waiter, in_transaction
from ratatoskr_stores.transaction import SqliteTransaction

T = TypeVar("T")

_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS ratatoskr_once (
        tenant TEXT NOT NULL,
        subject TEXT NOT NULL,
        nonce BLOB NOT NULL,
        digest BLOB NOT NULL,
        owner BLOB NOT NULL,
        lease_until REAL NOT NULL,
        keep_until REAL NOT NULL,
        outcome BLOB,
        atomic INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (tenant, subject, nonce)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS ratatoskr_once_keep_until ON ratatoskr_once (keep_until)",
    """
    CREATE TABLE IF NOT EXISTS ratatoskr_once_counts (
        tenant TEXT NOT NULL,
        subject TEXT NOT NULL,
        entries INTEGER NOT NULL,
        PRIMARY KEY (tenant, subject)
    ) WITHOUT ROWID
    """,
    """
    INSERT INTO ratatoskr_once_counts
    SELECT tenant, subject, count(*) FROM ratatoskr_once
    WHERE NOT EXISTS (SELECT 1 FROM ratatoskr_once_counts) GROUP BY tenant, subject
    """,
    """
    CREATE TRIGGER IF NOT EXISTS ratatoskr_once_more AFTER INSERT ON ratatoskr_once BEGIN
        INSERT INTO ratatoskr_once_counts VALUES (NEW.tenant, NEW.subject, 1)
        ON CONFLICT DO UPDATE SET entries = entries + 1;
    END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS ratatoskr_once_less AFTER DELETE ON ratatoskr_once BEGIN
        UPDATE ratatoskr_once_counts SET entries = entries - 1 WHERE tenant = OLD.tenant AND subject = OLD.subject;
        DELETE FROM ratatoskr_once_counts WHERE tenant = OLD.tenant AND subject = OLD.subject AND entries = 0;
    END
    """,
)
"""Entries are counted as they come and go: counting 100,000 of one subject takes 20 ms, for each claim."""
_KEY = "tenant = ? AND subject = ? AND nonce = ?"
_CLAIM = """
INSERT INTO ratatoskr_once (tenant, subject, nonce, digest, owner, lease_until, keep_until, atomic)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_LOOK = f"SELECT digest, owner, lease_until, outcome, atomic, keep_until FROM ratatoskr_once WHERE {_KEY}"  # noqa: S608
_COUNT = "SELECT entries FROM ratatoskr_once_counts WHERE tenant = ? AND subject = ?"
_KEEP = f"UPDATE ratatoskr_once SET keep_until = ? WHERE {_KEY}"  # noqa: S608
_TAKE_OVER = f"""
UPDATE ratatoskr_once SET owner = ?, lease_until = ?, keep_until = max(keep_until, ?), atomic = ?
WHERE {_KEY} AND digest = ? AND owner = ? AND lease_until = ? AND atomic = ? AND outcome IS NULL
"""  # noqa: S608
_COMPLETE = f"""
UPDATE ratatoskr_once SET outcome = ?, keep_until = max(keep_until, ?)
WHERE {_KEY} AND owner = ? AND outcome IS NULL
"""  # noqa: S608
_RELEASE = f"DELETE FROM ratatoskr_once WHERE {_KEY} AND owner = ? AND outcome IS NULL"  # noqa: S608
_RENEW = f"UPDATE ratatoskr_once SET lease_until = ? WHERE {_KEY} AND owner = ? AND outcome IS NULL"  # noqa: S608
_PURGE = """
DELETE FROM ratatoskr_once WHERE (tenant, subject, nonce) IN (
    SELECT tenant, subject, nonce FROM ratatoskr_once
    WHERE keep_until <= :now AND (outcome IS NOT NULL OR lease_until <= :now) LIMIT :limit
)
"""


class SqliteStore:
    """At most once across restarts, crashes and processes: a WAL journal with ``synchronous=FULL``.

    What survives: claims and outcomes are on disk before anybody hears of them, so they survive restarts, ``kill -9``
    and power loss, as far as the disk keeps what it has confirmed. Processes of one machine may share the file; a
    network file system may not hold it. A process that dies between claim and outcome leaves a claim that is executed
    again only as its handler has declared by ``recover=``; without that, callers hear that its outcome is unknown, also
    where ``begin()`` has rolled its effect back. What does not survive is the loss of the file: every key is free then.

    The connection lives in a thread of the store's own. ``wait`` turns a ``concurrent.futures.Future`` into something
    that the runtime awaits; the default is for asyncio. ``busy_timeout``: seconds to wait for another process.
    ``transaction_timeout``: seconds after which a handler's open transaction is rolled back where others wait for it;
    renewals of leases wait too, so keep it well below ``OncePolicy.lease``.
    ``":memory:"`` is a store without a file, for tests.

    Raises ``sqlite3.Error`` where the file cannot be used. Methods raise LocalProtocolError after :meth:`close`.
    """

    transactional: bool = True
    """``begin()`` gives transactions."""

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        wait: Waiter = asyncio.wrap_future,
        busy_timeout: float = 5.0,
        transaction_timeout: float = 5.0,
    ) -> None:
        self._wait = wait
        self._transaction_timeout = transaction_timeout
        self._database = Database(fspath(path), busy_timeout)
        try:
            self._database.submit(partial(in_transaction, _create)).result()
        except BaseException:
            self.close()
            raise

    async def claim(self, claim: Claim, *, per_subject: int | None = None) -> Entry | None:
        """Take the key unless it is taken; durable when it returns. Raises SubjectFull."""
        return await self.run(partial(_claim, claim, per_subject))

    async def take_over(self, claim: Claim, seen: Entry) -> bool:
        """Replace a claim that is still as it was seen; durable when it returns."""
        new = (claim.owner, claim.lease_until, claim.keep_until, claim.atomic)
        old = (seen.digest, seen.owner, seen.lease_until, seen.atomic)
        return await self.run(partial(_changes, _TAKE_OVER, (*new, *claim.key, *old))) == 1

    async def complete(self, claim: Claim, outcome: bytes, *, keep_until: float) -> bool:
        """Store the outcome, if the claim is still its owner's."""
        return await self.run(partial(_changes, _COMPLETE, (outcome, keep_until, *claim.key, claim.owner))) == 1

    async def release(self, claim: Claim) -> bool:
        """Free the key, if the claim is still its owner's."""
        return await self.run(partial(_changes, _RELEASE, (*claim.key, claim.owner))) == 1

    async def renew(self, claims: Collection[Claim], lease_until: float) -> None:
        """Set leases."""
        rows = [(lease_until, *claim.key, claim.owner) for claim in claims]
        await self.run(lambda db: db.executemany(_RENEW, rows))

    async def purge(self, now: float, limit: int) -> int:
        """Forget what is too old."""
        return await self.run(partial(_changes, _PURGE, {"now": now, "limit": limit}))

    def begin(self, claim: Claim) -> SqliteTransaction:
        """A transaction for a handler's effect and its outcome, not yet started."""
        return SqliteTransaction(self._database, self._wait, claim, self._transaction_timeout)

    async def run(self, function: Callable[[sqlite3.Connection], T], /) -> T:
        """Run the function in the store's thread, in a transaction of its own: for the application's tables.

        It waits while a handler's transaction is open. The function must neither commit nor roll back; its exceptions
        roll back and come out.
        """
        return await self._wait(self._database.submit(partial(in_transaction, function)))

    def close(self) -> None:
        """Finish what was asked for, roll back what handlers have open, and close the file. Blocks. Idempotent."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _create(db: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        db.execute(statement)
    columns = [name for _, name, *_ in db.execute("PRAGMA table_info(ratatoskr_once)")]
    if "atomic" not in columns:
        db.execute("ALTER TABLE ratatoskr_once ADD COLUMN atomic INTEGER NOT NULL DEFAULT 0")


def _claim(claim: Claim, per_subject: int | None, db: sqlite3.Connection) -> Entry | None:
    held = db.execute(_LOOK, claim.key).fetchone()
    if held is not None:
        digest, owner, lease_until, outcome, atomic, keep_until = held
        if keep_until < claim.keep_until:
            db.execute(_KEEP, (claim.keep_until, *claim.key))
        return Entry(digest, owner, lease_until, outcome, bool(atomic))
    if per_subject is not None:
        (entries,) = db.execute(_COUNT, claim.key[:2]).fetchone() or (0,)
        if entries >= per_subject:
            raise SubjectFull(f"{per_subject} entries are held for {claim.key.subject}")
    row = (*claim.key, claim.digest, claim.owner, claim.lease_until, claim.keep_until, claim.atomic)
    db.execute(_CLAIM, row)
    return None


def _changes(statement: str, parameters: Sequence[object] | Mapping[str, object], db: sqlite3.Connection) -> int:
    return db.execute(statement, parameters).rowcount
