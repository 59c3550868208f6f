"""Requests that the peer makes: their slots.

Accepting a request reserves the place of its terminal answer, so answering never blocks. The slot is free again when
the peer has acknowledged that answer. No table is keyed by the peer's numbers: a slot is an object that the
application holds.
"""

from __future__ import annotations

from math import inf

from ratatoskr import v1
from ratatoskr.errors import Fault, LocalProtocolError, ProtocolFault
from ratatoskr.events import RequestId
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind, Received


class IncomingCall(RequestId):
    """One request of the peer's, until its terminal answer is acknowledged."""

    __slots__ = ("answered", "deadline", "kind", "leaf", "number", "operation", "owner", "size", "type")

    def __init__(self, owner: IncomingCalls, received: Received, request: v1.RatatoskrRequest) -> None:
        self.owner = owner
        self.number = received.number
        self.leaf = received.leaf
        self.kind: AnyKind | None = received.kind
        self.type = request.type
        self.operation = request.operation
        self.size = len(received.envelope)
        self.deadline = inf
        self.answered = False
        """Whether the application has answered."""

    def __repr__(self) -> str:
        return f"<RequestId {self.type}/{self.operation} {id(self):x}>"


class IncomingCalls:
    """Slots and bytes of the peer's open requests."""

    __slots__ = ("_bytes_open", "_limits", "_unanswered", "open")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes_open = 0
        self._unanswered: dict[IncomingCall, None] = {}
        self.open = 0
        """Slots in use."""

    def bind(self, limits: Limits) -> None:
        """The limits were negotiated."""
        self._limits = limits

    def accept(self, call: IncomingCall) -> None:
        """Take a slot. Raises ProtocolFault when the peer has no more."""
        limits = self._limits
        over_bytes = self.open and self._bytes_open + call.size > limits.request_bytes_open
        if self.open >= limits.requests_open or over_bytes:
            raise ProtocolFault(
                Fault.LIMIT_EXCEEDED, "requests.open", f"{self.open} requests of {self._bytes_open} bytes are open"
            )
        self.open += 1
        self._bytes_open += call.size
        self._unanswered[call] = None

    def answer(self, call: IncomingCall) -> None:
        """The terminal answer is decided."""
        del self._unanswered[call]

    def release(self, call: IncomingCall) -> None:
        """The terminal answer was acknowledged."""
        self.open -= 1
        self._bytes_open -= call.size

    def awaits(self, call: IncomingCall) -> bool:
        """Whether an answer to the call is still of use. Raises LocalProtocolError where it was answered before, or
        belongs to another session.
        """
        if call.owner is not self:
            raise LocalProtocolError(f"{call!r} belongs to another session: answer on the connection that it came from")
        if call.answered:
            raise LocalProtocolError(f"{call!r} is answered already: answer each request once")
        return call in self._unanswered

    def due(self, now: float) -> list[IncomingCall]:
        """Unanswered requests whose time has run out."""
        return [call for call in self._unanswered if call.deadline <= now]

    def earliest(self) -> float:
        """The earliest deadline of an unanswered request; infinity when there is none."""
        return min((call.deadline for call in self._unanswered), default=inf)

    def clear(self) -> None:
        """The session ended: no answer is of use any more."""
        self._unanswered.clear()
