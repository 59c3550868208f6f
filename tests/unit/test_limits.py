"""Limits: what may be configured, and what two sides make of theirs."""

from __future__ import annotations

from dataclasses import fields
from math import inf, nan
from typing import Any

import pytest

from ratatoskr.errors import LocalProtocolError
from ratatoskr.limits import (
    MAX_CONTROLS,
    MAX_CREDIT,
    MAX_RECORD_BYTES,
    MIN_CONTROLS,
    MIN_ENVELOPE_BYTES,
    MIN_RECORD_BYTES,
    NEGOTIATED,
    Limits,
)

DAY = 24 * 3600.0


def limits(**changes: Any) -> Limits:
    """Limits with values that the types would not let pass."""
    return Limits(**changes)


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
@pytest.mark.parametrize("value", [0, -1, nan])
def test_every_limit_is_above_zero(name: str, value: float) -> None:
    with pytest.raises(LocalProtocolError, match=rf"Limits\.{name} must be above zero, and finite"):
        limits(**{name: value})


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_every_limit_is_finite(name: str) -> None:
    assert getattr(Limits(), name) < inf
    with pytest.raises(LocalProtocolError, match=rf"Limits\.{name}"):
        limits(**{name: inf})


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({"record_bytes": MIN_RECORD_BYTES - 1, "envelope_bytes": MIN_ENVELOPE_BYTES - 1}, False),
        ({"record_bytes": MIN_RECORD_BYTES, "envelope_bytes": MIN_ENVELOPE_BYTES}, True),
        ({"record_bytes": MAX_RECORD_BYTES}, True),
        ({"record_bytes": MAX_RECORD_BYTES + 1}, False),
        ({"envelope_bytes": MIN_ENVELOPE_BYTES}, True),
        ({"envelope_bytes": MIN_ENVELOPE_BYTES - 1}, False),
        ({"envelope_bytes": 256 * 1024 - 1024}, True),
        ({"envelope_bytes": 256 * 1024 - 1023}, False),
        ({"record_bytes": 8192}, False),
        ({"span_messages": 256}, True),
        ({"span_messages": 257}, False),
        ({"span_messages": 255}, False),
        ({"span_messages": 255, "flight_messages": 255}, True),
        ({"flight_messages": 1, "span_messages": 1}, True),
        ({"flight_messages": 257}, False),
        ({"requests_open": (1 << 32) - 1}, True),
        ({"requests_open": 1 << 32}, False),
        ({"request_bytes_open": (1 << 64) - 1}, True),
        ({"request_bytes_open": 1 << 64}, False),
        ({"controls": MIN_CONTROLS}, True),
        ({"controls": MIN_CONTROLS - 1}, False),
        ({"controls": MAX_CONTROLS}, True),
        ({"controls": MAX_CONTROLS + 1}, False),
        ({"metadata_entries": 1024}, True),
        ({"metadata_entries": 1025}, False),
        ({"metadata_bytes": MAX_RECORD_BYTES}, True),
        ({"metadata_bytes": MAX_RECORD_BYTES + 1}, False),
        ({"cancels_per_minute": 1}, True),
        ({"cancels_per_minute": (1 << 32) - 1}, True),
        ({"cancels_per_minute": 1 << 32}, False),
        ({"stream_credit": 1}, True),
        ({"stream_credit": 1024}, True),
        ({"stream_credit": 1025}, False),
        ({"stream_credit": MAX_CREDIT, "stream_credit_ahead": MAX_CREDIT}, True),
        ({"stream_credit": MAX_CREDIT + 1}, False),
        ({"stream_credit_ahead": MAX_CREDIT}, True),
        ({"stream_credit_ahead": MAX_CREDIT + 1}, False),
        ({"handshake_bytes": 8192}, True),
        ({"handshake_bytes": 8191}, False),
        ({"handshake_bytes": MAX_RECORD_BYTES}, True),
        ({"handshake_bytes": MAX_RECORD_BYTES + 1}, False),
        ({"accept_timeout": 0.001}, True),
        ({"accept_timeout": 0.0009}, False),
        ({"accept_timeout": 3600.0}, True),
        ({"accept_timeout": 3600.1}, False),
        ({"heartbeat_interval": 44.9}, True),
        ({"heartbeat_interval": 45.0}, False),
        ({"liveness_timeout": 15.1}, True),
        ({"liveness_timeout": 15.0}, False),
        ({"request_timeout": DAY}, True),
        ({"request_timeout": DAY + 1}, False),
    ],
    ids=str,
)
def test_limits_are_checked_at_their_bounds(changes: dict[str, Any], allowed: bool) -> None:
    if allowed:
        made = Limits(**changes)
        assert {name: getattr(made, name) for name in changes} == changes
        return
    with pytest.raises(LocalProtocolError, match=r"Limits\."):
        Limits(**changes)


