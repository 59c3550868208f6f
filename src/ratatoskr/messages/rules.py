"""The rules that received messages must keep, each with a stable id, what breaking it ends, and a meaning."""

from __future__ import annotations

from enum import Enum

from ratatoskr.errors import Disposition, Failure, Fault, FieldViolation, ProtocolFault, Status


class Rule(Enum):
    """(id, the fault that ends the session, meaning)."""

    FLIGHT_BUDGET = ("flight.budget", Fault.FLIGHT_INVALID, "a flight has no more fields than its limits allow")
    FLIGHT_MALFORMED = ("flight.malformed", Fault.FLIGHT_INVALID, "a flight parses as ratatoskr.v1.Flight")
    FLIGHT_NUMBER = ("flight.number", Fault.FLIGHT_INVALID, "a flight begins with the next number")
    FLIGHT_COUNT = ("flight.count", Fault.LIMIT_EXCEEDED, "a flight has at most Limits.flight_messages envelopes")
    FLIGHT_CONTROLS = ("flight.controls", Fault.LIMIT_EXCEEDED, "a flight has at most Limits.controls controls")
    FLIGHT_HOPS = ("flight.hops", Fault.FLIGHT_INVALID, "hops are in order, one an envelope, with a valid timeout")
    SPAN_LENGTH = ("span.length", Fault.SEAL_OVERDUE, "a span has at most Limits.span_messages messages")
    ENVELOPE_LENGTH = ("envelope.length", Fault.LIMIT_EXCEEDED, "an envelope has at most Limits.envelope_bytes bytes")
    ENVELOPE_BUDGET = ("envelope.budget", Fault.ENVELOPE_INVALID, "an envelope has no more fields than limits allow")
    ENVELOPE_FORM = ("envelope.form", Fault.ENVELOPE_INVALID, "an envelope begins with 1 or 2")
    ENVELOPE_MALFORMED = ("envelope.malformed", Fault.ENVELOPE_INVALID, "an envelope holds the message it names")
    ENVELOPE_CANONICAL = ("envelope.canonical", Fault.ENVELOPE_INVALID, "an envelope of a sealed kind is canonical")
    REQUEST_TYPE = ("request.type", Fault.ENVELOPE_INVALID, "a connection request has no place inside a session")
    REQUEST_NONCE = ("request.nonce", Fault.ENVELOPE_INVALID, "a nonce has 16 bytes, not all zero")
    REQUEST_METADATA = ("request.metadata", Fault.LIMIT_EXCEEDED, "metadata keeps to its limits")
    RESPONSE_LEAF = ("response.leaf", Fault.ENVELOPE_INVALID, "a response names a leaf of 32 bytes")
    RESPONSE_RESULT = (
        "response.result",
        Fault.ENVELOPE_INVALID,
        "a response holds a payload or an error, or is the end of a stream",
    )
    RESPONSE_UNARY = ("response.unary", Fault.ENVELOPE_INVALID, "a unary answer has index 0 and is the last")
    RESPONSE_ERROR = ("response.error", Fault.ENVELOPE_INVALID, "an error is the last answer")
    RESPONSE_VIOLATIONS = ("response.violations", Fault.LIMIT_EXCEEDED, "an error has at most 8 field violations")
    SEAL_MISSING = ("seal.missing", Fault.SEAL_MISSING, "a flight with a message of a sealed kind carries a seal")
    SEAL_FORM = ("seal.form", Fault.SEAL_INVALID, "a seal has a known suite and a signature of 64 bytes")
    SEAL_SIGNATURE = ("seal.signature", Fault.SEAL_INVALID, "a seal is the signer's over the chain at this place")

    KIND_UNKNOWN = ("kind.unknown", None, "the kind is known to the receiver")
    NONCE_KEY = ("nonce.key", None, "the nonce of a kind with a key field follows from that field")
    REQUEST_EXPIRED = ("request.expired", None, "the request has not expired")
    PAYLOAD_BUDGET = ("payload.budget", None, "a payload has no more fields than limits allow")
    PAYLOAD_MALFORMED = ("payload.malformed", None, "a payload parses as its kind's message")
    PAYLOAD_CANONICAL = ("payload.canonical", None, "a payload of a sealed kind is canonical")
    PAYLOAD_SCHEMA = ("payload.schema", None, "a payload keeps the annotated rules of its fields")

    def __init__(self, id: str, fault: Fault | None, meaning: str) -> None:
        self.id = id
        self.fault = fault
        """None where breaking the rule ends only the call."""
        self.meaning = meaning

    def broken(self, detail: str) -> ProtocolFault:
        """The exception for a session rule."""
        assert self.fault is not None
        return ProtocolFault(self.fault, self.id, detail)

    def failure(self, message: str, violations: tuple[FieldViolation, ...] = ()) -> Failure:
        """The outcome of a request that breaks a call rule."""
        status = _STATUS.get(self, Status.INVALID_ARGUMENT)
        reason = self.id.upper().replace(".", "_")
        return Failure(status, reason, message, Disposition.NOT_PROCESSED, violations=violations)


_STATUS = {
    Rule.KIND_UNKNOWN: Status.UNIMPLEMENTED,
    Rule.REQUEST_EXPIRED: Status.DEADLINE_EXCEEDED,
    Rule.PAYLOAD_BUDGET: Status.RESOURCE_EXHAUSTED,
}
