"""Requests that we make: the queue before a slot is free, and the slots.

A slot is held from the moment that a request gets its number until its terminal answer is delivered here, even when
its caller has given up in between. So a peer that never answers costs slots, and never memory without bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import inf

from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.errors import Fault, LocalProtocolError, ProtocolFault, WouldBlock
from ratatoskr.events import RequestId
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind, MessageType
from ratatoskr.messages.envelopes import request_envelope

_PAYMENT = int(MessageType.PAYMENT_REQUEST)
REQUEST_OVERHEAD = 128
"""Bytes of a request's envelope beside payload and metadata, at most."""


class OutgoingCall(RequestId):
    """One request of ours, until its outcome."""

    __slots__ = (
        "deadline",
        "expires_at_ms",
        "issued_at_ms",
        "kind",
        "leaf",
        "metadata",
        "nonce",
        "number",
        "payload",
        "resolved",
        "size",
        "timeout",
    )

    def __init__(
        self, kind: AnyKind, payload: bytes, nonce: bytes, timeout: float, expires_at_ms: int, metadata: dict[str, str]
    ) -> None:
        self.kind: AnyKind = kind
        self.payload: bytes = payload
        self.nonce: bytes = nonce
        self.timeout: float = timeout
        self.expires_at_ms: int = expires_at_ms
        self.metadata: dict[str, str] = metadata
        self.size: int = len(payload) + REQUEST_OVERHEAD
        if metadata:
            self.size += sum(len(k.encode()) + len(v.encode()) + 16 for k, v in metadata.items())
        self.issued_at_ms: int = 0
        self.deadline: float = inf
        self.number: int = 0
        """0 until it has a slot."""
        self.leaf: bytes = b""
        self.resolved: bool = False
        """Whether the outcome is decided here; the peer's answer is dropped then."""

    def __repr__(self) -> str:
        return f"<RequestId {self.kind.name} {id(self):x}>"

    def envelope(self) -> bytes:
        """The request itself."""
        request = v1.RatatoskrRequest(
            type=v1.MessageType.ValueType(self.kind.type),
            operation=self.kind.operation,
            nonce=self.nonce,
            issued_at_ms=self.issued_at_ms,
            payload=self.payload,
        )
        if self.expires_at_ms:
            request.expires_at_ms = self.expires_at_ms
        for name, value in self.metadata.items():
            request.metadata.add(name=name, value=value)
        return request_envelope(request)


class OutgoingCalls:
    """The queue of requests without a number, payments first, and the table of those with one."""

    __slots__ = ("_blocked", "_bytes_open", "_limits", "_open", "_others", "_payments", "_queued_bytes")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._payments: deque[OutgoingCall] = deque()
        self._others: deque[OutgoingCall] = deque()
        self._queued_bytes = 0
        self._open: dict[int, OutgoingCall] = {}
        self._bytes_open = 0
        self._blocked = False

    def bind(self, limits: Limits) -> None:
        """The limits were negotiated."""
        self._limits = limits

    def enqueue(self, call: OutgoingCall) -> None:
        """Take a request. Raises WouldBlock when the queue is full, LocalProtocolError when it can never be sent."""
        limits = self._limits
        if call.size > limits.envelope_bytes:
            raise LocalProtocolError(
                f"{call.kind.name}: the request has {call.size} bytes; Limits.envelope_bytes is {limits.envelope_bytes}"
            )
        payments, others = self._payments, self._others
        queued = len(payments) + len(others)
        over_bytes = queued and self._queued_bytes + call.size > limits.request_bytes_queued
        if queued >= limits.requests_queued or over_bytes:
            self._blocked = True
            raise WouldBlock(f"{queued} requests are queued; wait for the event Writable")
        (payments if call.kind.type == _PAYMENT else others).append(call)
        self._queued_bytes += call.size

    @property
    def queued(self) -> int:
        """Requests that wait for a slot."""
        return len(self._payments) + len(self._others)

    @property
    def empty(self) -> bool:
        """Whether nothing is queued and nothing open."""
        return not (self._payments or self._others or self._open)

    def next(self, room: int) -> OutgoingCall | None:
        """The next request that has a free slot and fits into ``room`` bytes."""
        queue = self._payments or self._others
        if not queue:
            return None
        size = queue[0].size
        limits = self._limits
        slots_full = len(self._open) >= limits.requests_open
        bytes_full = self._open and self._bytes_open + size > limits.request_bytes_open
        if size > room or slots_full or bytes_full:
            return None
        self._queued_bytes -= size
        return queue.popleft()

    def opened(self, call: OutgoingCall, number: int, leaf: bytes) -> None:
        """The request got its number."""
        call.number = number
        call.leaf = leaf
        self._open[number] = call
        self._bytes_open += call.size

    def answered(self, number: int, leaf: bytes, kind: AnyKind | None) -> OutgoingCall:
        """The request that a terminal answer names, whose slot is free now. Raises ProtocolFault for any other."""
        call = self._open.get(number)
        if call is None or call.leaf != leaf or (call.kind is not kind and call.kind != kind):
            raise ProtocolFault(Fault.ANSWER_INVALID, "response.request", f"answers {number}, which is not open so")
        del self._open[number]
        self._bytes_open -= call.size
        return call

    def reopen(self, call: OutgoingCall) -> None:
        """The answer turned out to be part of an invalid flight."""
        call.resolved = False
        self._open[call.number] = call
        self._bytes_open += call.size

    def unblocked(self) -> bool:
        """Whether to tell an application that was told ``WouldBlock`` that there is room again."""
        if not self._blocked or self.queued * 2 > self._limits.requests_queued:
            return False
        if self._queued_bytes * 2 > self._limits.request_bytes_queued:
            return False
        self._blocked = False
        return True

    def take_queued(self) -> list[OutgoingCall]:
        """Empty the queue."""
        calls = [*self._payments, *self._others]
        self._payments.clear()
        self._others.clear()
        self._queued_bytes = 0
        return calls

    def drop_queued(self, call: OutgoingCall) -> None:
        """Take one request out of the queue."""
        (self._payments if call.kind.type == _PAYMENT else self._others).remove(call)
        self._queued_bytes -= call.size

    def take_longer_than(self, size: int) -> list[OutgoingCall]:
        """Take out of the queue what the peer would not read."""
        longer = [call for call in (*self._payments, *self._others) if call.size > size]
        for call in longer:
            self.drop_queued(call)
        return longer

    def unresolved(self) -> Iterator[OutgoingCall]:
        """All requests without an outcome, open ones first."""
        yield from [call for call in self._open.values() if not call.resolved]
        yield from [*self._payments, *self._others]


def serialize_payload(kind: AnyKind, message: Message) -> bytes:
    """The payload, with misuse named."""
    if not isinstance(message, kind.request):
        raise LocalProtocolError(
            f"{kind.name} takes a {kind.request.DESCRIPTOR.name}; this is a {type(message).__name__}"
        )
    payload: bytes = message.SerializeToString(deterministic=True)
    return payload
