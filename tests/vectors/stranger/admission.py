"""docs/spec/admission.md: what M2, M3 and RESPONSE carry, and the limits that follow."""

from __future__ import annotations

from typing import Any

from .noise import Refused, require
from .protobuf import Malformed, NotCanonical, decode, encode, left

WEEK_MS = 604_800_000
LEAST = {
    "record_bytes": 4096, "envelope_bytes": 3072, "requests_open": 1, "request_bytes_open": 1, "flight_messages": 1,
    "span_messages": 1, "controls": 4, "metadata_entries": 1, "metadata_bytes": 1, "cancels_per_minute": 1,
}  # fmt: skip


def read(name: str, data: bytes) -> dict[str, Any]:
    require(left(name, data, 256) >= 0, "admission.malformed")
    try:
        message = decode(name, data)
    except Malformed:
        raise Refused("admission.malformed") from None
    except NotCanonical:
        raise Refused("admission.field") from None
    require(encode(name, message) == data, "admission.field")
    return message


def hello(data: bytes) -> dict[str, Any]:
    message = read("ServerHello", data)
    require(1 <= message.get("accept_timeout_ms", 0) <= 3_600_000, "admission.field")
    require(message.get("request_bytes", 0) >= 1024, "admission.field")
    return message


def request(data: bytes) -> dict[str, Any]:
    outer = read("RatatoskrRequest", data)
    require((outer.get("type", 0), outer.get("operation", 0)) == (1, 1), "admission.field")
    require(len(outer.get("nonce", b"")) == 16, "admission.field")
    message = read("ConnectionRequest", outer.get("payload", b""))
    for name in ("suites", "versions"):
        require(1 <= len(message.get(name, [])) <= 16, "admission.field")
    require(len(message.get("token", b"")) <= 4096, "admission.field")
    require(message.get("session_ms", 0) <= WEEK_MS, "admission.field")
    if "resume" in message:
        wish = message["resume"]
        require(len(wish.get("session_id", b"")) == 32 and wish.get("attempt", 0) > 0, "admission.field")
        _proof_and_positions(wish)
    return message


def response(data: bytes) -> dict[str, Any]:
    """The error, or the ConnectionResponse."""
    message = read("ConnectionAnswer", data).get("response", {})
    require((message.get("type", 0), message.get("operation", 0)) == (2, 1), "admission.field")
    if "error" in message:
        return {"error": message["error"]}
    inner = read("ConnectionResponse", message.get("payload", b""))
    require(inner.get("session_ms", 0) <= WEEK_MS, "admission.field")
    if "resumed" in inner:
        _proof_and_positions(inner["resumed"])
    return inner


def _proof_and_positions(said: dict[str, Any]) -> None:
    require(len(said.get("proof", b"")) == 32, "admission.field")
    for name in ("received", "sent"):
        place = said.get(name, {})
        require(len(place.get("chain", b"")) == 32, "admission.field")
        require(place.get("sealed", 0) <= place.get("number", 0), "admission.field")


def position(said: dict[str, Any]) -> dict[str, Any]:
    """With its defaults."""
    return {"number": 0, "sealed": 0} | said


def agree(own: dict[str, int], theirs: dict[str, int]) -> dict[str, int]:
    """The smaller of both. Raises Refused."""
    both = {name: min(own[name], theirs.get(name, 0)) for name in LEAST}
    require(all(both[name] >= least for name, least in LEAST.items()), "admission.limits")
    require(both["envelope_bytes"] <= both["record_bytes"] - 1024, "admission.limits")
    require(both["flight_messages"] <= both["span_messages"] <= 256, "admission.limits")
    return both
