"""How a process is to die: by its own SIGKILL, at the n-th time that it reaches a point.

Nothing is cleaned up, flushed or said, as with ``kill -9`` from outside; but the moment is known. The death is written
down first, in one line of a file that all processes of a run append to.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from ratatoskr import Connection, Now, Transmit

T = TypeVar("T")

DEATHS = "deaths.jsonl"
RANDOM = "random"
"""The point of who is killed from outside, at any moment."""


class ServerPoint(StrEnum):
    """Where a server may die, on the way of one payment."""

    BEFORE_CLAIM = "before-claim"
    AFTER_CLAIM = "after-claim"
    AFTER_EFFECT = "after-effect"
    """In a transaction that is not committed yet, or behind one of the effect alone."""
    AFTER_OUTCOME = "after-outcome"
    """The outcome is stored, and nobody was told."""
    AFTER_WRITE = "after-write"
    """The bytes of the answer were given to the socket."""


class ClientPoint(StrEnum):
    """Where a client may die, on the way of one payment."""

    BEFORE_SEND = "before-send"
    """It is written down that the payment is asked for, and it is not."""
    AFTER_SEND = "after-send"
    """The bytes of the request were given to the socket."""
    AFTER_ANSWER = "after-answer"
    """The answer has come, and is not written down."""


def append(path: Path, record: dict[str, Any]) -> None:
    """Write one line, with one call of the system: it is there or not, also where the process is killed next."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, json.dumps(record).encode() + b"\n")
    finally:
        os.close(handle)


def now() -> int:
    """Nanoseconds of the clock that all processes share."""
    return time.monotonic_ns()


def record_death(home: Path, who: str, life: int, point: str, *, key: str = "", nonce: bytes = b"") -> None:
    """To be called just before the kill."""
    record = {"who": who, "life": life, "point": point, "at": now(), "key": key, "nonce": nonce.hex()}
    append(home / DEATHS, record)


class Fate:
    """The fate of one life of a process. ``doom`` is ``POINT:COUNT``, or empty for a life without end."""

    def __init__(self, home: Path, who: str, life: int, doom: str = "") -> None:
        self._home = home
        self._who = who
        self._life = life
        self._point, _, count = doom.partition(":")
        self._left = int(count or 0)

    def reach(self, point: str, *, key: str = "", nonce: bytes = b"") -> None:
        """The process is at that point of that payment, which is named by its business key or its nonce."""
        if point != self._point:
            return
        self._left -= 1
        if self._left == 0:
            record_death(self._home, self._who, self._life, point, key=key, nonce=nonce)
            os.kill(os.getpid(), signal.SIGKILL)


def watch_writes(method: str, label: Callable[..., T], written: Callable[[T], None]) -> None:
    """From now on, call ``written`` when what was given to a connection by ``method`` has been written by its driver.

    It is told what ``label`` makes of the method's arguments. This process only; for programs of tests.
    """
    waiting: WeakKeyDictionary[Connection, list[T]] = WeakKeyDictionary()
    leaving: WeakKeyDictionary[Connection, list[T]] = WeakKeyDictionary()
    give, poll, sent = getattr(Connection, method), Connection.poll, Connection.sent

    @wraps(give)
    def given(connection: Connection, *args: Any, **options: Any) -> Any:
        result = give(connection, *args, **options)
        waiting.setdefault(connection, []).append(label(*args, **options))
        return result

    @wraps(poll)
    def polled(connection: Connection, now: Now) -> Any:
        output = poll(connection, now)
        if isinstance(output, Transmit):
            leaving[connection] = waiting.pop(connection, [])
        return output

    @wraps(sent)
    def was_sent(connection: Connection) -> None:
        sent(connection)
        for each in leaving.pop(connection, []):
            written(each)

    for name, replacement in ((method, given), ("poll", polled), ("sent", was_sent)):
        setattr(Connection, name, replacement)
