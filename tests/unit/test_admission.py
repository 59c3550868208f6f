"""The messages of the handshake: what is said is what is read, and nothing else is read."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.admission import (
    MAX_TOKEN_BYTES,
    ConnectionRequest,
    ConnectionResponse,
    Resume,
    Resumed,
    ServerHello,
    announced,
    negotiate,
    transcript_bytes,
)
from ratatoskr.errors import Disposition, Failure, Fault, FieldViolation, ProtocolFault, Status
from ratatoskr.limits import MAX_SESSION_TIMEOUT, MIN_ENVELOPE_BYTES, MIN_RECORD_BYTES, Limits
from ratatoskr.messages import Position
from tests.unit.messages.support import NONCE, NOW_MS, field

CHAIN = (
    v1.IdentityCertificate(body=b"leaf", signature=bytes(64)),
    v1.IdentityCertificate(body=b"issuer", signature=bytes(64)),
)
LIMITS = announced(Limits())
HELLO = ServerHello(CHAIN, NOW_MS / 1000, 16_384, 10.0)
REQUEST = ConnectionRequest(CHAIN, (1, 2), (1,), b"token", LIMITS)
ACCEPTED = ConnectionResponse(LIMITS, 7 * 86_400.0, None)
RESUME = Resume(b"s" * 32, 3, Position(7, b"a" * 32, 5), Position(9, b"b" * 32, 9), b"p" * 32)
RESUMED = Resumed(Position(9, b"b" * 32, 9), Position(8, b"c" * 32, 0), b"q" * 32)
RESUMING = ConnectionRequest(CHAIN, (1, 2), (1,), b"token", LIMITS, 300.0, RESUME)
GOING_ON = ConnectionResponse(LIMITS, 7 * 86_400.0, None, MAX_SESSION_TIMEOUT, RESUMED)
REJECTED = ConnectionResponse(
    None, 0.0, Failure(Status.PERMISSION_DENIED, "BLOCKED", "no", Disposition.NOT_PROCESSED, retry_delay=60.0)
)


def fault_of(decode: Callable[[bytes], Any], data: bytes) -> Fault | None:
    """The fault by which the bytes are refused; any other exception goes through."""
    try:
        decode(data)
    except ProtocolFault as fault:
        return fault.fault
    return None


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(ProtocolFault) as caught:
        call()
    assert caught.value.fault is Fault.REFUSED
    return caught.value.rule


def b3(request: dict[str, Any] | None = None, **payload: Any) -> bytes:
    """A connection request, with any field replaced: of the payload, or of the request around it."""
    inner: dict[str, Any] = {"chain": CHAIN, "suites": [1], "versions": [1], "token": b"t", "limits": LIMITS}
    outer: dict[str, Any] = {
        "type": v1.MESSAGE_TYPE_CONNECTION_REQUEST,
        "operation": 1,
        "nonce": NONCE,
        "payload": v1.ConnectionRequest(**(inner | payload)).SerializeToString(),
    }
    return v1.RatatoskrRequest(**(outer | (request or {}))).SerializeToString()


def place(**changes: Any) -> v1.Position:
    fields: dict[str, Any] = {"number": 7, "chain": b"c" * 32, "sealed": 7}
    return v1.Position(**(fields | changes))


def resume(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "session_id": b"s" * 32,
        "attempt": 1,
        "received": place(),
        "sent": place(),
        "proof": b"p" * 32,
    }
    return b3(resume=v1.Resume(**(fields | changes)))


def resumed(**changes: Any) -> bytes:
    fields: dict[str, Any] = {"received": place(), "sent": place(), "proof": b"p" * 32}
    accepted = v1.ConnectionResponse(limits=LIMITS, resumed=v1.Resumed(**(fields | changes)))
    return answer(payload=accepted.SerializeToString())


def b2(**changes: Any) -> bytes:
    fields: dict[str, Any] = {"chain": CHAIN, "time_ms": NOW_MS, "request_bytes": 16_384, "accept_timeout_ms": 10_000}
    return v1.ServerHello(**(fields | changes)).SerializeToString()


def answer(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "type": v1.MESSAGE_TYPE_CONNECTION_RESPONSE,
        "operation": 1,
        "payload": v1.ConnectionResponse(limits=LIMITS).SerializeToString(),
    }
    return v1.ConnectionAnswer(response=v1.RatatoskrResponse(**(fields | changes))).SerializeToString()


def test_what_is_signed_is_label_transcript_and_the_hash_of_the_payload() -> None:
    assert transcript_bytes(b"a label", b"h" * 32, b"payload") == (
        b" " * 64 + b"a label\x00" + b"h" * 32 + sha256(b"payload").digest()
    )


def test_every_message_comes_out_as_it_went_in() -> None:
    assert ServerHello.decode(HELLO.encode()) == HELLO
    assert ConnectionRequest.decode(REQUEST.encode(NONCE, NOW_MS)) == REQUEST
    assert ConnectionRequest.decode(RESUMING.encode(NONCE, NOW_MS)) == RESUMING
    assert ConnectionResponse.decode(ACCEPTED.encode()) == ACCEPTED
    assert ConnectionResponse.decode(GOING_ON.encode()) == GOING_ON
    assert ConnectionResponse.decode(REJECTED.encode()) == REJECTED


def test_the_connection_request_is_a_request_as_any_other() -> None:
    request = v1.RatatoskrRequest.FromString(REQUEST.encode(NONCE, NOW_MS))
    assert (request.type, request.operation) == (1, 1)
    assert (request.nonce, request.issued_at_ms) == (NONCE, NOW_MS)


@given(st.integers(0, 600), st.booleans())
def test_every_answer_is_padded_to_a_multiple_of_512_bytes(size: int, accepted: bool) -> None:
    failure = Failure(Status.ABORTED, "R", "m" * size, violations=(FieldViolation("f" * (size // 8), "", ""),))
    response = ConnectionResponse(LIMITS, size, None) if accepted else ConnectionResponse(None, 0.0, failure)
    encoded = response.encode()
    assert len(encoded) % 512 == 0
    assert not any(v1.ConnectionAnswer.FromString(encoded).padding)


def test_every_acceptance_is_as_long_as_a_short_rejection() -> None:
    assert len(ACCEPTED.encode()) == len(GOING_ON.encode()) == len(REJECTED.encode()) == 512


B2 = {
    "no accept timeout": (b2(accept_timeout_ms=0), "admission.field"),
    "the shortest accept timeout": (b2(accept_timeout_ms=1), None),
    "the longest accept timeout": (b2(accept_timeout_ms=3_600_000), None),
    "a longer accept timeout": (b2(accept_timeout_ms=3_600_001), "admission.field"),
    "too short a request": (b2(request_bytes=1023), "admission.field"),
    "the shortest request": (b2(request_bytes=1024), None),
    "nothing": (b"", "admission.field"),
    "an unknown field": (b2() + field(99, b""), "admission.field"),
    "no message": (b"\xff", "admission.malformed"),
    "certificates of nothing": (field(1, b"") * 257, "admission.malformed"),
}
B3 = {
    "another type": (b3({"type": v1.MESSAGE_TYPE_PAYMENT_REQUEST}), "admission.field"),
    "the answer's type": (b3({"type": v1.MESSAGE_TYPE_CONNECTION_RESPONSE}), "admission.field"),
    "another operation": (b3({"operation": 2}), "admission.field"),
    "a short nonce": (b3({"nonce": bytes(15)}), "admission.field"),
    "a long nonce": (b3({"nonce": bytes(17)}), "admission.field"),
    "no suites": (b3(suites=[]), "admission.field"),
    "16 suites": (b3(suites=range(1, 17)), None),
    "17 suites": (b3(suites=range(1, 18)), "admission.field"),
    "no versions": (b3(versions=[]), "admission.field"),
    "16 versions": (b3(versions=range(1, 17)), None),
    "17 versions": (b3(versions=range(1, 18)), "admission.field"),
    "no token": (b3(token=b""), None),
    "the longest token": (b3(token=bytes(MAX_TOKEN_BYTES)), None),
    "a longer token": (b3(token=bytes(MAX_TOKEN_BYTES + 1)), "admission.field"),
    "nothing": (b"", "admission.field"),
    "no message": (b"\xff", "admission.malformed"),
    "no message inside": (b3({"payload": b"\xff"}), "admission.malformed"),
    "as many fields as are read": (b3({"payload": field(1, b"") * 256}), "admission.field"),
    "a field more": (b3({"payload": field(1, b"") * 257}), "admission.malformed"),
    "a field more around it": (field(7, b"") * 257, "admission.malformed"),
    "as many packed numbers as are read": (b3({"payload": field(2, b"\x01" * 255)}), "admission.field"),
    "a packed number more": (b3({"payload": field(2, b"\x01" * 256)}), "admission.malformed"),
    "the most that an honest client says": (
        b3(suites=range(65_520, 65_536), versions=range(1, 17), token=bytes(MAX_TOKEN_BYTES)),
        None,
    ),
    "an unknown field": (b3() + field(99, b""), "admission.field"),
    "an unknown field inside": (
        b3({"payload": field(2, b"\x01") + field(3, b"\x01") + field(99, 1)}),
        "admission.field",
    ),
}
_PLACES = {
    "sealed up to its number": (place(sealed=7), None),
    "sealed beyond its number": (place(sealed=8), "admission.field"),
    "a short chain": (place(chain=bytes(31)), "admission.field"),
    "a long chain": (place(chain=bytes(33)), "admission.field"),
    "no place": (v1.Position(), "admission.field"),
}
B3 |= {
    "the longest session": (b3(session_ms=604_800_000), None),
    "a longer session": (b3(session_ms=604_800_001), "admission.field"),
    "a resume": (resume(), None),
    "a short session id": (resume(session_id=bytes(31)), "admission.field"),
    "a long session id": (resume(session_id=bytes(33)), "admission.field"),
    "attempt 0": (resume(attempt=0), "admission.field"),
    "the last attempt": (resume(attempt=(1 << 64) - 1), None),
    "a short proof": (resume(proof=bytes(31)), "admission.field"),
    "a long proof": (resume(proof=bytes(33)), "admission.field"),
} | {
    f"{which} {name}": (resume(**{which: at}), rule)
    for which in ("received", "sent")
    for name, (at, rule) in _PLACES.items()
}
ANSWERS = {
    "the longest session": (
        answer(payload=v1.ConnectionResponse(limits=LIMITS, session_ms=604_800_000).SerializeToString()),
        None,
    ),
    "a longer session": (
        answer(payload=v1.ConnectionResponse(limits=LIMITS, session_ms=604_800_001).SerializeToString()),
        "admission.field",
    ),
    "a resumed session": (resumed(), None),
    "a short proof": (resumed(proof=bytes(31)), "admission.field"),
    "a long proof": (resumed(proof=bytes(33)), "admission.field"),
    **{
        f"{which} {name}": (resumed(**{which: at}), rule)
        for which in ("received", "sent")
        for name, (at, rule) in _PLACES.items()
    },
    "another type": (answer(type=v1.MESSAGE_TYPE_CONNECTION_REQUEST), "admission.field"),
    "another operation": (answer(operation=2), "admission.field"),
    "nothing": (b"", "admission.field"),
    "no message": (b"\xff", "admission.malformed"),
    "no message inside": (answer(payload=b"\xff"), "admission.malformed"),
    "violations without end": (
        answer(error=v1.Error(violations=[v1.FieldViolation()] * 256)),
        "admission.malformed",
    ),
    "an unknown field": (answer() + field(99, b""), "admission.field"),
    "an unknown field inside": (answer(payload=field(99, b"")), "admission.field"),
    "without padding": (answer(), None),
}


@pytest.mark.parametrize(
    ("decode", "data", "rule"),
    [
        pytest.param(decode, data, rule, id=f"{decode.__qualname__.split('.')[0]}-{name}")
        for decode, table in [
            (ServerHello.decode, B2),
            (ConnectionRequest.decode, B3),
            (ConnectionResponse.decode, ANSWERS),
        ]
        for name, (data, rule) in table.items()
    ],
)
def test_every_field_is_checked(decode: Callable[[bytes], Any], data: bytes, rule: str | None) -> None:
    if rule is None:
        decode(data)
    else:
        assert refusal(lambda: decode(data)) == rule


def test_what_a_side_announces_is_what_it_will_receive() -> None:
    assert announced(Limits(requests_open=7)) == v1.SessionLimits(
        record_bytes=262_144,
        envelope_bytes=245_760,
        requests_open=7,
        request_bytes_open=8 << 20,
        flight_messages=256,
        span_messages=256,
        controls=16,
        metadata_entries=32,
        metadata_bytes=8192,
        cancels_per_minute=100,
    )


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, None),
        ({"record_bytes": MIN_RECORD_BYTES, "envelope_bytes": MIN_ENVELOPE_BYTES}, None),
        ({"record_bytes": (1 << 32) - 1, "envelope_bytes": (1 << 32) - 1}, None),
        ({"requests_open": 1}, None),
        ({"requests_open": 0}, "admission.limits"),
        ({"request_bytes_open": 0}, "admission.limits"),
        ({"record_bytes": MIN_RECORD_BYTES - 1, "envelope_bytes": MIN_ENVELOPE_BYTES}, "admission.limits"),
        ({"envelope_bytes": MIN_ENVELOPE_BYTES - 1}, "admission.limits"),
        ({"record_bytes": 0}, "admission.limits"),
    ],
    ids=str,
)
def test_an_announcement_that_cannot_be_lived_with_is_refused(changes: dict[str, int], rule: str | None) -> None:
    theirs = v1.SessionLimits()
    theirs.MergeFrom(LIMITS)
    for name, value in changes.items():
        setattr(theirs, name, value)
    if rule is None:
        both = negotiate(Limits(), theirs)
        assert both.requests_open == min(256, theirs.requests_open)
    else:
        assert refusal(lambda: negotiate(Limits(), theirs)) == rule


def test_any_valid_limits_can_be_announced() -> None:
    largest = Limits(requests_open=(1 << 32) - 1, request_bytes_open=(1 << 64) - 1)
    assert negotiate(largest, announced(largest)) == largest


DECODERS = [ServerHello.decode, ConnectionRequest.decode, ConnectionResponse.decode]


@given(st.sampled_from(DECODERS), st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_fault(decode: Callable[[bytes], Any], data: bytes) -> None:
    assert fault_of(decode, data) in {None, Fault.REFUSED}


VALID: list[tuple[Callable[[bytes], Any], bytes]] = [
    (ServerHello.decode, HELLO.encode()),
    (ConnectionRequest.decode, REQUEST.encode(NONCE, NOW_MS)),
    (ConnectionRequest.decode, RESUMING.encode(NONCE, NOW_MS)),
    (ConnectionResponse.decode, ACCEPTED.encode()),
    (ConnectionResponse.decode, GOING_ON.encode()),
    (ConnectionResponse.decode, REJECTED.encode()),
]


@given(st.sampled_from(VALID), st.data())
def test_no_changed_bytes_raise_anything_but_a_fault(valid: tuple[Callable[[bytes], Any], bytes], data: Any) -> None:
    decode, encoded = valid
    at = data.draw(st.integers(0, len(encoded) - 1))
    changed = bytearray(encoded)
    changed[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    assert fault_of(decode, bytes(changed)) in {None, Fault.REFUSED}


def test_messages_are_read_strictly() -> None:
    """Two encodings of one announcement would be two transcripts of one meaning."""
    message: Message = v1.ServerHello.FromString(HELLO.encode())
    assert message.SerializeToString() == HELLO.encode()
    assert refusal(lambda: ServerHello.decode(HELLO.encode() + field(3, 16_384))) == "admission.field"
