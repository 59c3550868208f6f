"""Database: one SQLite connection in a thread of its own, and who may use it."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from time import monotonic, sleep
from typing import Protocol, TypeVar

from ratatoskr import LocalProtocolError

T = TypeVar("T")

_RETRY_SECONDS = 0.005


class Waiter(Protocol):
    """How a runtime awaits the future of another thread: ``asyncio.wrap_future``, or the like."""

    def __call__(self, future: Future[T], /) -> Awaitable[T]:
        """Its result, or its exception. A cancellation may cancel the future."""
        ...


class Holder(Protocol):
    """What holds the database across several jobs."""

    def yield_if_overdue(self, db: sqlite3.Connection, now: float) -> None:
        """Somebody waits: let go if it has been long enough. In the database's thread, on the monotonic clock."""
        ...


class Database:
    """Jobs run in the thread in the order in which they were submitted; each gets the connection.

    While somebody holds the database only the holder's jobs run. Others are parked without blocking a thread, so
    that the holder always gets through.
    """

    def __init__(self, path: str, busy_timeout: float) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="ratatoskr-sqlite")
        self._parked: deque[Callable[[], None]] = deque()
        self.holder: Holder | None = None
        """Touched in the thread alone."""
        try:
            self._db = self._executor.submit(_open, path, busy_timeout).result()
        except BaseException:
            self._executor.shutdown()
            raise

    def submit(self, function: Callable[[sqlite3.Connection], T], *, holder: Holder | None = None) -> Future[T]:
        """Run the function in the thread; on behalf of a holder it is never parked.

        A future that is cancelled before its job has begun is skipped. Raises LocalProtocolError after :meth:`close`.
        """
        future: Future[T] = Future()
        try:
            self._executor.submit(self._step, partial(self._run, function, future), holder)
        except RuntimeError:
            raise LocalProtocolError("the store is closed") from None
        return future

    def _step(self, job: Callable[[], None], holder: Holder | None) -> None:
        if self.holder is not None and holder is None:
            self._parked.append(job)
            self.holder.yield_if_overdue(self._db, monotonic())
        else:
            job()
        while self.holder is None and self._parked:
            self._parked.popleft()()

    def _run(self, function: Callable[[sqlite3.Connection], T], future: Future[T]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = function(self._db)
        except BaseException as error:  # noqa: BLE001 - it comes out where the future is awaited
            future.set_exception(error)
        else:
            future.set_result(result)

    def close(self, last: Callable[[], None] | None = None) -> None:
        """Do what was submitted, roll back what a holder has open, and close the file. Blocks. Idempotent.

        ``last`` is done in the thread, behind all else.
        """
        with suppress(RuntimeError):  # it was closed before
            self._executor.submit(self._shut, last)
        self._executor.shutdown()

    def _shut(self, last: Callable[[], None] | None) -> None:
        while True:
            roll_back(self._db)
            self.holder = None
            if not self._parked:
                break
            self._parked.popleft()()
        self._db.close()
        if last is not None:
            last()


def in_transaction(function: Callable[[sqlite3.Connection], T], db: sqlite3.Connection) -> T:
    """Run the function in a transaction of its own; its exceptions roll back and come out."""
    db.execute("BEGIN IMMEDIATE")
    try:
        result = function(db)
        db.execute("COMMIT")
    finally:
        roll_back(db)  # no-op after the commit
    return result


def roll_back(db: sqlite3.Connection) -> None:
    """End the transaction without effect; no-op where there is none."""
    if db.in_transaction:
        db.execute("ROLLBACK")


def _open(path: str, busy_timeout: float) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None)
    try:
        _write_ahead(db, monotonic() + busy_timeout)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        db.close()
        raise
    return db


def _write_ahead(db: sqlite3.Connection, deadline: float) -> None:
    """Change the journal. SQLite's own timeout does not cover two processes that do so at the same moment."""
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() >= deadline:
                raise
            sleep(_RETRY_SECONDS)
        else:
            return
