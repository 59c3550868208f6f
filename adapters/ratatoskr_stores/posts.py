"""SqliteOutboxStore: posts and their outcomes in a file."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike, fspath
from typing import Any, TypeVar

from ratatoskr.service import Head, Parcel, Posting, Settlement
from ratatoskr_stores.database import Database, Waiter, in_transaction
from ratatoskr_stores.sender import Sender

T = TypeVar("T")

_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS ratatoskr_outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        nonce BLOB NOT NULL UNIQUE,
        state TEXT NOT NULL,
        settled INTEGER NOT NULL DEFAULT 0,
        deliveries INTEGER NOT NULL DEFAULT 0,
        size INTEGER NOT NULL,
        issued_at REAL NOT NULL,
        expires_at REAL,
        type INTEGER NOT NULL,
        operation INTEGER NOT NULL,
        lane TEXT NOT NULL,
        key BLOB NOT NULL,
        metadata TEXT NOT NULL,
        payload BLOB NOT NULL,
        outcome BLOB,
        receipt BLOB
    )
    """,
    "CREATE INDEX IF NOT EXISTS ratatoskr_outbox_lane ON ratatoskr_outbox (lane, id) WHERE settled = 0",
    "CREATE INDEX IF NOT EXISTS ratatoskr_outbox_issued ON ratatoskr_outbox (issued_at) WHERE settled = 0",
    "CREATE INDEX IF NOT EXISTS ratatoskr_outbox_expires ON ratatoskr_outbox (expires_at) WHERE settled = 0",
    "CREATE INDEX IF NOT EXISTS ratatoskr_outbox_settled ON ratatoskr_outbox (settled) WHERE settled > 0",
    "CREATE INDEX IF NOT EXISTS ratatoskr_outbox_size ON ratatoskr_outbox (size)",
    "CREATE TABLE IF NOT EXISTS ratatoskr_outbox_count (one INTEGER PRIMARY KEY CHECK (one = 1), settled INTEGER)",
    "INSERT INTO ratatoskr_outbox_count VALUES (1, 0) ON CONFLICT DO NOTHING",
    "CREATE TABLE IF NOT EXISTS ratatoskr_outbox_owner (one INTEGER PRIMARY KEY CHECK (one = 1), owner BLOB NOT NULL)",
)
_SELECT = """
SELECT id, nonce, state, settled, issued_at, expires_at, type, operation, lane, key, metadata, payload, outcome, receipt
FROM ratatoskr_outbox WHERE
"""
_ADD = """
INSERT INTO ratatoskr_outbox
    (nonce, state, size, issued_at, expires_at, type, operation, lane, key, metadata, payload)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_USED = "SELECT count(*), coalesce(sum(size), 0) FROM ratatoskr_outbox"
_HEADS = "SELECT min(id), lane FROM ratatoskr_outbox WHERE settled = 0 GROUP BY lane ORDER BY min(id)"
_MOVE = "UPDATE ratatoskr_outbox SET state = ? WHERE id = ? AND state = ?"
_SETTLE = """
UPDATE ratatoskr_outbox
SET state = ?, settled = (SELECT settled + 1 FROM ratatoskr_outbox_count),
    outcome = ?, receipt = ?, size = size + ?
