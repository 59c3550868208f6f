"""Variety: what differs between runs of interleavings. Limits are small, so that all of them are met."""

from __future__ import annotations

from typing import Any

from ratatoskr.connection import Connection
from ratatoskr.events import RequestFailed
from ratatoskr.limits import Limits
from ratatoskr.testing.authority import SERVER_NAME
from ratatoskr.testing.clock import Clock
from tests.scenarios.core.ledger import ALL_KINDS, Call
from tests.scenarios.core.support import AUTHORITY, DEVICE, NOTE, note

SMALL: list[dict[str, int]] = [
    {},
    {"requests_open": 1, "requests_queued": 2},
    {"requests_open": 2, "requests_queued": 3, "span_messages": 3, "flight_messages": 1},
    {"requests_open": 3, "requests_queued": 1, "cancels_per_minute": 2},
    {"requests_open": 9, "requests_queued": 8, "cancels_per_minute": 5, "controls": 4},
    {"request_bytes_open": 500, "request_bytes_queued": 500, "stream_credit": 3, "stream_credit_ahead": 3},
    {"request_bytes_open": 3000, "request_bytes_queued": 3000, "record_bytes": 4096, "metadata_entries": 1},
    {"item_bytes_queued": 100, "outbox_messages": 2, "requests_queued": 2},
    {"outbox_messages": 1, "requests_open": 3},
    {"item_bytes_queued": 5000, "outbox_bytes": 300, "controls": 5, "requests_open": 4},
    {"item_bytes_queued": 3000, "outbox_messages": 1, "record_bytes": 5000, "span_messages": 2, "flight_messages": 2},
]
"""Limits of one end, beside those that are the same for all."""

CALLS: list[dict[str, Any]] = [
    {},
    {"credit": 1},
    {"timeout": 0.5, "credit": 1},
    {"timeout": 0.05},
    {"expires_in": 0.2, "metadata": {"a": "1"}},
    {"expires_in": 2.0, "padding": 200, "credit": 30},
    {"metadata": {"a": "1", "b": "2", "c": "3"}},
    {"padding": 2500},
    {"padding": 3500, "timeout": 5.0, "credit": 1},
]
"""Options of a request."""

MANNERS = [
    ("waits", "waits", False),
    ("waits", "waits", True),
    ("answers", "waits", True),
    ("waits", "streams", False),
    ("streams", "streams", True),
]
"""What the two applications do by themselves, and whether the client consumes what comes."""


def limits(small: dict[str, int]) -> Limits:
    """A line that stands still for long is no fault of the peer's here, so a span may stay unsealed as long."""
    same: dict[str, Any] = {"control_rate": 1.0, "control_burst": 8, "span_timeout": 3600.0}
    sizes = {"record_bytes": 8192, "envelope_bytes": 3072, "stream_credit_ahead": 30, "item_bytes_queued": 300}
    return Limits(**{**same, **sizes, **small})


def stranger() -> Call:
    """A call of another connection, which has ended."""
    connection = Connection.client(AUTHORITY.client_config(DEVICE, kinds=ALL_KINDS), server_name=SERVER_NAME)
    metadata = {"a": "1", "b": "2"}
    id = connection.request(NOTE, note("elsewhere"), metadata=metadata)
    connection.close(drain=False)
    while not isinstance(connection.poll(Clock().now), RequestFailed):
        pass
    return Call("nobody", id, NOTE, "elsewhere", 30.0, metadata=metadata)


STRANGER = stranger()
