"""The hash chain of one direction of a session.

::

    entry_n = session_id ‖ direction ‖ number u64 ‖ envelope      leaf_n = SHA256(00 ‖ entry_n)
    c_0 = SHA256("ratatoskr-v1 chain" ‖ 00 ‖ session_id ‖ direction)
    c_n = SHA256(02 ‖ c_{n-1} ‖ leaf_n)
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from hashlib import sha256
from typing import NamedTuple


class Direction(IntEnum):
    """Who speaks."""

    FROM_CLIENT = 0
    FROM_SERVER = 1

    @property
    def other(self) -> Direction:
        """The way back."""
        return Direction(1 - self)


class Position(NamedTuple):
    """A place in a chain: the last number, the chain's value there, and the last number under a seal."""

    number: int
    chain: bytes
    sealed: int

    @classmethod
    def start(cls, session_id: bytes, direction: int) -> Position:
        """The place before the first message."""
        return cls(0, sha256(b"ratatoskr-v1 chain\0" + session_id + bytes((direction,))).digest(), 0)


def leaf_prefix(session_id: bytes, direction: int) -> bytes:
    """The part of what a leaf hashes that is the same for a whole direction."""
    return b"\0" + session_id + bytes((direction,))


def leaf(prefix: bytes, number: int, envelope: bytes) -> bytes:
    """The leaf of one message, 32 bytes; ``prefix`` is that of :func:`leaf_prefix`."""
    return sha256(prefix + number.to_bytes(8, "big") + envelope).digest()


def link(chain: bytes, leaf: bytes) -> bytes:
    """The chain's next value, 32 bytes."""
    return sha256(b"\2" + chain + leaf).digest()


def extend(chain: bytes, leaves: Iterable[bytes]) -> bytes:
    """The chain's value after all leaves."""
    for each in leaves:
        chain = link(chain, each)
    return chain