WHERE id = ? AND state = ?
"""
_COUNT = "UPDATE ratatoskr_outbox_count SET settled = settled + 1"
_DELIVER = "UPDATE ratatoskr_outbox SET deliveries = deliveries + 1 WHERE id = ?"
_FORGET = "DELETE FROM ratatoskr_outbox WHERE id = ? AND settled > 0"
_BIND = """
INSERT INTO ratatoskr_outbox_owner VALUES (1, ?)
ON CONFLICT (one) DO UPDATE SET owner = excluded.owner
WHERE NOT EXISTS (SELECT 1 FROM ratatoskr_outbox WHERE settled = 0)
"""


class SqliteOutboxStore:
    """What :class:`SqliteOutbox` keeps its posts in. Its methods are those of ``OutboxStore``."""

    def __init__(
        self, path: str | PathLike[str], wait: Waiter = asyncio.wrap_future, busy_timeout: float = 5.0
    ) -> None:
        name = fspath(path)
        self._wait = wait
        self._sender = Sender("" if name == ":memory:" else f"{name}-sender")
        self._database = Database(name, busy_timeout)
        try:
            self._database.submit(partial(in_transaction, _create)).result()
        except BaseException:
            self.close()
            raise

    async def add(self, parcel: Parcel, *, max_entries: int, max_bytes: int) -> Parcel:
        """Store it, or return what is there. Raises OutboxFull."""
        return await self._run(partial(_add, parcel, max_entries, max_bytes))

    async def get(self, id: int) -> Parcel | None:
        """The post."""
        found = await self._parcels("id = ?", id)
        return found[0] if found else None

    async def unsettled(self) -> list[Parcel]:
        """All without an outcome."""
        return await self._parcels("settled = 0 ORDER BY id")

    async def heads(self) -> list[Head]:
        """The first of each lane."""
        return await self._look(lambda db: [Head(*row) for row in db.execute(_HEADS)])

    async def overdue(self, now: float, issued_until: float) -> list[Parcel]:
        """Those whose time is over."""
        return await self._parcels("settled = 0 AND (issued_at <= ? OR expires_at <= ?) ORDER BY id", issued_until, now)

    async def move(self, id: int, before: Posting, after: Posting, settlement: Settlement | None = None) -> bool:
        """Change the state; store the outcome."""
        return await self._run(partial(_move, id, before, after, settlement))

    async def settled(self, after: int, limit: int) -> list[Parcel]:
        """Outcomes behind that place."""
        return await self._parcels("settled > 0 AND settled > ? ORDER BY settled LIMIT ?", after, limit)

    async def deliver(self, id: int) -> int:
        """Count a delivery."""
        return await self._run(partial(_deliver, id))

    async def forget(self, id: int) -> bool:
        """Forget a post that has its outcome."""
        return await self._run(lambda db: db.execute(_FORGET, (id,)).rowcount == 1)

    async def lock(self, sender: bytes) -> bool:
        """Become the one that sends."""
        return await self._look(lambda _: self._sender.take(sender))

    async def unlock(self, sender: bytes) -> None:
        """Let others send."""
        await self._look(lambda _: self._sender.give_back(sender))

    async def bind(self, owner: bytes) -> bytes:
        """Make it somebody's."""
        return await self._run(partial(_bind, owner))

    def close(self) -> None:
        """Finish what was asked for, and close the file. Blocks. Idempotent."""
        self._database.close(self._sender.close)

    async def _parcels(self, where: str, *parameters: object) -> list[Parcel]:
        return await self._look(lambda db: [_parcel(row) for row in db.execute(_SELECT + where, parameters)])

    async def _look(self, function: Callable[[sqlite3.Connection], T]) -> T:
        return await self._wait(self._database.submit(function))

    async def _run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        return await self._look(partial(in_transaction, function))


def _create(db: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        db.execute(statement)


def _parcel(row: Sequence[Any]) -> Parcel:
    id, nonce, state, settled, issued_at, expires_at, type, operation, lane, key, metadata, payload = row[:12]
    return Parcel(
        nonce=nonce,
        type=type,
        operation=operation,
        key=key,
        payload=payload,
        metadata=tuple((name, value) for name, value in json.loads(metadata)),
        lane=lane,
        issued_at=issued_at,
        expires_at=expires_at,
        id=id,
        state=Posting[state],
        settlement=Settlement(*row[12:]) if settled else None,
        settled=settled,
    )


def _add(parcel: Parcel, max_entries: int, max_bytes: int, db: sqlite3.Connection) -> Parcel:
    for row in db.execute(_SELECT + "nonce = ?", (parcel.nonce,)):
        return _parcel(row)
    count, size = db.execute(_USED).fetchone()
    parcel.check_room(count, size, max_entries=max_entries, max_bytes=max_bytes)
    values = (
        *(parcel.nonce, parcel.state.name, parcel.size, parcel.issued_at, parcel.expires_at),
        *(parcel.type, parcel.operation, parcel.lane, parcel.key, json.dumps(parcel.metadata), parcel.payload),
    )
    id = db.execute(_ADD, values).lastrowid
    return _parcel(db.execute(_SELECT + "id = ?", (id,)).fetchone())


def _move(id: int, before: Posting, after: Posting, settlement: Settlement | None, db: sqlite3.Connection) -> bool:
    if settlement is None:
        return db.execute(_MOVE, (after.name, id, before.name)).rowcount == 1
    size = sum(map(len, settlement))
    if db.execute(_SETTLE, (after.name, *settlement, size, id, before.name)).rowcount != 1:
        return False
    db.execute(_COUNT)
    return True


def _deliver(id: int, db: sqlite3.Connection) -> int:
    if db.execute(_DELIVER, (id,)).rowcount != 1:
        return 0
    (count,) = db.execute("SELECT deliveries FROM ratatoskr_outbox WHERE id = ?", (id,)).fetchone()
    return int(count)


def _bind(owner: bytes, db: sqlite3.Connection) -> bytes:
    db.execute(_BIND, (owner,))
    (bound,) = db.execute("SELECT owner FROM ratatoskr_outbox_owner").fetchone()
    return bytes(bound)
