"""Pending calls: which waiter gets which outcome.

A waiter is whatever a runtime has: a future, an event with a slot, a callback. This table only pairs them with
requests; it wakes nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from google.protobuf.message import Message

from ratatoskr.errors import CallError
from ratatoskr.events import RequestFailed, RequestId, ResponseReceived, StreamEnded
from ratatoskr.messages import Evidence, Kind, Receipt

W = TypeVar("W")
Res = TypeVar("Res", bound=Message)


@dataclass(frozen=True, slots=True)
class Exchange(Generic[Res]):
    """An answer, with what is known about it beside its message."""

    message: Res
    kind: Kind[Any, Res]
    replayed: bool
    """Whether the peer repeats the stored outcome of an earlier request with the same nonce."""
    evidence: Evidence
    """What the answer becomes provable by."""

    def receipt(self) -> Receipt | None:
        """Proof of the answer that stands alone; None until its span is sealed. At once for sealed kinds."""
        return self.evidence.receipt()


class Settled(NamedTuple, Generic[W]):
    """A waiter, and what it has waited for. A :class:`CallError` is to be raised where it waits; None is the end of a
    stream.
    """

    waiter: W
    outcome: Exchange[Any] | CallError | None
    evidence: Evidence | None
    """What the answer, or the peer's error, becomes provable by; None where the call failed on this side."""


class PendingCalls(Generic[W]):
    """The calls of one connection that somebody waits for."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: dict[RequestId, W] = {}

    def add(self, id: RequestId, waiter: W) -> None:
        """``waiter`` gets the outcome of request ``id``. To be called before the connection is polled again."""
        self._waiters[id] = waiter

    def forget(self, id: RequestId) -> None:
        """The waiter has given up: drop the outcome when it comes. No-op where it has come."""
        self._waiters.pop(id, None)

    def get(self, id: RequestId) -> W | None:
        """Who waits for the request ``id``; None where nobody does any more."""
        return self._waiters.get(id)

    def settle(self, event: ResponseReceived | StreamEnded | RequestFailed) -> Settled[W] | None:
        """Who gets what; None where nobody waits any more."""
        if event.id not in self._waiters:
            return None
        waiter = self._waiters.pop(event.id)
        evidence = event.evidence
        if isinstance(event, RequestFailed):
            return Settled(waiter, CallError.of(event.failure, replayed=event.replayed), evidence)
        if isinstance(event, StreamEnded):
            return Settled(waiter, None, evidence)
        kind = event.received.kind
        assert kind is not None
        assert evidence is not None
        return Settled(waiter, Exchange(event.message, kind, event.replayed, evidence), evidence)

    def __len__(self) -> int:
        return len(self._waiters)