def announced(**changes: int) -> dict[str, int]:
    own = Limits()
    return {name: getattr(own, name) for name in NEGOTIATED} | changes


@pytest.mark.parametrize(
    ("name", "smaller", "larger"),
    [
        ("record_bytes", 250_000, MAX_RECORD_BYTES),
        ("envelope_bytes", MIN_ENVELOPE_BYTES, 1 << 31),
        ("requests_open", 1, 1 << 31),
        ("request_bytes_open", 1, 1 << 63),
        ("flight_messages", 1, 1 << 31),
        ("controls", MIN_CONTROLS, 1 << 31),
        ("metadata_entries", 1, 1 << 31),
        ("metadata_bytes", 1, 1 << 31),
        ("cancels_per_minute", 1, 1 << 31),
    ],
)
def test_the_smaller_of_the_two_holds(name: str, smaller: int, larger: int) -> None:
    own = Limits(seal_delay=0.5)
    assert own.negotiated(**announced()) == own
    assert own.negotiated(**announced(**{name: larger})) == own
    negotiated = own.negotiated(**announced(**{name: smaller}))
    assert getattr(negotiated, name) == smaller
    assert negotiated.seal_delay == 0.5, "what is not announced is this side's"


def test_the_shorter_of_two_spans_holds_with_flights_that_fit_into_it() -> None:
    own = Limits()
    negotiated = own.negotiated(**announced(span_messages=100, flight_messages=100))
    assert (negotiated.span_messages, negotiated.flight_messages) == (100, 100)
    assert own.negotiated(**announced(span_messages=1 << 31, flight_messages=1 << 31)) == own


@pytest.mark.parametrize(
    "changes",
    [
        {"record_bytes": MIN_RECORD_BYTES - 1, "envelope_bytes": MIN_ENVELOPE_BYTES},
        {"envelope_bytes": MIN_ENVELOPE_BYTES - 1},
        {"record_bytes": 8192},
        {"requests_open": 0},
        {"request_bytes_open": 0},
        {"flight_messages": 0},
        {"span_messages": 0, "flight_messages": 0},
        {"span_messages": 100},
        {"controls": MIN_CONTROLS - 1},
        {"controls": 0},
        {"metadata_entries": 0},
        {"metadata_bytes": 0},
        {"cancels_per_minute": 0},
    ],
    ids=str,
)
def test_a_peer_that_announces_less_than_works_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(LocalProtocolError):
        Limits().negotiated(**announced(**changes))


def test_what_either_side_may_announce_works_with_any_other() -> None:
    """Negotiating valid limits gives valid limits: the shorter record comes with an envelope that fits into it."""
    sides = [
        Limits(record_bytes=MIN_RECORD_BYTES, envelope_bytes=MIN_ENVELOPE_BYTES),
        Limits(record_bytes=MAX_RECORD_BYTES, envelope_bytes=MAX_RECORD_BYTES - 1024),
        Limits(record_bytes=MAX_RECORD_BYTES, envelope_bytes=MIN_ENVELOPE_BYTES),
        Limits(span_messages=200, flight_messages=10, controls=MIN_CONTROLS),
        Limits(span_messages=20, flight_messages=20, metadata_entries=1024, metadata_bytes=1),
        Limits(controls=MAX_CONTROLS, cancels_per_minute=1, requests_open=1),
        Limits(),
    ]
    for own in sides:
        for other in sides:
            both = own.negotiated(**{name: getattr(other, name) for name in NEGOTIATED})
            assert {name: getattr(both, name) for name in NEGOTIATED} == {
                name: min(getattr(own, name), getattr(other, name)) for name in NEGOTIATED
            }
