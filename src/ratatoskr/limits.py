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
MAX_ACCEPT_TIMEOUT = 3600.0
"""No server may announce more, in seconds."""
MAX_REQUEST_TIMEOUT = 24 * 3600.0
"""The longest time of a call, in seconds."""

_RANGES: dict[str, tuple[float, float]] = {
    "record_bytes": (MIN_RECORD_BYTES, MAX_RECORD_BYTES),
    "handshake_bytes": (MIN_HANDSHAKE_BYTES, MAX_RECORD_BYTES),
    "requests_open": (1, (1 << 32) - 1),
    "request_bytes_open": (1, (1 << 64) - 1),
    "accept_timeout": (0.001, MAX_ACCEPT_TIMEOUT),
    "request_timeout": (0.001, MAX_REQUEST_TIMEOUT),
}
"""What can be announced, and what works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What this side is willing to receive, hold and wait for. Sizes in bytes, times in seconds."""

    # Before authentication
    handshake_bytes: int = 16 * 1024
    """All handshake records together."""

    # Negotiated: announced to the peer
    record_bytes: int = 256 * 1024
    """Body of a data record, tag included."""
    envelope_bytes: int = 240 * 1024
    """One envelope. It must fit into a record with 1 KiB to spare."""
    requests_open: int = 256
    """Requests in flight in one direction, from their number to the ack of their terminal answer."""
    request_bytes_open: int = 8 << 20
    """Bytes of request envelopes in flight in one direction."""

    # Held on this side
    requests_queued: int = 1024
    """Requests that wait for a slot, before ``WouldBlock``."""
    request_bytes_queued: int = 64 << 20
    """Bytes of requests that wait for a slot, before ``WouldBlock``."""
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
    control_rate: float = 10.0
    """Controls and empty records per second, on average."""
    control_burst: int = 20
    """Controls and empty records at once."""

    # Times
    handshake_timeout: float = 10.0
    accept_timeout: float = 10.0
    record_timeout: float = 30.0
    write_timeout: float = 30.0
    heartbeat_interval: float = 15.0
    liveness_timeout: float = 45.0
    ack_delay: float = 0.020
    seal_delay: float = 0.250
    span_timeout: float = 30.0
    request_timeout: float = 30.0
    """Default time of a call."""
    drain_timeout: float = 30.0
    close_timeout: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 < getattr(self, field.name) < inf:
                raise LocalProtocolError(f"Limits.{field.name} must be above zero, and finite")
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise LocalProtocolError(f"Limits.{name} must be from {least} to {most}")
        if not MIN_ENVELOPE_BYTES <= self.envelope_bytes <= self.record_bytes - 1024:
            raise LocalProtocolError(
                f"Limits.envelope_bytes must be at least {MIN_ENVELOPE_BYTES} and leave 1024 bytes of record_bytes free"
            )
        if self.flight_messages > self.span_messages or self.span_messages > 256:
            raise LocalProtocolError("Limits.flight_messages <= Limits.span_messages <= 256 must hold")

    def negotiated(
        self, *, record_bytes: int, envelope_bytes: int, requests_open: int, request_bytes_open: int
    ) -> Limits:
        """These limits with the peer's announced ones where they are smaller.

        A peer that announces less than works raises :class:`LocalProtocolError`.
        """
        return replace(
            self,
            record_bytes=min(self.record_bytes, record_bytes),
            envelope_bytes=min(self.envelope_bytes, envelope_bytes),
            requests_open=min(self.requests_open, requests_open),
            request_bytes_open=min(self.request_bytes_open, request_bytes_open),
        )
