"""admission.json: what M2, M3 and RESPONSE carry, good and bad, and limits that are agreed on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.admission import (
    ConnectionRequest,
    ConnectionResponse,
    Resume,
    Resumed,
    ServerHello,
    announced,
    negotiate,
)
from ratatoskr.errors import Disposition, Failure, ProtocolFault, Status
from ratatoskr.limits import NEGOTIATED, Limits
from ratatoskr.messages import Position
from tests.vectors.cast import DEVICE, NOW, NOW_MS, SERVER, secret

M = TypeVar("M", bound=Message)
NONCE = secret("nonce of m3", 16)


class Reader(Protocol):
    """What reads one of the three."""

    def __call__(self, data: bytes, /) -> object: ...


def read(reader: Reader, data: bytes) -> str:
    """The rule by which the bytes are refused; nothing where they are not."""
    try:
        reader(data)
    except ProtocolFault as fault:
        return fault.rule
    return ""


def encoded(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def edited(cls: type[M], data: bytes, edit: Callable[[M], object]) -> bytes:
    """The message, changed, in its canonical encoding."""
    message = cls.FromString(data)
    edit(message)
    return encoded(message)


# M2

HELLO = ServerHello(tuple(SERVER.wire_chain()), NOW, 14_905, 10.0).encode()


def hellos() -> Iterator[tuple[str, bytes]]:
    def hello(**changes: int) -> bytes:
        def edit(message: v1.ServerHello) -> None:
            for name, value in changes.items():
                setattr(message, name, value)

        return edited(v1.ServerHello, HELLO, edit)

    yield "good", HELLO
    yield "the least of both", hello(request_bytes=1024, accept_timeout_ms=1)
    yield "the longest time", hello(accept_timeout_ms=3_600_000)
    yield "no time", hello(accept_timeout_ms=0)
    yield "a time that is too long", hello(accept_timeout_ms=3_600_001)
    yield "a third message that is too short", hello(request_bytes=1023)
    yield "an unknown field", HELLO + b"\x28\1"
    yield "cut short", HELLO[:-1]
    yield "300 empty certificates", HELLO + b"\x0a\0" * 300


# M3


def request(**changes: Any) -> ConnectionRequest:
    values: dict[str, Any] = {
        "chain": tuple(DEVICE.wire_chain()),
        "suites": (1, 0x11),
        "versions": (1,),
        "token": b"a token",
        "limits": announced(Limits()),
        "session_timeout": 120.0,
        "resume": None,
    }
    return ConnectionRequest(**(values | changes))


def resume(**changes: Any) -> Resume:
    place = Position(7, secret("a chain"), 5)
    values: dict[str, Any] = {
        "session_id": secret("a session"),
        "attempt": 1,
        "received": place,
        "sent": place,
        "proof": secret("a proof"),
    }
    return Resume(**(values | changes))


def requests() -> Iterator[tuple[str, bytes]]:
    good = request().encode(NONCE, NOW_MS)

    def outer(edit: Callable[[v1.RatatoskrRequest], object]) -> bytes:
        return edited(v1.RatatoskrRequest, good, edit)

    def with_resume(**changes: Any) -> bytes:
        return request(resume=resume(**changes)).encode(NONCE, NOW_MS)

    def payload(data: bytes) -> bytes:
        return outer(lambda message: setattr(message, "payload", data))

    inner = v1.RatatoskrRequest.FromString(good).payload
    yield "good", good
    yield "that asks to go on", with_resume()
    yield (
        "the longest token and 16 suites",
        request(token=bytes(4096), suites=tuple(range(1, 17))).encode(NONCE, NOW_MS),
    )
    yield "a session that is kept for a week", request(session_timeout=604_800.0).encode(NONCE, NOW_MS)
    yield "cut short", good[:-1]
    yield "an unknown field", good + b"\x78\1"
    yield "another type", outer(lambda message: setattr(message, "type", 2))
    yield "another operation", outer(lambda message: setattr(message, "operation", 2))
    yield "a nonce of 15 bytes", outer(lambda message: setattr(message, "nonce", NONCE[:15]))
    yield "a payload that is cut short", payload(inner[:-1])
    yield "an unknown field in the payload", payload(inner + b"\x78\1")
    yield "suites that are not packed", payload(inner.replace(b"\x12\2\1\x11", b"\x10\1\x10\x11"))
    yield "no suites", request(suites=()).encode(NONCE, NOW_MS)
    yield "17 suites", request(suites=tuple(range(1, 18))).encode(NONCE, NOW_MS)
    yield "no versions", request(versions=()).encode(NONCE, NOW_MS)
    yield "a token of 4097 bytes", request(token=bytes(4097)).encode(NONCE, NOW_MS)
    yield "a session that is kept for longer than a week", request(session_timeout=604_800.001).encode(NONCE, NOW_MS)
    yield "a session's id of 31 bytes", with_resume(session_id=bytes(31))
    yield "attempt 0", with_resume(attempt=0)
    yield "a proof of 33 bytes", with_resume(proof=bytes(33))
    yield "a chain's value of 31 bytes", with_resume(sent=Position(7, bytes(31), 5))
    yield "sealed beyond its number", with_resume(received=Position(7, secret("a chain"), 8))


# RESPONSE

REJECTION = Failure(Status.PERMISSION_DENIED, "NO", "not you", Disposition.NOT_PROCESSED, 30.0)


def responses() -> Iterator[tuple[str, bytes]]:
    accepted = ConnectionResponse(announced(Limits()), 604_800.0, None, 120.0).encode()
    rejected = ConnectionResponse(None, 0.0, REJECTION).encode()
    resumed = Resumed(Position(7, secret("a chain"), 5), Position(0, secret("another"), 0), secret("a proof"))

    def answer(edit: Callable[[v1.ConnectionAnswer], object]) -> bytes:
        return edited(v1.ConnectionAnswer, accepted, edit)

    yield "accepted", accepted
    yield "rejected", rejected
    yield "a session goes on", ConnectionResponse(announced(Limits()), 604_800.0, None, 120.0, resumed).encode()
    yield "without padding", answer(lambda message: message.ClearField("padding"))
    yield "another type", answer(lambda message: setattr(message.response, "type", 1))
    yield (
        "a proof of 31 bytes",
        ConnectionResponse(
            announced(Limits()), 0.0, None, 0.0, Resumed(resumed.received, resumed.sent, bytes(31))
        ).encode(),
    )
    yield "an unknown field", accepted + b"\x18\1"
    yield "cut short", accepted[:-1]


# Limits


def agreed() -> list[dict[str, Any]]:
    """What follows from two announcements: the values, or a refusal."""
    own = {"requests_open": 64, "record_bytes": 128 * 1024, "envelope_bytes": 100 * 1024}
    theirs: dict[str, dict[str, int]] = {
        "the same": own,
        "the defaults": {},
        "less of some, more of others": {"requests_open": 8, "controls": 200, "cancels_per_minute": 6000},
        "the least": {
            "record_bytes": 4096, "envelope_bytes": 3072, "requests_open": 1, "request_bytes_open": 1,
            "flight_messages": 1, "span_messages": 1, "controls": 4, "metadata_entries": 1, "metadata_bytes": 1,
            "cancels_per_minute": 1,
        },
    }  # fmt: skip
    least = theirs["the least"]
    below = {f"{name} below the least": {name: value - 1} for name, value in least.items()}
    return [_agreed(what, own, changes) for what, changes in (theirs | below).items()]


def _agreed(what: str, own: dict[str, int], theirs: dict[str, int]) -> dict[str, Any]:
    mine, said = Limits(**own), announced(Limits())
    for name, value in theirs.items():
        setattr(said, name, value)
    shown = {name: getattr(mine, name) for name in NEGOTIATED}
    entry: dict[str, Any] = {
        "what": what,
        "own": shown,
        "announced": {name: getattr(said, name) for name in NEGOTIATED},
    }
    try:
        both = negotiate(mine, said)
    except ProtocolFault as fault:
        return entry | {"rule": fault.rule}
    return entry | {"rule": "", "agreed": {name: getattr(both, name) for name in NEGOTIATED}}


def make() -> dict[str, Any]:
    """admission.json"""
    assert {field.name for field in fields(Limits)} >= set(NEGOTIATED)

    def judged(reader: Reader, cases: Iterator[tuple[str, bytes]]) -> list[dict[str, str]]:
        return [{"what": what, "bytes": data.hex(), "rule": read(reader, data)} for what, data in cases]

    return {
        "about": "B2, B3 and the plaintext of RESPONSE, with the rule that each breaks; limits that are agreed on.",
        "hellos": judged(ServerHello.decode, hellos()),
        "requests": judged(ConnectionRequest.decode, requests()),
        "responses": judged(ConnectionResponse.decode, responses()),
        "limits": agreed(),
    }
