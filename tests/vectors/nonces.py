"""nonces.json: nonces that follow from business keys, and digests of operations."""

from __future__ import annotations

from typing import Any

from ratatoskr import STANDARD_KINDS, Kind, v1
from ratatoskr.messages import business_nonce
from ratatoskr.service.once import operation_digest
from tests.vectors.envelopes import PAYMENT

KEYS: tuple[tuple[str, bytes], ...] = (
    ("text", b"order-17"),
    ("text beyond ASCII", "caf\u00e9".encode()),
    ("bytes", b"\0\xff"),
    ("an integer of 42", b"42"),
    ("an integer of -7", b"-7"),
)
PLACES = ((11, 1), (11, 2), (10, 3), (1001, 4_000_000_000))


def kinds() -> list[dict[str, Any]]:
    """The kinds of the protocol."""
    return [
        {
            "name": kind.name,
            "type": int(kind.type),
            "operation": kind.operation,
            "request": kind.request.DESCRIPTOR.name,
            "response": kind.response.DESCRIPTOR.name,
            "sealed": kind.sealed,
            "once": kind.once or "",
            "stream": kind.stream,
        }
        for kind in STANDARD_KINDS
    ]


def nonces() -> list[dict[str, Any]]:
    return [
        {
            "what": what,
            "type": type,
            "operation": operation,
            "key": key.hex(),
            "nonce": business_nonce(type, operation, key).hex(),
        }
        for type, operation in PLACES
        for what, key in KEYS
    ]


def digests() -> list[dict[str, Any]]:
    """Of one payload, as operations of several kinds."""
    payloads = {"a payment": PAYMENT.SerializeToString(deterministic=True), "nothing": b""}
    return [
        {
            "what": what,
            "type": type,
            "operation": operation,
            "payload": payload.hex(),
            "digest": operation_digest(Kind(type, operation, "ANY", v1.Search, v1.Search), payload).hex(),
        }
        for what, payload in payloads.items()
        for type, operation in PLACES
    ]


def make() -> dict[str, Any]:
    """nonces.json"""
    return {
        "about": "The kinds of the protocol, nonces that follow from business keys, digests of operations.",
        "kinds": kinds(),
        "nonces": nonces(),
        "digests": digests(),
    }
