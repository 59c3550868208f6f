"""flights.json: flights that a receiver takes, and at least one for every rule by which it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ratatoskr import v1
from ratatoskr.errors import ProtocolFault
from ratatoskr.messages import business_nonce
from ratatoskr.messages.rules import Rule
from tests.vectors.cast import NOW_MS, secret
from tests.vectors.scene import (
    BROWSE,
    PING,
    SEARCH,
    SESSION_ID,
    TIME,
    Edit,
    Scene,
    control,
    envelope_of,
    payment,
    request,
    search,
)

Case = tuple[str, Scene, bytes]


def good() -> Iterator[Case]:
    """Flights that are taken."""
    scene = Scene()
    yield "a payment, sealed", scene, scene.flight(payment())
    yield "a search, not sealed yet", scene, scene.flight(search(), seal=False)
    yield (
        "a search and a payment, with hops",
        scene,
        scene.flight(
            search(), payment(), hops=(v1.Hop(index=0, timeout_ms=5000, credit=3), v1.Hop(index=1, attempt=2))
        ),
    )
    yield "a Ping", scene, scene.flight(seal=False, controls=(PING,))
    yield (
        "a control that nobody knows",
        scene,
        scene.flight(seal=False, edit=lambda flight: flight.controls.add().MergeFromString(b"\x7a\0")),
    )
    yield "an unknown field", scene, scene.flight(search(), seal=False) + b"\x7a\0"
    yield (
        "an unknown group, of the greatest field number",
        scene,
        scene.flight(search(), seal=False) + bytes.fromhex("fbffffff0ffcffffff0f"),
    )
    yield "a search with an unknown field", scene, scene.flight(envelope_of(search()) + b"\x78\1", seal=False)
    scene = Scene()
    scene.say(search(), seal=False)
    yield "a seal alone", scene, scene.flight()
    scene = Scene()
    scene.say(search())
    yield (
        "a seal over nothing new, and DISCONNECT",
        scene,
        scene.flight(controls=(control(disconnect=v1.Disconnect()),)),
    )
    scene = Scene()
    scene.ask()
    yield "an answer", scene, scene.flight(scene.answer())
    scene = Scene()
    scene.ask(stream=True)
    yield (
        "two items and an end",
        scene,
        scene.flight(scene.answer(last=False), scene.answer(last=False, index=1), scene.answer(index=2, payload=None)),
    )


def bad() -> Iterator[Case]:
    """Flights that break a rule by themselves."""
    scene = Scene()
    small = Scene({"flight_messages": 2, "span_messages": 3, "envelope_bytes": 3072, "metadata_entries": 2})
    few = Scene({"controls": 4})
    stream = Scene()
    stream.ask(stream=True)
    stream.ask()
    answer = stream.answer

    def seal(name: str, value: object) -> Edit:
        return lambda flight: setattr(flight.seal, name, value)

    yield "5000 empty controls", scene, scene.flight(seal=False) + b"\x2a\0" * 5000
    yield "cut short", scene, scene.flight(payment())[:-1]
    yield "field 2^29", scene, scene.flight(search(), seal=False) + bytes.fromhex("808080801000")
    yield "a tag of six bytes", scene, scene.flight(search(), seal=False) + bytes.fromhex("f8808080800000")
    yield "the number before", scene, scene.flight(payment(), edit=lambda f: setattr(f, "first_number", 0))
    yield "the number after", scene, scene.flight(payment(), edit=lambda f: setattr(f, "first_number", 2))
    yield "an envelope too many", small, small.flight(search("a"), search("b"), search("c"))
    yield "a control too many", few, few.flight(seal=False, controls=(PING,) * 5)
    yield "a hop of no envelope", scene, scene.flight(search(), hops=(v1.Hop(index=1),))
    yield "two hops of one envelope", scene, scene.flight(search(), hops=(v1.Hop(index=0), v1.Hop(index=0)))
    yield "a hop of more than a day", scene, scene.flight(search(), hops=(v1.Hop(timeout_ms=86_400_001),))
    long = Scene({"flight_messages": 2, "span_messages": 3})
    long.say(search("a"), search("b"), seal=False)
    yield "a span that is too long", long, long.flight(search("c"), search("d"), seal=False)
    yield "an envelope that is too long", small, small.flight(envelope_of(search()) + bytes(3072))
    yield "an empty envelope", scene, scene.flight(b"")
    yield "an envelope that begins with 03", scene, scene.flight(b"\3" + envelope_of(search())[1:])
    yield "a request with 5000 empty entries", scene, scene.flight(envelope_of(search()) + b"\x3a\0" * 5000)
    yield "a request that is cut short", scene, scene.flight(envelope_of(payment())[:-1])
    yield "a payment with an unknown field", scene, scene.flight(envelope_of(payment()) + b"\x78\1")
    yield "a connection request", scene, scene.flight(request(1, 1, b"", secret("nonce", 16)))
    yield "a request without a type", scene, scene.flight(request(0, 1, b"", secret("nonce", 16)))
    yield "a nonce of zeros", scene, scene.flight(search(), edit=lambda f: _replace(f, nonce=bytes(16)))
    yield "a nonce of 15 bytes", scene, scene.flight(search(), edit=lambda f: _replace(f, nonce=bytes(range(15))))
    entries = [v1.MetadataEntry(name=name, value="x") for name in "abc"]
    yield "a metadata entry too many", small, small.flight(search(metadata=entries), seal=False)
    longest = [v1.MetadataEntry(name="a", value="x" * 8160)]
    yield "a metadata byte too many", scene, scene.flight(search(metadata=longest), seal=False)
    yield "a leaf of 31 bytes", stream, stream.flight(answer(request_leaf=bytes(31)))
    yield "a unary answer of nothing", stream, stream.flight(answer(2, payload=None))
    yield "an item of nothing", stream, stream.flight(answer(last=False, payload=None))
    nine = v1.Error(code=3, violations=[v1.FieldViolation(field="x")] * 9)
    yield "9 violations", stream, stream.flight(answer(payload=None, error=nine))
    yield "a unary answer that is not the last", stream, stream.flight(answer(2, last=False))
    yield "a unary answer of index 1", stream, stream.flight(answer(2, index=1))
    yield (
        "an error that is not the last",
        stream,
        stream.flight(answer(last=False, payload=None, error=v1.Error(code=3))),
    )
    yield "a payment without a seal", scene, scene.flight(payment(), seal=False)
    yield "a search and a payment without a seal", scene, scene.flight(search(), payment(), seal=False)
    yield "a seal of suite 2", scene, scene.flight(payment(), edit=seal("signature_suite", 2))
    yield "a seal of 63 bytes", scene, scene.flight(payment(), edit=seal("signature", bytes(63)))
    yield "a seal of another time", scene, scene.flight(payment(), edit=seal("signed_at_ms", NOW_MS + 1))
    yield "a seal over other bytes", scene, scene.flight(payment(), edit=lambda f: _replace(f, issued_at_ms=1))
    yield "a seal over something else on a search", scene, scene.flight(search(), edit=seal("signature", bytes(64)))


def _replace(flight: v1.Flight, **changes: Any) -> None:
    """Another message under the same seal."""
    message = v1.RatatoskrRequest.FromString(flight.envelopes[0][1:])
    for name, value in changes.items():
        setattr(message, name, value)
    flight.envelopes[0] = envelope_of(message)


def late() -> Iterator[Case]:
    """Flights that break a rule by what came before them."""
    scene = Scene()
    scene.ask()
    yield "an ack of what was never sent", scene, scene.flight(seal=False, edit=lambda f: setattr(f, "ack", 2))
    scene.say(search(), seal=False)
    yield "an ack that goes back", scene, scene.flight(seal=False, edit=lambda f: setattr(f, "ack", 0))
    asked = Scene()
    asked.ask()
    asked.ack = 0
    yield "an answer that does not acknowledge its question", asked, asked.flight(asked.answer())
    done = Scene()
    done.say(search())
    done.say(controls=(control(disconnect=v1.Disconnect()),))
    yield "a message after DISCONNECT", done, done.flight(search("more"))
    scene = Scene()
    yield (
        "DISCONNECT with a code",
        scene,
        scene.flight(controls=(control(disconnect=v1.Disconnect(code=4440, reason="flight.number")),)),
    )
    yield (
        "DISCONNECT beside a search without a seal",
        scene,
        scene.flight(search(), seal=False, controls=(control(disconnect=v1.Disconnect()),)),
    )
    yield (
        "a Cancel of a message that did not come",
        scene,
        scene.flight(search(), controls=(control(cancel=v1.Cancel(request_number=2)),)),
    )
    yield "a Grant of message 0", scene, scene.flight(controls=(control(grant=v1.Grant(items=20)),))
    idle = Scene({"control_burst": 2})
    idle.say(seal=False, controls=(PING, PING))
    yield "a Ping too many", idle, idle.flight(seal=False, controls=(PING,))
    yield "a flight that brings nothing", idle, idle.flight(seal=False)
    yield "a seal over nothing new", idle, idle.flight()
    cancels = Scene({"cancels_per_minute": 1})
    cancels.say(search(), controls=(control(cancel=v1.Cancel(request_number=1)),))
    yield "a Cancel too many", cancels, cancels.flight(controls=(control(cancel=v1.Cancel(request_number=1)),))
    errors = Scene({"errors_per_minute": 1})
    errors.say(request(999, 1, b"", secret("nonce", 16)))
    yield "an invalid request too many", errors, errors.flight(request(999, 1, b"", secret("nonce", 16)))
    open_ = Scene({"requests_open": 2})
    open_.say(search("a"), search("b"))
    yield "a request too many", open_, open_.flight(search("c"))
    wide = Scene({"request_bytes_open": 100})
    wide.say(search("a"))
    yield "bytes of requests too many", wide, wide.flight(search("b" * 100))
    scene = Scene()
    scene.ask()
    scene.ask(stream=True)
    answer = scene.answer
    yield "an answer to no request", scene, scene.flight(answer(request_number=3))
    yield "an answer to another leaf", scene, scene.flight(answer(request_leaf=secret("another leaf")))
    yield "an answer of another kind", scene, scene.flight(answer(type=11))
    yield "a second answer", scene, scene.flight(answer(), answer())
    yield "an item that skips one", scene, scene.flight(answer(2, last=False, index=1))
    yield "an end that skips one", scene, scene.flight(answer(2, index=1))
    yield "17 items of 16", scene, scene.flight(*(answer(2, last=False, index=at) for at in range(17)))


def of_a_call() -> Iterator[Case]:
    """Flights that are taken, and of whose last message only the call ends."""
    scene = Scene()
    seventeen = b"\x12\6\x08\1\x12\2\x61\x62" * 8192
    yield "a kind that nobody knows", scene, scene.flight(request(999, 1, b"", secret("nonce", 16)))
    yield "a payload with too many fields", scene, scene.flight(request(10, 1, seventeen, secret("nonce", 16)))
    yield "a payload that is cut short", scene, scene.flight(request(11, 1, b"\x0a", secret("nonce", 16)))
    unknown = payment().payload + b"\x78\1"
    yield (
        "a payment with an unknown field inside",
        scene,
        scene.flight(request(11, 1, unknown, business_nonce(11, 1, b"order-17"))),
    )
    yield "a payment of nothing", scene, scene.flight(payment(amount=v1.Money(currency="EUR")))
    yield "a payment without an amount", scene, scene.flight(payment(amount=None))
    yield "a payment under another nonce", scene, scene.flight(payment(nonce=secret("nonce", 16)))
    yield "a search that has expired", scene, scene.flight(search(expires_at_ms=NOW_MS))
    yield "a search that expires in a moment", scene, scene.flight(search(expires_at_ms=NOW_MS + 1))
    yield "a payment that has expired", scene, scene.flight(_expired())


def _expired() -> v1.RatatoskrRequest:
    """Who keeps outcomes judges it."""
    late = payment()
    late.expires_at_ms = NOW_MS - 1
    return late


def received(scene: Scene, flight: bytes) -> tuple[str, str, str]:
    """Rule and fault, where the session ends; the reason, where a call does."""
    position = scene.session._validator.position
    replica = Scene(scene.limits)
    replica.asked = scene.asked
    for _, _, stream in scene.asked:
        replica.session.request(BROWSE if stream else SEARCH, v1.Browse() if stream else v1.Search(query="stock"))
        replica.session.start(TIME)
        replica.session.build(TIME, [])
    for before in scene.before:
        replica.session.receive(bytes.fromhex(before), TIME)
        while replica.session.take() is not None:
            pass
    assert replica.session._validator.position == position
    try:
        replica.session.receive(flight, TIME)
    except ProtocolFault as fault:
        return fault.rule, fault.fault.name, ""
    while replica.session.take() is not None:
        pass
    errors = [answer for answer in _answers(replica) if answer.HasField("error")]
    return "", "", errors[-1].error.reason if errors else ""


def _answers(scene: Scene) -> list[v1.RatatoskrResponse]:
    data = scene.session.build(TIME, [])
    envelopes = v1.Flight.FromString(data).envelopes if data is not None else []
    return [v1.RatatoskrResponse.FromString(each[1:]) for each in envelopes if each[:1] == b"\2"]


def shown(cases: Iterator[Case]) -> list[dict[str, Any]]:
    found = []
    for what, scene, flight in cases:
        rule, fault, reason = received(scene, flight)
        entry = {"what": what, **scene.state(), "flight": flight.hex(), "rule": rule, "fault": fault}
        found.append(entry | ({"reason": reason} if reason else {}))
    return found


def make() -> dict[str, Any]:
    """flights.json"""
    vector: dict[str, Any] = {
        "about": "Flights of a device that a server reads: taken, refused by a rule, and with a call that fails.",
        "session_id": SESSION_ID.hex(),
        "direction": 0,
        "signer": "device",
        "recipient": "server",
        "now_ms": NOW_MS,
        "taken": shown(good()),
        "refused": [*shown(bad()), *shown(late())],
        "calls": shown(of_a_call()),
    }
    rules = {entry["rule"] for entry in vector["refused"]}
    assert rules >= {rule.id for rule in Rule if rule.fault is not None}, "a rule has no flight"
    return vector
