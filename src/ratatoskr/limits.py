"""Every limit, with a finite default. Negotiated values are the smaller of the two sides'."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import inf

from ratatoskr.errors import LocalProtocolError

MAX_RECORD_BYTES = 1 << 20
"""No configuration may allow longer records."""
MIN_HANDSHAKE_BYTES = 8192
"""Less would not hold hybrid keys, a certificate chain and a token."""
MIN_RECORD_BYTES = 4096
"""No peer may announce less."""
MIN_ENVELOPE_BYTES = 3072
"""No peer may announce less: every error fits."""
MIN_REQUEST_BYTES = 1024
"""No server may announce less: a connection request has a certificate and a signature."""
MIN_CONTROLS = 4
"""No peer may announce less: Ping, Pong, GoAway and Disconnect may meet in one flight."""
MAX_CONTROLS = 256
"""More do not fit into what a flight leaves beside its envelopes."""
MAX_CREDIT = (1 << 32) - 1
"""Items of a stream."""
MAX_ACCEPT_TIMEOUT = 3600.0
"""No server may announce more, in seconds."""
MAX_SESSION_TIMEOUT = 7 * 24 * 3600.0
"""Nobody keeps a session without a transport for longer, in seconds."""
MAX_REQUEST_TIMEOUT = 24 * 3600.0
"""The longest time of a call, in seconds."""

RANGES: dict[str, tuple[float, float]] = {
    "record_bytes": (MIN_RECORD_BYTES, MAX_RECORD_BYTES),
    "handshake_bytes": (MIN_HANDSHAKE_BYTES, MAX_RECORD_BYTES),
    "requests_open": (1, (1 << 32) - 1),
    "request_bytes_open": (1, (1 << 64) - 1),
    "controls": (MIN_CONTROLS, MAX_CONTROLS),
    "metadata_entries": (1, 1024),
    "metadata_bytes": (1, MAX_RECORD_BYTES),
    "cancels_per_minute": (1, (1 << 32) - 1),
    "stream_credit": (1, MAX_CREDIT),
    "stream_credit_ahead": (1, MAX_CREDIT),
    "accept_timeout": (0.001, MAX_ACCEPT_TIMEOUT),
    "request_timeout": (0.001, MAX_REQUEST_TIMEOUT),
}
"""What can be announced, and what works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What this side is willing to receive, hold and wait for. Sizes in bytes, times in seconds."""

    # Before authentication
    handshake_bytes: int = 16 * 1024
    """Bodies of the handshake's records: a client reads an M2 of so many, a server M1 and M3 together."""

    # Negotiated: announced to the peer
    record_bytes: int = 256 * 1024
    """Body of a data record, tag included."""
    envelope_bytes: int = 240 * 1024
    """One envelope. It must fit into a record with 1 KiB to spare."""
    requests_open: int = 256
    """Requests in flight in one direction, from their number to the ack of their terminal answer."""
    request_bytes_open: int = 8 << 20
    """Bytes of request envelopes in flight in one direction."""
    flight_messages: int = 256
    """Envelopes in one flight; no more than a span."""
    span_messages: int = 256
    """Messages between two seals."""
    controls: int = 16
    """Controls in one flight."""
    metadata_entries: int = 32
    """Metadata entries of one request."""
    metadata_bytes: int = 8 * 1024
    """Names and values of all metadata entries, with 32 bytes charged for each entry."""
    cancels_per_minute: int = 100
    """Cancels in a minute, on average, and at once."""

    # Held on this side
    requests_queued: int = 1024
    """Requests that wait for a slot, before ``WouldBlock``."""
    request_bytes_queued: int = 64 << 20
    """Bytes of requests that wait for a slot, before ``WouldBlock``."""
    stream_credit: int = 16
    """Items of a stream that may come before any is granted, unless the request says otherwise."""
    stream_credit_ahead: int = 1024
    """Items of one stream that may be granted and not yet have come."""
    item_bytes_queued: int = 4 << 20
    """Bytes of stream items that wait to be sent, before ``WouldBlock``."""
    outbox_messages: int = 4096
    """Messages that are sent and not acknowledged, before stream items wait."""
    outbox_bytes: int = 1 << 20
    """Bytes that are sent and not acknowledged, before stream items wait."""
    control_rate: float = 10.0
    """Controls and empty records per second, on average."""
    control_burst: int = 20
    """Controls and empty records at once."""
    errors_per_minute: int = 100
    """Requests that break a rule, in a minute, on average, and at once."""

    # Times
    handshake_timeout: float = 10.0
    accept_timeout: float = 10.0
    record_timeout: float = 30.0
    write_timeout: float = 30.0
    heartbeat_interval: float = 15.0
    liveness_timeout: float = 45.0
    ack_delay: float = 0.020
    seal_delay: float = 0.250
    span_timeout: float = 60.0  # longer than liveness_timeout: a line that stands still is no fault of the session
    request_timeout: float = 30.0
    """Default time of a call."""
    drain_timeout: float = 30.0
    close_timeout: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 < getattr(self, field.name) < inf:
                raise LocalProtocolError(f"Limits.{field.name} must be above zero, and finite")
        for name, (least, most) in RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise LocalProtocolError(f"Limits.{name} must be from {least} to {most}")
        if not MIN_ENVELOPE_BYTES <= self.envelope_bytes <= self.record_bytes - 1024:
            raise LocalProtocolError(
                f"Limits.envelope_bytes must be at least {MIN_ENVELOPE_BYTES} and leave 1024 bytes of record_bytes free"
            )
        if self.flight_messages > self.span_messages or self.span_messages > 256:
            raise LocalProtocolError("Limits.flight_messages <= Limits.span_messages <= 256 must hold")
        if self.stream_credit > self.stream_credit_ahead:
            raise LocalProtocolError("Limits.stream_credit <= Limits.stream_credit_ahead must hold")
        if self.heartbeat_interval >= self.liveness_timeout:
            raise LocalProtocolError("Limits.heartbeat_interval < Limits.liveness_timeout must hold: pings prove life")

    def negotiated(self, **announced: int) -> Limits:
        """These limits with the peer's announced ones, by name of :data:`NEGOTIATED`, where they are smaller.

        A peer that announces less than works raises :class:`LocalProtocolError`.
        """
        return replace(self, **{name: min(getattr(self, name), value) for name, value in announced.items()})


NEGOTIATED = (
    "record_bytes",
    "envelope_bytes",
    "requests_open",
    "request_bytes_open",
    "flight_messages",
    "span_messages",
    "controls",
    "metadata_entries",
    "metadata_bytes",
    "cancels_per_minute",
)
"""What both sides announce, and obey the smaller of."""
