"""Requests that we make: the queue before a slot is free, and the slots.

1. Payments overtake: they have their lane in the queue, an eighth more places in it, and an eighth of all slots that
   other requests leave free, with a share of their bytes. A flood of searches delays them by what is on its way, and
   not by what waits.
2. A slot is held from the moment that a request gets its number until its terminal answer is delivered here, even when
   its caller has given up in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.errors import Fault, LocalProtocolError, ProtocolFault, WouldBlock
from ratatoskr.events import RequestId
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind, Received
from ratatoskr.messages.envelopes import request_envelope
from ratatoskr.session.lanes import URGENT, Lanes
from ratatoskr.session.states import ASKING, Asking, AskingInput

REQUEST_OVERHEAD = 128
"""Bytes of a request's envelope beside payload and metadata, at most."""
_RESERVE = 8
"""One part in so many is for payments alone."""
_RESERVED_BYTES = 64 * 1024
"""More bytes than these need not be reserved: payments are short."""


class OutgoingCall(RequestId):
    """One request of ours."""

    __slots__ = (
        "answered",
        "attempt",
        "credit",
        "deadline",
        "expires_at_ms",
        "granted",
        "issued_at_ms",
        "items",
        "kind",
        "leaf",
        "metadata",
        "nonce",
        "number",
        "owner",
        "payload",
        "size",
        "state",
        "timeout",
        "told",
        "told_at",
        "urgent",
    )

    def __init__(
        self,
        owner: object,
        kind: AnyKind,
        payload: bytes,
        nonce: bytes,
        *,
        timeout: float,
        expires_at_ms: int,
        issued_at_ms: int,
        metadata: dict[str, str],
        credit: int,
    ) -> None:
        self.owner: object = owner
        """Whose it is; others must not touch it."""
        self.kind: AnyKind = kind
        self.payload: bytes = payload
        self.nonce: bytes = nonce
        self.timeout: float = timeout
        self.expires_at_ms: int = expires_at_ms
        self.metadata: dict[str, str] = metadata
        self.size: int = len(payload) + REQUEST_OVERHEAD
        if metadata:
            self.size += sum(len(k.encode()) + len(v.encode()) + 16 for k, v in metadata.items())
        self.urgent: bool = kind.type == URGENT
        self.answered: bool = False
        """Whether its outcome is what it asked for."""
        self.attempt: int = 0
        """How often its nonce was sent before."""
        self.credit: int = credit
        """Items that may come at first; 0 where it is no stream."""
        self.granted: int = credit
        """Items that may come in all."""
        self.items: int = 0
        """Items that came."""
        self.told: int = 0
        """Items that may come in all, as the peer was told."""
        self.told_at: int = 0
        """Items that had come when it was told."""
        self.issued_at_ms: int = issued_at_ms
        """0 until the first poll, where nothing was said."""
        self.deadline: float = inf
        self.number: int = 0
        """0 until it has a slot."""
        self.leaf: bytes = b""
        self.state: Asking = Asking.QUEUED

    def __repr__(self) -> str:
        return f"<RequestId {self.kind.name} {id(self):x}>"

    def move(self, input: AskingInput) -> None:
        """Take the transition."""
        self.state = ASKING[self.state, input]

    @property
    def grant_due(self) -> bool:
        """Whether the peer is to be told of more credit: an item has come since it was told."""
        return self.granted > self.told and self.items > self.told_at and self.state is Asking.OPEN

    def tell_credit(self) -> None:
        """The peer is told of all credit."""
        self.told, self.told_at = self.granted, self.items

    def forget_told(self) -> None:
        """Whether the peer was told of more credit than it began with is not known any more."""
        self.told, self.told_at = self.credit, -1

    def again(self, owner: object, timeout: float) -> OutgoingCall:
        """The same request once more: all that is signed is the same, so it is the same operation."""
        call = OutgoingCall(
            owner,
            self.kind,
            self.payload,
            self.nonce,
            timeout=timeout,
            expires_at_ms=self.expires_at_ms,
            issued_at_ms=self.issued_at_ms,
            metadata=self.metadata,
            credit=self.credit,
        )
        call.attempt = self.attempt + bool(self.number)
        return call

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
    """The queue of requests without a number, and the table of those with one."""

    __slots__ = ("_blocked", "_bytes_open", "_limits", "_open", "_queue", "_queued_bytes")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._queue: Lanes[OutgoingCall] = Lanes()
        self._queued_bytes = 0
        self._open: dict[int, OutgoingCall] = {}
        self._bytes_open = 0
        self._blocked = 0  # bytes of the shortest request that was refused

    def bind(self, limits: Limits) -> None:
        """The limits were negotiated."""
        self._limits = limits

    def enqueue(self, call: OutgoingCall) -> None:
        """Take a request. Raises WouldBlock when the queue is full, LocalProtocolError when it can never be sent."""
        limits, queue = self._limits, self._queue
        if call.size > limits.envelope_bytes:
            raise LocalProtocolError(
                f"{call.kind.name}: the request has {call.size} bytes; Limits.envelope_bytes is {limits.envelope_bytes}"
            )
        places, room = limits.requests_queued, limits.request_bytes_queued
        if call.urgent:
            places, room = places + places // _RESERVE, room + room // _RESERVE
        if queue.count >= places or (queue.count and self._queued_bytes + call.size > room):
            self._blocked = min(call.size, self._blocked or call.size)
            raise WouldBlock(f"{queue.count} requests are queued; wait for the event Writable")
        queue.put(call, urgent=call.urgent)
        self._queued_bytes += call.size

    @property
    def queued(self) -> int:
        """Requests that wait for a slot."""
        return self._queue.count

    @property
    def queued_bytes(self) -> int:
        """Bytes of requests that wait for a slot."""
        return self._queued_bytes

    @property
    def in_flight(self) -> int:
        """Requests that have a slot or wait for one."""
        return len(self._open) + self._queue.count

    def next(self, room: int) -> OutgoingCall | None:
        """The next request that has a free slot and fits into ``room`` bytes."""
        call = self._queue.first()
        if call is None or call.size > room:
            return None
        slots, most = self._limits.requests_open, self._limits.request_bytes_open
        if not call.urgent:
            slots, most = slots - slots // _RESERVE, most - min(most // _RESERVE, _RESERVED_BYTES)
        if len(self._open) >= slots or (self._open and self._bytes_open + call.size > most):
            return None
        self._queued_bytes -= call.size
        return self._queue.pop()

    def opened(self, call: OutgoingCall, number: int, leaf: bytes) -> None:
        """The request got its number."""
        call.move(AskingInput.NUMBER)
        call.number = number
        call.leaf = leaf
        call.tell_credit()
        self._open[number] = call
        self._bytes_open += call.size

    def with_number(self, number: int) -> OutgoingCall | None:
        """The request of that number, while its terminal answer has not come."""
        return self._open.get(number)

    def open_calls(self) -> list[OutgoingCall]:
        """All requests whose terminal answer has not come."""
        return list(self._open.values())

    def answered(self, received: Received, response: v1.RatatoskrResponse) -> OutgoingCall:
        """The request that an answer names. Raises ProtocolFault where there is none such, or the answer is an item
        that is out of order or beyond the stream's credit.
        """
        number, kind = response.request_number, received.kind
        call = self._open.get(number)
        if call is None or call.leaf != response.request_leaf or (call.kind is not kind and call.kind != kind):
            raise ProtocolFault(Fault.ANSWER_INVALID, "response.request", f"answers {number}, which is not open so")
        if response.index != call.items:
            raise ProtocolFault(
                Fault.ANSWER_INVALID, "response.item", f"item {response.index} of {number} after {call.items} items"
            )
        if not response.last:
            if call.items >= call.granted:
                raise ProtocolFault(
                    Fault.LIMIT_EXCEEDED, "stream.credit", f"more than the {call.granted} items of {number} came"
                )
            call.items += 1
        return call

    def close(self, call: OutgoingCall) -> None:
        """The terminal answer has come: the slot is free."""
        del self._open[call.number]
        self._bytes_open -= call.size

    def reopen(self, call: OutgoingCall) -> None:
        """The terminal answer turned out to be part of an invalid flight. Its session ends, and so does the call."""
        call.state = Asking.OPEN
        if call.number not in self._open:
            self._open[call.number] = call
            self._bytes_open += call.size

    def unblocked(self) -> bool:
        """Whether to tell an application that was told ``WouldBlock`` that there is room again. Said when half of all
        room is free, and the shortest of what was refused fits.
        """
        if not self._blocked or self._queue.count * 2 > self._limits.requests_queued:
            return False
        room = self._limits.request_bytes_queued
        if self._queue.count and self._queued_bytes + max(self._queued_bytes, self._blocked) > room:
            return False
        self._blocked = 0
        return True

    def drop_queued(self, call: OutgoingCall) -> None:
        """Take one request out of the queue."""
        self._queue.remove(call, urgent=call.urgent)
        self._queued_bytes -= call.size

    def all_queued(self) -> list[OutgoingCall]:
        """All requests without a number."""
        return list(self._queue)

    def adopt(self, other: OutgoingCalls) -> list[OutgoingCall]:
        """Take over what waits without a number in another session. Returns it, in order.

        It may be more than has room here; it was let in there.
        """
        calls = other.all_queued()
        for call in calls:
            other.drop_queued(call)
            self._queue.put(call, urgent=call.urgent)
            self._queued_bytes += call.size
        self._blocked = min(filter(None, (self._blocked, other._blocked)), default=0)
        other._blocked = 0
        return calls

    def take_open(self) -> list[OutgoingCall]:
        """Empty the table of requests with a number."""
        calls = list(self._open.values())
        self._open.clear()
        self._bytes_open = 0
        return calls

    @property
    def empty(self) -> bool:
        """Whether nothing is queued and nothing open."""
        return not (self._queue.count or self._open)

    def unresolved(self) -> Iterator[OutgoingCall]:
        """All requests without an outcome, open ones first."""
        yield from [call for call in self._open.values() if call.state is not Asking.GIVEN_UP]
        yield from list(self._queue)


def serialize_payload(kind: AnyKind, message: Message) -> bytes:
    """The payload, with misuse named."""
    if not isinstance(message, kind.request):
        raise LocalProtocolError(
            f"{kind.name} takes a {kind.request.DESCRIPTOR.name}; this is a {type(message).__name__}"
        )
    payload: bytes = message.SerializeToString(deterministic=True)
    return payload
