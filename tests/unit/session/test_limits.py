"""Limits of flights, spans, controls and metadata, at both ends and to the last one; and what peers make of theirs.

The other limits of a session have their tests where they belong: slots in test_slots, the queue in test_calls and
test_lanes, streams in test_streams and test_credit, rates in test_charges and test_hostile.
"""

from __future__ import annotations

from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.admission import announced, negotiate
from ratatoskr.errors import Disposition, Fault, LocalProtocolError
from ratatoskr.events import (
    ItemReceived,
    RequestFailed,
    RequestId,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
)
from ratatoskr.limits import MAX_CONTROLS, MIN_CONTROLS, MIN_ENVELOPE_BYTES, MIN_RECORD_BYTES, NEGOTIATED, Limits
from ratatoskr.messages import Direction
from tests.unit.messages.support import PLAIN, VAULT, envelope, found, search
from tests.unit.session.support import PAY, Both, Hostile, note, paid, pay

SEARCHED = envelope(search())
PING = v1.Control(ping=v1.Ping(token=1))
TAG = 16


# Flights and spans


@pytest.mark.parametrize(("count", "refused"), [(2, False), (3, False), (4, True)])
@pytest.mark.parametrize("answers", [False, True])
def test_a_flight_of_the_peer_has_so_many_envelopes(count: int, refused: bool, answers: bool) -> None:
    hostile = Hostile(Direction.FROM_CLIENT, Limits(flight_messages=3))
    for _ in range(4):
        hostile.side.request()
    while hostile.output() is not None:
        pass
    envelopes = [SEARCHED] * count
    if answers:
        leaves = {number: hostile.leaf(number) for number in range(1, count + 1)}
        envelopes = [envelope(found(request_number=at, request_leaf=leaf)) for at, leaf in leaves.items()]
    if refused:
        assert hostile.refused(*envelopes, ack=4) == (Fault.LIMIT_EXCEEDED, "flight.count")
    else:
        hostile.send(*envelopes, ack=4)
        assert len(hostile.side.take_all(ResponseReceived if answers else RequestReceived)) == count


@pytest.mark.parametrize("most", [1, 2, 7])
def test_our_flights_have_no_more(most: int) -> None:
    """Requests, answers and items."""
    both = Both(Limits(flight_messages=most))
    _, asked = both.stream()
    for _ in range(most + 1):
        both.client.request()
    both.settle()
    for at in range(most + 1):
        both.server.session.respond(asked.id, note(at), last=False)
    both.server.session.respond(asked.id)
    for each in both.server.take_all(RequestReceived):
        both.server.session.respond(each.id, v1.SearchResult())
    both.settle()
    for side in (both.client, both.server):
        counts = [len(flight.envelopes) for flight in side.flights]
        assert max(counts) == most
        assert sum(counts) == (most + 2 if side is both.client else 2 * most + 3)


@pytest.mark.parametrize("most", [1, 2, 7, 20])
def test_our_spans_have_no_more_messages(most: int) -> None:
    both = Both(Limits(flight_messages=most, span_messages=most, seal_delay=100.0))
    for _ in range(3 * most):
        both.client.request()
    both.settle()
    unsealed, longest = 0, 0
    for flight in both.client.flights:
        unsealed += len(flight.envelopes)
        longest = max(longest, unsealed)
        if flight.HasField("seal"):
            unsealed = 0
    assert longest == most
    assert unsealed == 0
    assert len(both.server.take_all(RequestReceived)) == 3 * most


@pytest.mark.parametrize("most", [1, 2, 7, 20])
def test_our_spans_are_sealed_when_they_are_full_and_not_before(most: int) -> None:
    """Requests alone, one a flight, within the time that a seal may wait."""
    both = Both(Limits(flight_messages=1, span_messages=most, seal_delay=100.0))
    for _ in range(3 * most):
        both.client.request()
        both.settle()
    sealed = [flight.HasField("seal") for flight in both.client.flights]
    assert sealed == ([False] * (most - 1) + [True]) * 3


# Controls


@pytest.mark.parametrize(("count", "refused"), [(4, False), (5, False), (6, True)])
def test_a_flight_of_the_peer_has_so_many_controls(count: int, refused: bool) -> None:
    hostile = Hostile(limits=Limits(controls=5))
    if refused:
        assert hostile.refused(SEARCHED, controls=[PING] * count) == (Fault.LIMIT_EXCEEDED, "flight.controls")
    else:
        hostile.send(SEARCHED, controls=[PING] * count)


