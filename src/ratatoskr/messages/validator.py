"""MessageValidator: opens flights. Signature, nonce and schema are checked here, and nowhere else.

All or nothing: a flight that breaks a session rule raises :class:`~ratatoskr.errors.ProtocolFault` and leaves the
validator where it was. A payload that breaks a call rule is a message with a ``failure`` in place of its payload.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from google.protobuf.message import DecodeError, Message

from ratatoskr import v1
from ratatoskr.errors import Disposition, Failure, Status
from ratatoskr.identity.verify import VerifyKey
from ratatoskr.limits import MAX_REQUEST_TIMEOUT, Limits
from ratatoskr.messages.canonical import is_canonical
from ratatoskr.messages.chain import Direction, Position, leaf_prefix
from ratatoskr.messages.envelopes import MAX_VIOLATIONS, REQUEST, RESPONSE
from ratatoskr.messages.kinds import AnyKind, KindRegistry, MessageType
from ratatoskr.messages.nonces import NONCE_BYTES, business_nonce
from ratatoskr.messages.rules import Rule
from ratatoskr.messages.schema import CHECKS
from ratatoskr.messages.seals import SIGNATURE_BYTES, SealContext
from ratatoskr.messages.span import Evidence, SealedAt, Span
from ratatoskr.messages.wire import UNCHECKED_BYTES, shape_of

METADATA_ENTRY_BYTES = 32
"""Charged for each metadata entry beside its name and value."""
PAYLOAD_FIELDS = 16 * 1024
"""Fields of one payload, at all depths."""
MAX_TIMEOUT_MS = int(MAX_REQUEST_TIMEOUT * 1000)

_NO_NONCE = bytes(NONCE_BYTES)
_FLIGHT = shape_of(v1.Flight)
_ENVELOPES = {
    REQUEST: shape_of(v1.RatatoskrRequest),
    RESPONSE: shape_of(v1.RatatoskrResponse),
}
_RESPONSE_FIELDS = 256


class Received:
    """One valid message. ``payload`` is None exactly where ``failure`` is set, or the response carries none."""

    __slots__ = ("envelope", "failure", "hop", "kind", "leaf", "message", "number", "payload", "span")

    def __init__(
        self,
        number: int,
        leaf: bytes,
        envelope: bytes,
        message: v1.RatatoskrRequest | v1.RatatoskrResponse,
        kind: AnyKind | None,
        span: Span,
    ) -> None:
        self.number: int = number
        self.leaf: bytes = leaf
        self.envelope: bytes = envelope
        self.message: v1.RatatoskrRequest | v1.RatatoskrResponse = message
        self.kind: AnyKind | None = kind
        self.span: Span = span
        self.payload: Message | None = None
        self.failure: Failure | None = None
        self.hop: v1.Hop | None = None

    @property
    def evidence(self) -> Evidence:
        """What the message becomes provable by."""
        return Evidence(self.span, self.number, self.envelope)


class OpenedFlight(NamedTuple):
    """A flight that kept all session rules."""

    messages: Sequence[Received]
    ack: int
    controls: Sequence[v1.Control]
    sealed: Span | None
    """The span that the flight's seal closed; None without a seal, or where nothing was unsealed."""


