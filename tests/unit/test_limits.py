"""Limits: what may be configured, and what two sides make of theirs."""

from __future__ import annotations

from dataclasses import fields
from math import inf, nan
from typing import Any

import pytest

from ratatoskr.errors import LocalProtocolError
from ratatoskr.limits import MAX_RECORD_BYTES, MIN_ENVELOPE_BYTES, MIN_RECORD_BYTES, Limits

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
        ({"handshake_bytes": 8192}, True),
        ({"handshake_bytes": 8191}, False),
        ({"handshake_bytes": MAX_RECORD_BYTES}, True),
        ({"handshake_bytes": MAX_RECORD_BYTES + 1}, False),
        ({"accept_timeout": 0.001}, True),
        ({"accept_timeout": 0.0009}, False),
        ({"accept_timeout": 3600.0}, True),
        ({"accept_timeout": 3600.1}, False),
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
    names = ("record_bytes", "envelope_bytes", "requests_open", "request_bytes_open")
    return {name: getattr(own, name) for name in names} | changes


@pytest.mark.parametrize(
    ("name", "smaller", "larger"),
    [
        ("record_bytes", 250_000, MAX_RECORD_BYTES),
        ("envelope_bytes", MIN_ENVELOPE_BYTES, 1 << 31),
        ("requests_open", 1, 1 << 31),
        ("request_bytes_open", 1, 1 << 63),
    ],
)
def test_the_smaller_of_the_two_holds(name: str, smaller: int, larger: int) -> None:
    own = Limits(seal_delay=0.5)
    assert own.negotiated(**announced()) == own
    assert own.negotiated(**announced(**{name: larger})) == own
    negotiated = own.negotiated(**announced(**{name: smaller}))
    assert getattr(negotiated, name) == smaller
    assert negotiated.seal_delay == 0.5, "what is not announced is this side's"


@pytest.mark.parametrize(
    "changes",
    [
        {"record_bytes": MIN_RECORD_BYTES - 1, "envelope_bytes": MIN_ENVELOPE_BYTES},
        {"envelope_bytes": MIN_ENVELOPE_BYTES - 1},
        {"record_bytes": 8192},
        {"requests_open": 0},
        {"request_bytes_open": 0},
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
        Limits(),
    ]
    for own in sides:
        for other in sides:
            names = ("record_bytes", "envelope_bytes", "requests_open", "request_bytes_open")
            both = own.negotiated(**{name: getattr(other, name) for name in names})
            assert both.record_bytes == min(own.record_bytes, other.record_bytes)
            assert both.envelope_bytes == min(own.envelope_bytes, other.envelope_bytes)