def busy(limits: Limits, streams: int) -> Both:
    """Each of so many streams has brought an item, and is owed a grant."""
    both = Both(limits)
    ids = []
    for _ in range(streams):
        id, asked = both.stream(VAULT)
        both.server.session.respond(asked.id, note(), last=False)
        ids.append(id)
    both.settle()
    for id in ids:
        both.client.session.grant(id, 1)
    return both


@pytest.mark.parametrize("most", [4, 5, 16])
def test_our_flights_have_no_more_controls(most: int) -> None:
    """What the connection and the end of the session say goes first."""
    both = busy(Limits(controls=most), 20)
    both.client.session.drain("")
    before = len(both.client.flights)
    both.client.output(both.now, (PING, PING))
    while both.client.output(both.now) is not None:
        pass
    counts = [len(flight.controls) for flight in both.client.flights[before:]]
    assert max(counts) == counts[0] == most
    assert sum(counts) == 23
    first = [each.WhichOneof("control") for each in both.client.flights[before].controls]
    assert first[:3] == ["ping", "ping", "go_away"]


def test_controls_and_the_longest_envelope_fit_into_the_shortest_record() -> None:
    """However many controls a flight may have."""
    limits = Limits(record_bytes=MIN_RECORD_BYTES, envelope_bytes=MIN_ENVELOPE_BYTES, controls=MAX_CONTROLS)
    both = busy(limits, 200)
    both.client.request(PLAIN, note("x" * (MIN_ENVELOPE_BYTES - 128 - 3)))
    before = len(both.client.flights)
    both.client.session.drain("x" * 500)
    both.client.request(PLAIN, note())
    while (flight := both.client.output(both.now, (PING, PING))) is not None and both.client.session._asking._grants:
        assert len(flight) <= MIN_RECORD_BYTES - TAG
    flights = both.client.flights[before:]
    assert max(len(flight.controls) for flight in flights) == 14


def test_the_longest_request_goes_with_as_many_controls_as_there_may_be() -> None:
    limits = Limits(record_bytes=MIN_RECORD_BYTES, envelope_bytes=MIN_ENVELOPE_BYTES, controls=MAX_CONTROLS)
    both = busy(limits, 60)
    both.client.request(PLAIN, note("x" * (MIN_ENVELOPE_BYTES - 128 - 3)))
    both.client.session.start(both.now)
    flight = both.client.output(both.now, (PING, PING))
    assert flight is not None
    assert len(flight) <= MIN_RECORD_BYTES - TAG
    assert len(both.client.flights[-1].envelopes) == 1
    assert len(both.client.flights[-1].controls) == 14


# Metadata


@pytest.mark.parametrize(("count", "allowed"), [(2, True), (3, True), (4, False)])
def test_metadata_entries_at_both_ends(count: int, allowed: bool) -> None:
    limits = Limits(metadata_entries=3)
    metadata = {f"n{at}": "v" for at in range(count)}
    entries = [v1.MetadataEntry(name=name, value=value) for name, value in metadata.items()]
    _check_metadata(limits, metadata, envelope(search(metadata=entries)), allowed=allowed)


@pytest.mark.parametrize(("more", "allowed"), [(-1, True), (0, True), (1, False)])
def test_metadata_bytes_at_both_ends(more: int, allowed: bool) -> None:
    limits = Limits(metadata_bytes=200)
    metadata = {"a": "é", "b": "x" * (200 - 2 * 32 - 2 - 2 + more)}
    entries = [v1.MetadataEntry(name=name, value=value) for name, value in metadata.items()]
    _check_metadata(limits, metadata, envelope(search(metadata=entries)), allowed=allowed)


def _check_metadata(limits: Limits, metadata: dict[str, str], made: bytes, *, allowed: bool) -> None:
    both, hostile = Both(limits), Hostile(limits=limits)
    if allowed:
        both.client.request(metadata=metadata)
        both.settle()
        hostile.send(made)
        assert both.server.take(RequestReceived).metadata == metadata
        assert hostile.side.take(RequestReceived).metadata == metadata
        return
    with pytest.raises(LocalProtocolError, match="metadata has"):
        both.client.request(metadata=metadata)
    assert hostile.refused(made) == (Fault.LIMIT_EXCEEDED, "request.metadata")