class MessageValidator:
    """The receiving end of one direction of a session.

    ``verify_key`` is the sender's, ``own_kid`` the receiver's. ``position`` is where it stands; it moves with every
    flight that opens. Usable alone.
    """

    __slots__ = ("_chain", "_context", "_kinds", "_limits", "_number", "_prefix", "_sealed", "_span", "_verify_key")

    def __init__(
        self,
        verify_key: VerifyKey,
        session_id: bytes,
        direction: Direction,
        kinds: KindRegistry,
        limits: Limits,
        position: Position | None = None,
        *,
        own_kid: bytes,
    ) -> None:
        self._verify_key = verify_key
        self._context = SealContext(session_id, verify_key.kid, own_kid, direction)
        self._prefix = leaf_prefix(session_id, direction)
        self._kinds = kinds
        self._limits = limits
        self._number, self._chain, self._sealed = position or Position.start(session_id, direction)
        self._span = Span(self._context, self._number + 1, self._chain)

    @property
    def position(self) -> Position:
        """Last number, chain value there, last number under a seal."""
        return Position(self._number, self._chain, self._sealed)

    @property
    def unsealed(self) -> int:
        """Messages since the last seal."""
        return self._number - self._sealed

    def open(self, data: bytes) -> OpenedFlight:
        """Open one flight. Raises ProtocolFault where a session rule is broken; then nothing has moved."""
        flight = self._parse(data)
        messages, chain, needs_seal = self._link(flight.envelopes)
        number = self._number + len(messages)
        seal = self._verify(flight.seal, number, chain) if flight.HasField("seal") else None
        if needs_seal and seal is None:
            raise Rule.SEAL_MISSING.broken(f"the flight that ends with message {number} has no seal and needs one")

        span = self._span
        for received in messages:
            span.leaves.append(received.leaf)
            message = received.message
            if isinstance(message, v1.RatatoskrRequest):
                _open_request(received, message)
            else:
                _open_response(received, message)
        for hop in flight.hops:
            messages[hop.index].hop = hop

        self._number, self._chain = number, chain
        closed = None
        if seal is not None:
            span.seal = seal
            self._sealed = number
            closed = span if span.leaves else None
            self._span = Span(self._context, number + 1, chain)
        return OpenedFlight(messages, flight.ack, flight.controls, closed)

    def _parse(self, data: bytes) -> v1.Flight:
        limits = self._limits
        if _FLIGHT.exceeds(data, 8 + 7 * limits.flight_messages + 4 * limits.controls):
            raise Rule.FLIGHT_BUDGET.broken(f"{len(data)} bytes hold too many fields")
        try:
            flight = v1.Flight.FromString(data)
        except DecodeError:
            raise Rule.FLIGHT_MALFORMED.broken(f"{len(data)} bytes are no flight") from None
        if flight.first_number != self._number + 1:
            raise Rule.FLIGHT_NUMBER.broken(f"begins with {flight.first_number}; expected {self._number + 1}")
        count = len(flight.envelopes)
        if count > limits.flight_messages:
            raise Rule.FLIGHT_COUNT.broken(f"{count} envelopes; the limit is {limits.flight_messages}")
        if self._number - self._sealed + count > limits.span_messages:
            raise Rule.SPAN_LENGTH.broken(f"{self.unsealed + count} messages since the last seal")
        if len(flight.controls) > limits.controls:
            raise Rule.FLIGHT_CONTROLS.broken(f"{len(flight.controls)} controls; the limit is {limits.controls}")
        last = -1
        for hop in flight.hops:
            if not last < hop.index < count or hop.timeout_ms > MAX_TIMEOUT_MS:
                raise Rule.FLIGHT_HOPS.broken(f"index {hop.index} after {last} of {count}, timeout {hop.timeout_ms} ms")
            last = hop.index
        return flight

    def _link(self, envelopes: Sequence[bytes]) -> tuple[list[Received], bytes, bool]:
        """The envelopes parsed and linked behind the last one; the chain's new value; whether a seal is needed."""
        prefix, number, chain, span = self._prefix, self._number, self._chain, self._span
        limits, kinds = self._limits, self._kinds
        longest = limits.envelope_bytes
        needs_seal = False
        messages = []
        for envelope in envelopes:
            number += 1
            if len(envelope) > longest:
                raise Rule.ENVELOPE_LENGTH.broken(f"message {number}: {len(envelope)} bytes; the limit is {longest}")
            body = envelope[1:]
            message = _parse_envelope(number, envelope[:1], body, limits)
            kind = kinds.get(message.type, message.operation)
            if isinstance(message, v1.RatatoskrRequest):
                _check_request(number, message, kind, limits)
            else:
                _check_response(number, message, kind)
            if kind is not None and kind.sealed:
                needs_seal = True
                if not is_canonical(message, body):
                    raise Rule.ENVELOPE_CANONICAL.broken(f"message {number} is not in its canonical encoding")
            leaf = sha256(prefix + number.to_bytes(8, "big") + envelope).digest()
            chain = sha256(b"\2" + chain + leaf).digest()
            messages.append(Received(number, leaf, envelope, message, kind, span))
        return messages, chain, needs_seal

    def _verify(self, seal: v1.Seal, number: int, chain: bytes) -> SealedAt:
        signature = seal.signature
        if seal.signature_suite != self._context.signature_suite or len(signature) != SIGNATURE_BYTES:
            raise Rule.SEAL_FORM.broken(f"suite {seal.signature_suite}, {len(signature)} bytes")
        signed_at_ms = seal.signed_at_ms
        if not self._verify_key.verify(signature, self._context.signed_bytes(number, chain, signed_at_ms)):
            raise Rule.SEAL_SIGNATURE.broken(f"the seal at message {number} does not verify")
        return SealedAt(signed_at_ms, signature)


