"""SqliteTransaction: a handler's effect and its outcome, in one commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import partial
from time import monotonic
from typing import TypeVar

from ratatoskr import LocalProtocolError, RatatoskrError
from ratatoskr.service import Claim
from ratatoskr_stores.database import Database, Waiter, roll_back

T = TypeVar("T")

_COMMIT = """
UPDATE ratatoskr_once SET outcome = ?, keep_until = max(keep_until, ?)
WHERE tenant = ? AND subject = ? AND nonce = ? AND owner = ? AND outcome IS NULL AND lease_until > ?
"""


class TransactionLost(RatatoskrError):
    """The transaction is over, and was rolled back."""


class _State(Enum):
    NEW = "not begun"
    OPEN = "begun: it holds the database"
    OVER = "committed or rolled back"


class SqliteTransaction:
    """What ``call.begin()`` gives where the store is a SqliteStore.

    From ``start`` to the end it holds SQLite's write lock. Its state is touched in the database's thread alone.
    """

    def __init__(self, database: Database, wait: Waiter, claim: Claim, timeout: float) -> None:
        self._database = database
        self._wait = wait
        self._claim = claim
        self._timeout = timeout
        self._state = _State.NEW
        self._overdue_at = 0.0

    async def start(self) -> None:
        """Wait for the database, and take it."""
        await self._wait(self._database.submit(self._start))

    def _start(self, db: sqlite3.Connection) -> None:
        if self._state is _State.NEW:
            db.execute("BEGIN IMMEDIATE")
            self._state = _State.OPEN
            self._overdue_at = monotonic() + self._timeout
            self._database.holder = self

    async def run(self, function: Callable[[sqlite3.Connection], T], /) -> T:
        """Run the function with the connection, in the store's thread. It must neither commit nor roll back.

        Its exceptions come out. Raises TransactionLost where the transaction was rolled back because others waited for
        too long, LocalProtocolError where the function ended it.
        """
        return await self._wait(self._database.submit(partial(self._run, function), holder=self))

    def _run(self, function: Callable[[sqlite3.Connection], T], db: sqlite3.Connection) -> T:
        if self._state is not _State.OPEN:
            raise TransactionLost("the transaction was rolled back: it was open for too long while others waited")
        try:
            result = function(db)
        finally:
            broken = not db.in_transaction
            if broken:
                self._end(db)
        if broken:
            raise LocalProtocolError("the function ended the transaction: leave commit and rollback to the store")
        return result

    async def commit(self, outcome: bytes, *, keep_until: float, now: float) -> bool:
        """Commit effect and outcome, if the claim is still its owner's and its lease runs; else roll both back."""
        step = partial(self._commit, (outcome, keep_until, *self._claim.key, self._claim.owner, now))
        return await self._wait(self._database.submit(step, holder=self))

    def _commit(self, parameters: tuple[object, ...], db: sqlite3.Connection) -> bool:
        if self._state is not _State.OPEN:
            return False
        try:
            owned = db.execute(_COMMIT, parameters).rowcount == 1
            if owned:
                db.execute("COMMIT")
        finally:
            self._end(db)
        return owned

    def abandon(self) -> None:
        """Roll back as soon as the thread gets to it; no-op after a commit."""
        with suppress(LocalProtocolError):  # a closed store has rolled back
            self._database.submit(self._end, holder=self)

    def yield_if_overdue(self, db: sqlite3.Connection, now: float) -> None:
        """Others wait: roll back what has been open for too long."""
        if now >= self._overdue_at:
            self._end(db)

    def _end(self, db: sqlite3.Connection) -> None:
        if self._state is _State.OPEN:
            self._database.holder = None
            roll_back(db)
        self._state = _State.OVER
