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
        self._owner = b""

    def take(self, owner: bytes) -> bool:
        """Give it to ``owner``. False where somebody has it, this process included."""
        if self._lock is not None:
            return False
        db = sqlite3.connect(self._path or ":memory:", timeout=0, isolation_level=None)
        try:
            db.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            db.close()
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                return False
            raise
        self._lock, self._owner = db, owner
        return True

    def give_back(self, owner: bytes) -> None:
        """Let others take it. No-op where ``owner`` does not have it."""
        if owner == self._owner:
            self.close()

    def close(self) -> None:
        """Let others take it, whoever here has it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