def _parse_envelope(
    number: int, form: bytes, body: bytes, limits: Limits
) -> v1.RatatoskrRequest | v1.RatatoskrResponse:
    if form not in _ENVELOPES:
        raise Rule.ENVELOPE_FORM.broken(f"message {number} begins with {form.hex() or 'nothing'}")
    if len(body) > UNCHECKED_BYTES:
        fields = 8 + 3 * limits.metadata_entries if form == REQUEST else _RESPONSE_FIELDS
        if _ENVELOPES[form].exceeds(body, fields):
            raise Rule.ENVELOPE_BUDGET.broken(f"message {number} holds more than {fields} fields")
    try:
        return v1.RatatoskrRequest.FromString(body) if form == REQUEST else v1.RatatoskrResponse.FromString(body)
    except DecodeError:
        raise Rule.ENVELOPE_MALFORMED.broken(f"message {number} does not parse") from None


def _check_request(number: int, request: v1.RatatoskrRequest, kind: AnyKind | None, limits: Limits) -> None:
    if kind is None and request.type <= MessageType.CONNECTION_RESPONSE:
        raise Rule.REQUEST_TYPE.broken(f"message {number} has type {request.type}")
    nonce = request.nonce
    if len(nonce) != NONCE_BYTES or nonce == _NO_NONCE:
        raise Rule.REQUEST_NONCE.broken(f"message {number} has a nonce of {len(nonce)} bytes, or of zeros")
    metadata = request.metadata
    if metadata:
        size = sum(METADATA_ENTRY_BYTES + len(e.name.encode()) + len(e.value.encode()) for e in metadata)
        if len(metadata) > limits.metadata_entries or size > limits.metadata_bytes:
            raise Rule.REQUEST_METADATA.broken(f"message {number}: {len(metadata)} entries, charged {size} bytes")


def _check_response(number: int, response: v1.RatatoskrResponse, kind: AnyKind | None) -> None:
    if len(response.request_leaf) != 32:
        raise Rule.RESPONSE_LEAF.broken(f"message {number}: {len(response.request_leaf)} bytes")
    result = response.WhichOneof("result")
    stream = kind is not None and kind.stream
    if result is None and not (stream and response.last):
        raise Rule.RESPONSE_RESULT.broken(f"message {number} holds neither payload nor error")
    if result == "error" and len(response.error.violations) > MAX_VIOLATIONS:
        raise Rule.RESPONSE_VIOLATIONS.broken(f"message {number}: {len(response.error.violations)} violations")
    if (response.index or not response.last) and not stream:
        raise Rule.RESPONSE_UNARY.broken(f"message {number}: index {response.index}, last {response.last}")
    if not response.last and result == "error":
        raise Rule.RESPONSE_ERROR.broken(f"message {number} is an error and not the last")


def _open_request(received: Received, request: v1.RatatoskrRequest) -> None:
    kind = received.kind
    if kind is None:
        received.failure = Rule.KIND_UNKNOWN.failure(f"kind {request.type}/{request.operation} is not known here")
        return
    payload = _open_payload(request.payload, kind.request, kind)
    if isinstance(payload, Failure):
        received.failure = payload
        return
    if isinstance(kind.once, str):
        key = kind.key_in(payload)
        if key is None or request.nonce != business_nonce(kind.type, kind.operation, key):
            received.failure = Rule.NONCE_KEY.failure(f"the nonce does not follow from {kind.once}")
            return
    received.payload = payload


def _open_response(received: Received, response: v1.RatatoskrResponse) -> None:
    kind = received.kind
    if kind is None or response.WhichOneof("result") != "payload":
        return
    payload = _open_payload(response.payload, kind.response, kind)
    if isinstance(payload, Failure):
        # The peer did something and answers nonsense: nobody knows what it did.
        received.failure = Failure(Status.INTERNAL, "ANSWER_INVALID", str(payload), Disposition.MAYBE)
        return
    received.payload = payload


def _open_payload(data: bytes, cls: type[Message], kind: AnyKind) -> Message | Failure:
    """The payload, or why it is none."""
    if len(data) > UNCHECKED_BYTES and shape_of(cls).exceeds(data, PAYLOAD_FIELDS):
        return Rule.PAYLOAD_BUDGET.failure(f"{cls.DESCRIPTOR.name} holds more than {PAYLOAD_FIELDS} fields")
    try:
        payload = cls.FromString(data)
    except DecodeError:
        return Rule.PAYLOAD_MALFORMED.failure(f"the payload is no {cls.DESCRIPTOR.name}")
    if kind.sealed and not is_canonical(payload, data):
        return Rule.PAYLOAD_CANONICAL.failure(f"{cls.DESCRIPTOR.name} is not in its canonical encoding")
    check = CHECKS.get(cls)
    if check is not None and (violations := check(payload)):
        return Rule.PAYLOAD_SCHEMA.failure(f"{violations[0].field}: {violations[0].description}", violations)
    return payload
