"""Envelopes: the exact bytes of one message, with one byte before them that says what it is."""

from __future__ import annotations

from ratatoskr import v1
from ratatoskr.errors import Disposition, Failure, FieldViolation, Status

REQUEST = b"\1"
RESPONSE = b"\2"
MAX_VIOLATIONS = 8
"""Field violations that one error names."""
MAX_RETRY_DELAY = 24 * 3600.0
"""The longest advice, in seconds."""


def request_envelope(message: v1.RatatoskrRequest) -> bytes:
    """The envelope of a request."""
    return REQUEST + message.SerializeToString(deterministic=True)


def response_envelope(message: v1.RatatoskrResponse) -> bytes:
    """The envelope of a response."""
    return RESPONSE + message.SerializeToString(deterministic=True)


def failure_to_error(failure: Failure) -> v1.Error:
    """A failure as it goes on the wire, cut so that it fits into the shortest envelope that a peer may ask for."""
    delay = failure.retry_delay
    return v1.Error(
        code=failure.status,
        reason=cut(failure.reason, 64),
        message=cut(failure.message, 512),
        disposition=v1.Disposition.ValueType(failure.disposition),
        retry_delay_ms=0 if delay is None else round(min(max(0.001, delay), MAX_RETRY_DELAY) * 1000),
        violations=[
            v1.FieldViolation(field=cut(v.field, 64), rule=cut(v.rule, 64), description=cut(v.description, 128))
            for v in failure.violations[:MAX_VIOLATIONS]
        ],
    )


def cut(text: str, size: int) -> str:
    """The text in at most ``size`` bytes of UTF-8; what cannot be encoded becomes a question mark."""
    return text.encode(errors="replace")[:size].decode(errors="ignore")


def failure_from_error(error: v1.Error) -> Failure:
    """A failure as the peer told it. Codes and dispositions of a later protocol read as UNKNOWN and MAYBE."""
    known = 0 < error.code <= max(Status)
    known_disposition = error.disposition in (1, 2, 3)
    return Failure(
        Status(error.code) if known else Status.UNKNOWN,
        error.reason,
        error.message,
        Disposition(error.disposition) if known_disposition else Disposition.MAYBE,
        error.retry_delay_ms / 1000 if error.retry_delay_ms else None,
        tuple(FieldViolation(v.field, v.rule, v.description) for v in error.violations),
    )
