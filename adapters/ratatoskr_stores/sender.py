"""Who sends from a file: one process at a time, and none that is dead.

The lock is SQLite's own, on a file of its own beside the posts: the system releases it when its process ends, however
that ends, so nobody waits for a lease to run out, and nobody is robbed of one while he sleeps.
"""

from __future__ import annotations

import sqlite3


class Sender:
    """The right to send. Touched in one thread alone. ``path``: the file to lock; empty for none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock: sqlite3.Connection | None = None

    def take(self) -> bool:
        """Take it. False where somebody has it, this process included."""
        if self._lock is not None:
            return False
        db = sqlite3.connect(self._path or ":memory:", timeout=0, isolation_level=None)
        try:
            db.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            db.close()
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            return False
        self._lock = db
        return True

    def give_back(self) -> None:
        """Let others take it. No-op where it is not taken."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