@pytest.mark.parametrize(
    ("limits", "fails"),
    [
        (Limits(metadata_entries=2), False),
        (Limits(metadata_entries=1), True),
        (Limits(metadata_bytes=78), False),
        (Limits(metadata_bytes=77), True),
    ],
    ids=str,
)
def test_a_queued_request_whose_metadata_the_peer_does_not_take_fails(limits: Limits, fails: bool) -> None:
    """Sent all the same, it would end the session with everything else in it."""
    both = Both(bind=False)
    id = both.client.request(metadata={"name": "value", "x": "1234"})
    plain = both.client.request()
    both.client.session.start(both.now)
    both.limits = limits
    both.bind()
    both.settle()
    assert len(both.server.take_all(RequestReceived)) == (1 if fails else 2)
    if fails:
        (outcome,) = both.client.outcomes(id)
        assert isinstance(outcome, RequestFailed)
        assert (outcome.failure.reason, outcome.failure.disposition) == (
            "REQUEST_TOO_LONG",
            Disposition.NOT_PROCESSED,
        )
    assert not both.client.outcomes(plain)


# Whatever two sides announce

LEAST: dict[str, int] = {
    "record_bytes": MIN_RECORD_BYTES,
    "envelope_bytes": MIN_ENVELOPE_BYTES,
    "requests_open": 1,
    "request_bytes_open": 1,
    "flight_messages": 1,
    "span_messages": 1,
    "controls": MIN_CONTROLS,
    "metadata_entries": 1,
    "metadata_bytes": 1,
    "cancels_per_minute": 1,
}


def _limits(**changes: int) -> Limits:
    fields: dict[str, Any] = dict(changes)
    if "record_bytes" in fields:
        fields.setdefault("envelope_bytes", MIN_ENVELOPE_BYTES)
    if "span_messages" in fields:
        fields.setdefault("flight_messages", fields["span_messages"])
    return Limits(**fields)


def test_every_negotiated_limit_has_a_least() -> None:
    assert set(LEAST) == set(NEGOTIATED)


@pytest.mark.parametrize("names", [*([each] for each in NEGOTIATED), list(NEGOTIATED)], ids=lambda names: names[-1])
@pytest.mark.parametrize("server_is_small", [True, False])
def test_business_goes_on_with_a_peer_that_takes_the_least(names: list[str], server_is_small: bool) -> None:
    small, large = _limits(**{name: LEAST[name] for name in names}), Limits()
    client, server = (large, small) if server_is_small else (small, large)
    both = Both(client, server_limits=server, bind=False)
    first = both.client.request(PAY, pay())
    both.client.bind(negotiate(client, announced(server)))
    both.server.bind(negotiate(server, announced(client)))
    one = both.client.request(VAULT, note(), credit=1)
    cancelled = both.client.request(PLAIN, note(), timeout=3.0)
    for at in range(10):
        both.client.request(PLAIN, note(at))
    both.client.session.cancel(cancelled)
    items = _serve(both)
    assert items == [0, 1, 2, 3, 4]
    assert [type(each) for each in both.client.outcomes(first)] == [ResponseReceived]
    assert [type(each) for each in both.client.outcomes(one)] == [StreamEnded]
    assert len(both.client.outcomes(cancelled)) == 1
    assert len(both.client.take_all(ResponseReceived)) >= 11
    for side in (both.client, both.server):
        assert all(flight.ByteSize() <= small.record_bytes - TAG for flight in side.flights)


def _serve(both: Both) -> list[int]:
    """Answer everything. The stream brings five items, each granted when the last has come; returns them."""
    session = both.server.session
    running: list[RequestId] = []
    items: list[int] = []
    sent = 0
    for _ in range(60):
        both.run(0.1)
        for asked in both.server.take_all(RequestReceived):
            if asked.kind == VAULT:
                running.append(asked.id)
            else:
                session.respond(asked.id, paid() if asked.kind == PAY else note())
        if running and sent == len(items):
            session.respond(running[0], note(sent), last=sent == 4)
            sent += 1
            running = running if sent < 5 else []
        both.settle()
        for item in both.client.take_all(ItemReceived):
            assert isinstance(item.message, v1.GoAway)
            items.append(int(item.message.reason))
            both.client.session.grant(item.id, 1)
    return items
