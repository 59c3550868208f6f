"""SqliteOutbox: posts that survive the process, in a file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from os import PathLike
from types import TracebackType
from typing import Any, Self

from ratatoskr import STANDARD_KINDS, Kind
from ratatoskr.service import Outbox, OutboxHost, OutboxPolicy
from ratatoskr_stores.database import Waiter
from ratatoskr_stores.posts import SqliteOutboxStore
from ratatoskr_stores.runtime import AsyncioRuntime


class SqliteOutbox(Outbox):
    """An outbox in a SQLite file, for ``connect(…, outbox=…)``: a WAL journal with ``synchronous=FULL``.

    What survives: a post is on disk when :meth:`post` returns, the mark that it is being sent before its first byte
    goes, an outcome before anybody hears of it. So all survive restarts, ``kill -9`` and power loss, as far as the disk
    keeps what it has confirmed. Processes of one machine may share the file, to post and to read; one at a time sends,
    which a second file, ``…-sender``, says. A network file system may not hold them.

    ``kinds``: what may be posted, or was. ``wait`` turns a ``concurrent.futures.Future`` into something that the
    runtime awaits, and ``runtime`` has its clocks and tasks; the defaults are for asyncio. ``busy_timeout``: seconds
    to wait for another process. ``":memory:"`` is an outbox without a file, for tests.

    Raises ``sqlite3.Error`` where the file cannot be used. Methods raise LocalProtocolError after :meth:`close`.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        kinds: Iterable[Kind[Any, Any]] = STANDARD_KINDS,
        policy: OutboxPolicy | None = None,
        wait: Waiter = asyncio.wrap_future,
        runtime: OutboxHost | None = None,
        busy_timeout: float = 5.0,
    ) -> None:
        self._posts = SqliteOutboxStore(path, wait, busy_timeout)
        super().__init__(self._posts, runtime or AsyncioRuntime(), kinds=kinds, policy=policy)

    def close(self) -> None:
        """Finish what was asked for, and close the file. Blocks. Idempotent."""
        self._posts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
