"""Requests that the peer makes: their slots.

Accepting a request reserves the place of its terminal answer, so answering never blocks. The slot is free again when
the peer has acknowledged that answer.
"""

from __future__ import annotations

from collections import deque
from math import inf

from ratatoskr import v1
from ratatoskr.errors import Fault, LocalProtocolError, ProtocolFault
from ratatoskr.events import RequestId
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind, Received
from ratatoskr.messages.envelopes import response_envelope
from ratatoskr.session.lanes import URGENT
from ratatoskr.session.states import ANSWERING, Answering, AnsweringInput

DEFAULT_CREDIT = 16
"""Items that may be sent of a stream whose request has no hop, or one without credit."""
_NO_ITEMS: deque[bytes] = deque(maxlen=0)


class IncomingCall(RequestId):
    """One request of the peer's, until its terminal answer is acknowledged."""

    __slots__ = (
        "_received",
        "closed",
        "credit",
        "deadline",
        "items",
        "kind",
        "number",
        "owner",
        "sealed",
        "sent",
        "size",
        "state",
        "terminal",
        "urgent",
    )

    def __init__(self, owner: IncomingCalls, received: Received, deadline: float) -> None:
        self._received = received
        self.owner: IncomingCalls = owner
        self.number: int = received.number
        self.kind: AnyKind | None = received.kind
        kind = received.kind
        self.sealed: bool = kind is None or kind.sealed
        """Whether answers need a seal."""
        self.urgent: bool = kind is not None and kind.type == URGENT
        """Whether answers overtake others."""
        self.size: int = len(received.envelope)
        self.deadline: float = deadline
        hop = received.hop
        self.credit: int = (hop.credit if hop is not None else 0) or DEFAULT_CREDIT
        """Items that may be sent in all."""
        self.items: deque[bytes] = deque() if kind is not None and kind.stream else _NO_ITEMS
        """Items that wait to be sent."""
        self.sent: int = 0
        """Items that were sent."""
        self.terminal: bytes | None = None
        """The terminal answer, while it waits behind items."""
        self.state: Answering = Answering.RUNNING
        self.closed: bool = False
        """Whether the application has given the terminal answer."""

    def __repr__(self) -> str:
        return f"<RequestId {self.kind} {id(self):x}>"

    def move(self, input: AnsweringInput) -> None:
        """Take the transition."""
        self.state = ANSWERING[self.state, input]

    def envelope(
        self, *, last: bool, payload: bytes | None = None, error: v1.Error | None = None, replayed: bool = False
    ) -> bytes:
        """The next answer: a payload, an error, or nothing at the end of a stream."""
        received = self._received
        asked = received.message
        answer = v1.RatatoskrResponse(
            request_number=received.number,
            request_leaf=received.leaf,
            type=asked.type,
            operation=asked.operation,
            index=self.sent + len(self.items),
            last=last,
            replayed=replayed,
            error=error,
        )
        if payload is not None:
            answer.payload = payload
        return response_envelope(answer)


class IncomingCalls:
    """Slots and bytes of the peer's open requests."""

    __slots__ = ("_answered", "_bytes_open", "_limits", "_unanswered", "open")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes_open = 0
        self._unanswered: dict[int, IncomingCall] = {}
        self._answered: set[IncomingCall] = set()
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
        self._unanswered[call.number] = call

    def unanswered(self, number: int) -> IncomingCall | None:
        """The request of that number, while its terminal answer is not decided."""
        return self._unanswered.get(number)

    def answered(self, call: IncomingCall) -> None:
        """The terminal answer is decided."""
        del self._unanswered[call.number]
        self._answered.add(call)

    def release(self, call: IncomingCall) -> None:
        """The terminal answer was acknowledged."""
        call.move(AnsweringInput.ACK)
        self._answered.remove(call)
        self.open -= 1
        self._bytes_open -= call.size

    def check(self, id: RequestId) -> IncomingCall:
        """The call that an application names to answer it. Raises LocalProtocolError for any other."""
        if not isinstance(id, IncomingCall):
            raise LocalProtocolError(f"{id!r} is no request of the peer's: answer the id of a RequestReceived event")
        if id.owner is not self:
            raise LocalProtocolError(f"{id!r} belongs to another session: answer on the connection that it came from")
        if id.closed:
            raise LocalProtocolError(f"{id!r} is answered already: answer each request once")
        return id

    def due(self, now: float) -> list[IncomingCall]:
        """Unanswered requests whose time has run out."""
        return [call for call in self._unanswered.values() if call.deadline <= now]

    def earliest(self) -> float:
        """The earliest deadline of an unanswered request; infinity when there is none."""
        return min((call.deadline for call in self._unanswered.values()), default=inf)

    def clear(self) -> None:
        """The session ended: no answer is of use any more."""
        for call in (*self._unanswered.values(), *self._answered):
            call.move(AnsweringInput.END)
        self._unanswered.clear()
        self._answered.clear()
