"""Floods of requests: cancelled at once, of a moment, broken, without end, and never acknowledged."""

from __future__ import annotations

from ratatoskr import v1
from ratatoskr.errors import Disposition, Failure, Status
from ratatoskr.events import Event, RequestCancelled, RequestExpired, RequestReceived
from ratatoskr.limits import Limits
from tests.attacks.floods.attack import SHORT, Attack, Scene, attack
from tests.unit.messages.support import custom, envelope, payment, search

PLAIN = envelope(custom(2, b""))
GONE = Failure(Status.CANCELLED, "CANCELLED", "as you wish", Disposition.NOT_PROCESSED)
HELD = "COPIES * record_bytes + requests_open * OBJECT"


def cancel(number: int) -> v1.Control:
    return v1.Control(cancel=v1.Cancel(request_number=number))


def few_cancels(scale: int) -> Limits:
    return Limits(**SHORT, requests_open=16, cancels_per_minute=20 * scale)


def few_slots(scale: int) -> Limits:
    return Limits(**SHORT, requests_open=16 * scale, cancels_per_minute=10_000, errors_per_minute=10_000)


def few_errors(scale: int) -> Limits:
    return Limits(**SHORT, requests_open=16, errors_per_minute=10 * scale)


# Rapid reset


@attack("open and cancel, one flight", ends="cancels.rate", holds=HELD, limits=few_cancels)
def reset_in_a_flight(scene: Scene) -> None:
    """Nobody has seen the request yet, so nobody begins to work on it."""
    for at in scene.rounds(3 * scene.limits.cancels_per_minute):
        scene.say(PLAIN, controls=[cancel(at + 1)], sealed=at % 16 == 15)
    scene.claim("handlers", scene.handlers_most, 0)


@attack("open and cancel, one chunk", ends="requests.open", holds=HELD, limits=few_slots)
def reset_in_a_chunk(scene: Scene) -> None:
    """Handlers that do not end when they are told to keep their slots."""
    for at in scene.rounds(2 * scene.limits.requests_open):
        scene.victim.feed(scene.record(PLAIN) + scene.record(controls=[cancel(at + 1)]))
    scene.claim("handlers", scene.handlers_most, scene.limits.requests_open)


@attack("open, then cancel", ends="cancels.rate", holds=HELD, limits=few_cancels)
def reset(scene: Scene) -> None:
    """Handlers that end when they are told to."""

    def obey(event: Event) -> None:
        if isinstance(event, RequestCancelled):
            del scene.handlers[event.id]
            scene.connection.fail(event.id, GONE)

    scene.on_event = obey
    for at in scene.rounds(3 * scene.limits.cancels_per_minute):
        scene.say(PLAIN, sealed=at % 16 == 15)
        scene.say(controls=[cancel(at + 1)])
    scene.claim("handlers", scene.handlers_most, 1)


@attack("cancels of one request", ends="cancels.rate", holds=HELD, limits=few_cancels)
def cancels(scene: Scene) -> None:
    scene.say(PLAIN)
    for _ in scene.rounds(3 * scene.limits.cancels_per_minute):
        scene.say(controls=[cancel(1)])
    scene.claim("told", scene.victim.told[RequestCancelled], 1)


@attack("cancels of what is answered", ends="cancels.rate", holds=HELD, limits=few_cancels)
def late_cancels(scene: Scene) -> None:
    scene.on_event = lambda event: answer(scene, event)
    scene.say(PLAIN)
    for _ in scene.rounds(3 * scene.limits.cancels_per_minute):
        scene.say(controls=[cancel(1)])
    scene.claim("told", scene.victim.told[RequestCancelled], 0)


@attack("cancels of what was never asked", ends="control.number", holds=HELD, limits=few_cancels)
def cancels_of_nothing(scene: Scene) -> None:
    for at in scene.rounds(3 * scene.limits.cancels_per_minute):
        scene.say(controls=[cancel(at + 1)])


# Requests of a moment


@attack("requests of a millisecond", ends="requests.open", holds=HELD, limits=few_slots)
def hasty(scene: Scene) -> None:
    """Their handlers do not end when they are told that the time is over."""
    for _ in scene.rounds(2 * scene.limits.requests_open):
        scene.say(PLAIN, hops=[v1.Hop(timeout_ms=1)])
        scene.victim.advance(0.002)
    scene.claim("handlers", scene.handlers_most, scene.limits.requests_open)


