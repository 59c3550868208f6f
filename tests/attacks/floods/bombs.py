"""Messages that are large for their bytes, and metadata up to the limit and beyond it."""

from __future__ import annotations

from collections.abc import Callable

from ratatoskr import v1
from ratatoskr.events import RequestFailed
from ratatoskr.limits import Limits
from ratatoskr.messages.validator import METADATA_ENTRY_BYTES, PAYLOAD_FIELDS
from tests.attacks.floods.attack import BULK_FEED, SHORT, Attack, Scene, attack, bulk
from tests.attacks.hostile import SERVER_SIDE
from tests.unit.messages.support import envelope, field, item, search

Make = Callable[[int], bytes]
"""So many bytes of something."""

SEARCH = envelope(search())


def large(scale: int) -> Limits:
    return Limits(record_bytes=scale << 18, envelope_bytes=(scale << 18) - 1024)


def fields_of(number: int, value: bytes | int) -> Make:
    """Fields of that number without end."""
    one = field(number, value)
    return lambda size: one * (size // len(one))


def size(scene: Scene) -> int:
    """Bytes that fit into a record beside the rest of a flight."""
    return scene.limits.envelope_bytes - 1024


# Flights


def flight_bomb(name: str, make: Make) -> Attack:
    @attack(
        name,
        ends="flight.budget",
        holds="3 * record_bytes",
        limits=large,
    )
    def flood(scene: Scene) -> None:
        scene.flights += 1
        scene.peer.say(v1.Flight(first_number=1).SerializeToString() + make(size(scene)))

    return flood


empty_controls = flight_bomb("a flight of empty controls", fields_of(5, b""))
empty_hops = flight_bomb("a flight of empty hops", fields_of(3, b""))
empty_envelopes = flight_bomb("a flight of empty envelopes", fields_of(2, b""))
unknown_fields = flight_bomb("a flight of unknown fields", fields_of(99, 1))
groups = flight_bomb("a flight of groups in groups", lambda size: b"\x0b" * size)


@attack("too many envelopes", ends="flight.count", holds="COPIES * record_bytes", limits=large)
def envelopes(scene: Scene) -> None:
    scene.say(*[SEARCH] * (scene.limits.flight_messages + 1))


@attack("too many controls", ends="flight.controls", holds="COPIES * record_bytes", limits=large)
def controls(scene: Scene) -> None:
    scene.say(controls=[v1.Control()] * (scene.limits.controls + 1))


# Envelopes


def envelope_bomb(name: str, ends: str, make: Make) -> Attack:
    @attack(name, ends=ends, holds="6 * record_bytes", limits=large)
    def flood(scene: Scene) -> None:
        scene.say(make(size(scene)))

    return flood


empty_metadata = envelope_bomb(
    "an envelope of empty metadata", "envelope.budget", lambda size: SEARCH + fields_of(7, b"")(size)
)
unknown_in_envelope = envelope_bomb(
    "an envelope of unknown fields", "envelope.budget", lambda size: SEARCH + fields_of(99, 1)(size)
)


# Payloads


def payload_bombs(name: str, make: Make) -> list[Attack]:
    """The same in a request, and in an item of a stream that the victim asked for."""
    holds = "COPIES * record_bytes + PAYLOAD_FIELDS * FIELD"

    @attack(f"a request of {name}", ends=None, holds=holds, limits=large)
    def request(scene: Scene) -> None:
        scene.say(envelope(bulk(make(size(scene)))), sealed=True)
        scene.claim("handlers", scene.handlers_most, 0)

    @attack(f"an item of {name}", ends=None, holds=holds, limits=large)
    def one_item(scene: Scene) -> None:
        scene.ask(BULK_FEED, v1.ConnectionRequest())
        answer = item(**scene.place(), operation=BULK_FEED.operation, payload=make(size(scene)))
        scene.say(envelope(answer), sealed=True)
        scene.require(scene.victim.told[RequestFailed] == 1, "the call fails")

    return [request, one_item]


empty_submessages = payload_bombs("empty submessages", fields_of(1, b""))
packed_numbers = payload_bombs("packed numbers", lambda size: field(2, b"\1" * size))
unknown_in_payload = payload_bombs("unknown fields", fields_of(99, 1))


def few(scale: int) -> Limits:
    return Limits(record_bytes=scale << 18, envelope_bytes=(scale << 18) - 1024, requests_open=scale)


@attack(
    "payloads at their budget, kept",
    ends=None,
    holds="COPIES * record_bytes + requests_open * (PAYLOAD_FIELDS * FIELD + OBJECT)",
    limits=few,
    sides=(SERVER_SIDE,),
)
def at_budget(scene: Scene) -> None:
    """The most that handlers may be made to hold, where a kind's payload has no rules."""
    payload = field(1, b"") * PAYLOAD_FIELDS
    scene.say(*[envelope(bulk(payload))] * scene.limits.requests_open, sealed=True)
    scene.require(scene.handlers_most == scene.limits.requests_open, "they arrive")


# Metadata


def metadata_limits(scale: int) -> Limits:
    return Limits(**SHORT, metadata_entries=8 * scale, metadata_bytes=600 * scale, requests_open=16)


def many_entries(limits: Limits, more: int) -> list[v1.MetadataEntry]:
    return [v1.MetadataEntry(name="n")] * (limits.metadata_entries + more)


def many_bytes(limits: Limits, more: int) -> list[v1.MetadataEntry]:
    """Two entries, charged as many bytes as are allowed, and some more."""
    left = limits.metadata_bytes + more - 2 * (METADATA_ENTRY_BYTES + 1)
    return [v1.MetadataEntry(name="a", value="x" * (left // 2)), v1.MetadataEntry(name="b", value="x" * -(-left // 2))]


def metadata(name: str, make: Callable[[Limits, int], list[v1.MetadataEntry]], more: int) -> Attack:
    @attack(
        f"metadata, {name} {more:+d}" if more else f"metadata, {name}",
        ends="request.metadata" if more > 0 else None,
        holds="COPIES * record_bytes + requests_open * (metadata_entries * FIELD + metadata_bytes + OBJECT)",
        limits=metadata_limits,
    )
    def flood(scene: Scene) -> None:
        for _ in scene.rounds(scene.limits.requests_open):
            scene.say(envelope(search(metadata=make(scene.limits, more))))
        scene.require(scene.handlers_most == (0 if more > 0 else scene.limits.requests_open), "what is allowed arrives")

    return flood


entries = [metadata("all entries", many_entries, more) for more in (-1, 0, 1)]
total = [metadata("all bytes", many_bytes, more) for more in (-1, 0, 1)]
