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
from ratatoskr.messages.envelopes import response_envelope


class IncomingCall(RequestId):
    """One request of the peer's, until its terminal answer is acknowledged."""

    __slots__ = ("_received", "answered", "deadline", "kind", "owner", "size")

    def __init__(self, owner: IncomingCalls, received: Received, deadline: float) -> None:
        self._received = received
        self.owner: IncomingCalls = owner
        self.kind: AnyKind | None = received.kind
        self.size: int = len(received.envelope)
        self.deadline: float = deadline
        self.answered: bool = False
        """Whether the application has answered."""

    def __repr__(self) -> str:
        return f"<RequestId {self.kind} {id(self):x}>"

    def envelope(self, *, payload: bytes | None = None, error: v1.Error | None = None, replayed: bool) -> bytes:
        """The terminal answer: a payload or an error."""
        received = self._received
        asked = received.message
        answer = v1.RatatoskrResponse(
            request_number=received.number,
            request_leaf=received.leaf,
            type=asked.type,
            operation=asked.operation,
            last=True,
            replayed=replayed,
            error=error,
        )
        if payload is not None:
            answer.payload = payload
        return response_envelope(answer)


class IncomingCalls:
    """Slots and bytes of the peer's open requests."""

    __slots__ = ("_bytes_open", "_limits", "_unanswered", "open")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes_open = 0
        self._unanswered: dict[IncomingCall, None] = {}
        self.open: int = 0
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