@attack("as many deadlines as requests", ends=None, holds=HELD, limits=few_slots)
def deadlines(scene: Scene) -> None:
    """At each of them the victim looks through its calls."""

    def obey(event: Event) -> None:
        if isinstance(event, RequestExpired):
            del scene.handlers[event.id]
            scene.connection.fail(event.id, GONE)

    scene.on_event = obey
    for at in scene.rounds(scene.limits.requests_open):
        scene.say(PLAIN, hops=[v1.Hop(timeout_ms=1000 + 10 * at)])
    scene.say(sealed=True)
    scene.victim.advance(5.0)
    scene.require(not scene.handlers, "all have expired")


@attack("requests that have expired", ends=None, holds=HELD, limits=few_slots)
def stale(scene: Scene) -> None:
    for _ in scene.rounds(15 * scene.scale):
        scene.say(envelope(custom(1, b"", expires_at_ms=1)), sealed=True)
    scene.claim("handlers", scene.handlers_most, 0)


# Errors that the victim is made to cause


def errors(name: str, request: v1.RatatoskrRequest) -> Attack:
    @attack(name, ends="errors.rate", holds=HELD, limits=few_errors)
    def flood(scene: Scene) -> None:
        for _ in scene.rounds(3 * scene.limits.errors_per_minute):
            scene.say(envelope(request), sealed=True)
        scene.claim("handlers", scene.handlers_most, 0)

    return flood


EIGHT_FAULTS = v1.Search(filters=[v1.SearchFilter()] * 8).SerializeToString()
ERRORS = (
    errors("requests of no known kind", custom(77, b"")),
    errors("payloads that do not parse", search(payload=b"\xff")),
    errors("payloads against their schema", search(payload=EIGHT_FAULTS)),
    errors("payments not in canonical form", payment(payload=payment().payload + b"\xf8\x01\x01")),
    errors("payments under another's nonce", payment(nonce=bytes(range(16)))),
)


# Requests without end


def answer(scene: Scene, event: Event) -> None:
    """The application answers at once, at length."""
    if isinstance(event, RequestReceived):
        del scene.handlers[event.id]
        scene.connection.respond(event.id, v1.GoAway(reason="x" * 2500))


@attack(
    "answers never acknowledged",
    ends="requests.open",
    holds="COPIES * record_bytes + requests_open * (envelope_bytes + OBJECT)",
    limits=few_slots,
)
def unacknowledged(scene: Scene) -> None:
    scene.on_event = lambda event: answer(scene, event)
    for _ in scene.rounds(2 * scene.limits.requests_open):
        scene.say(PLAIN, ack=0)


@attack(
    "answers never read",
    ends="requests.open",
    holds="COPIES * record_bytes + requests_open * (envelope_bytes + OBJECT)",
    limits=few_slots,
)
def unread(scene: Scene) -> None:
    scene.on_event = lambda event: answer(scene, event)
    scene.victim.holds_writes = True
    for _ in scene.rounds(2 * scene.limits.requests_open):
        scene.say(PLAIN, ack=0)
    scene.victim.advance(scene.limits.close_timeout)


@attack("requests without end", ends="requests.open", holds=HELD, limits=few_slots)
def endless(scene: Scene) -> None:
    for _ in scene.rounds(2 * scene.limits.requests_open):
        scene.say(PLAIN)
    scene.claim("handlers", scene.handlers_most, scene.limits.requests_open)


def few_bytes(scale: int) -> Limits:
    return Limits(**SHORT, requests_open=64 * scale, request_bytes_open=40_000 * scale)


@attack(
    "long requests, one chunk",
    ends="requests.open",
    holds="COPIES * record_bytes + (KEPT + 1) * request_bytes_open + requests_open * OBJECT",
    limits=few_bytes,
)
def many_bytes(scene: Scene) -> None:
    """The chunk is the transport's, and counts once more."""
    long = envelope(custom(2, v1.GoAway(reason="x" * 2500).SerializeToString()))
    scene.victim.feed(b"".join(scene.record(long) for _ in range(16 * scene.scale)))
    scene.claim("bytes asked", scene.handlers_most * len(long), scene.limits.request_bytes_open)
