"""What a validator delivers, and when; its limits at N-1, N, N+1."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.errors import Fault, ProtocolFault
from ratatoskr.limits import Limits
from ratatoskr.messages import Direction, MessageValidator, Position
from ratatoskr.messages.validator import MAX_TIMEOUT_MS, PAYLOAD_FIELDS
from ratatoskr.messages.wire import UNCHECKED_BYTES
from tests.unit.messages.support import (
    CLIENT,
    KINDS,
    NOW_MS,
    SERVER,
    SESSION_ID,
    Forger,
    authorized,
    broken,
    chain_by_hand,
    custom,
    envelope,
    field,
    found,
    leaf_by_hand,
    payment,
    search,
    serializer,
    validator,
    verify_key,
)

PAYMENT, SEARCH = envelope(payment()), envelope(search())
LONG = field(99, bytes(UNCHECKED_BYTES))


def rule_of(opening: MessageValidator, flight: bytes) -> str | None:
    """The rule that refuses a flight; None where it opens."""
    try:
        opening.open(flight)
    except ProtocolFault as fault:
        return fault.rule
    return None


# What comes out


def test_messages_come_with_their_place_kind_leaf_and_payload() -> None:
    flight = Forger().flight(
        SEARCH, PAYMENT, envelope(authorized()), ack=7, controls=[v1.Control(ping=v1.Ping(token=3))]
    )
    opened = validator().open(flight)
    assert [each.number for each in opened.messages] == [1, 2, 3]
    assert [each.envelope for each in opened.messages] == [SEARCH, PAYMENT, envelope(authorized())]
    assert [each.leaf for each in opened.messages] == [
        leaf_by_hand(number, each.envelope) for number, each in enumerate(opened.messages, 1)
    ]
    assert [each.kind.name for each in opened.messages if each.kind] == [
        "MARKETPLACE_SEARCH",
        "PAYMENT_AUTHORIZE",
        "PAYMENT_AUTHORIZE",
    ]
    assert [type(each.message) for each in opened.messages] == [
        v1.RatatoskrRequest,
        v1.RatatoskrRequest,
        v1.RatatoskrResponse,
    ]
    assert [type(each.payload) for each in opened.messages] == [v1.Search, v1.AuthorizePayment, v1.PaymentAuthorized]
    assert opened.ack == 7
    assert [control.ping.token for control in opened.controls] == [3]
    assert opened.sealed is not None
    assert len(opened.sealed.leaves) == 3


def test_hops_belong_to_the_envelopes_that_they_name() -> None:
    hops = [v1.Hop(index=0, timeout_ms=5), v1.Hop(index=2, timeout_ms=MAX_TIMEOUT_MS, attempt=1, traceparent="00-ab")]
    opened = validator().open(Forger().flight(SEARCH, SEARCH, SEARCH, seal=False, hops=hops))
    assert [each.hop for each in opened.messages] == [hops[0], None, hops[1]]


def test_the_other_direction_is_opened_by_the_other_end() -> None:
    sending = serializer()
    opening = MessageValidator(
        verify_key(SERVER), SESSION_ID, Direction.FROM_SERVER, KINDS, Limits(), own_kid=CLIENT.kid
    )
    assert broken(opening, sending.pack([payment()], signed_at_ms=NOW_MS)) == ("seal.signature", Fault.SEAL_INVALID)


def test_a_flight_without_messages_carries_acks() -> None:
    opening = validator()
    opened = opening.open(Forger().flight(seal=False, ack=3))
    assert (list(opened.messages), opened.ack, opened.sealed) == ([], 3, None)
    assert opening.position == Position.start(SESSION_ID, 0)


# Sealed and deferred


def test_a_search_is_delivered_before_its_seal_and_proved_by_it() -> None:
    opening, forger = validator(), Forger()
    (first,) = opening.open(forger.flight(SEARCH, seal=False)).messages
    assert first.payload == v1.Search(query="lamp")
    assert not first.evidence.sealed
    assert first.evidence.receipt() is None
    (second,) = opening.open(forger.flight(envelope(search("desk")), seal=False)).messages
    assert opening.unsealed == 2
    assert opening.position == (2, chain_by_hand(forger.sent), 0)

    evidence = first.evidence
    closed = opening.open(forger.flight()).sealed
    assert closed is not None
    assert (closed.first, len(closed.leaves)) == (1, 2)
    assert opening.unsealed == 0
    assert opening.position == (2, chain_by_hand(forger.sent), 2)
    for each, proof in [(first, evidence), (second, second.evidence)]:
        assert proof.sealed
        receipt = proof.receipt()
        assert receipt is not None
        receipt.verify(verify_key(CLIENT))
        assert (receipt.number, receipt.envelope) == (each.number, each.envelope)


def test_one_seal_pays_for_all_messages_of_a_flight() -> None:
    opening, forger = validator(), Forger()
    opened = opening.open(forger.flight(SEARCH, PAYMENT, SEARCH))
    receipts = [each.evidence.receipt() for each in opened.messages]
    assert all(receipts)
    assert len({receipt.signature for receipt in receipts if receipt}) == 1
    assert [len(receipt.following_leaves) for receipt in receipts if receipt] == [2, 1, 0]


def test_a_seal_over_nothing_new_closes_no_span() -> None:
    opening, forger = validator(), Forger()
    assert opening.open(forger.flight()).sealed is None
    opening.open(forger.flight(PAYMENT))
    assert opening.open(forger.flight()).sealed is None
    assert opening.position.sealed == 1


def test_spans_do_not_run_into_each_other() -> None:
    opening, forger = validator(), Forger()
    flights = [(SEARCH,), (PAYMENT, SEARCH), (SEARCH,)]
    messages = [each for envelopes in flights for each in opening.open(forger.flight(*envelopes)).messages]
    for each in messages:
        receipt = each.evidence.receipt()
        assert receipt is not None
        receipt.verify(verify_key(CLIENT))
        assert receipt.previous_chain == chain_by_hand(forger.sent[: each.number - 1])


def test_a_seal_that_fails_leaves_the_span_open() -> None:
    opening, forger = validator(), Forger()
    (first,) = opening.open(forger.flight(SEARCH, seal=False)).messages
    bad = Forger()
    bad.sent = [SEARCH]
    assert broken(opening, bad.flight(seal=v1.Seal(signature_suite=1, signature=bytes(64))))[0] == "seal.signature"
    assert first.evidence.receipt() is None
    opening.open(forger.flight())
    assert first.evidence.receipt() is not None


# Limits at N-1, N, N+1


@pytest.mark.parametrize(("count", "rule"), [(2, None), (3, None), (4, "flight.count")])
def test_envelopes_of_a_flight(count: int, rule: str | None) -> None:
    opening = validator(limits=Limits(flight_messages=3))
    assert rule_of(opening, Forger().flight(*[SEARCH] * count)) == rule


@pytest.mark.parametrize(("count", "rule"), [(255, None), (256, None), (257, "flight.count")])
def test_envelopes_of_a_flight_by_default(count: int, rule: str | None) -> None:
    assert rule_of(validator(), Forger().flight(*[SEARCH] * count)) == rule


@pytest.mark.parametrize(("count", "rule"), [(3, None), (4, None), (5, "flight.controls")])
def test_controls_of_a_flight(count: int, rule: str | None) -> None:
    controls = [v1.Control(ping=v1.Ping(token=1))] * count
    assert rule_of(validator(limits=Limits(controls=4)), Forger().flight(controls=controls)) == rule


@pytest.mark.parametrize("before", [1, 4])
@pytest.mark.parametrize("seal", [True, False])
@pytest.mark.parametrize(("count", "rule"), [(4, None), (5, None), (6, "span.length")])
def test_messages_of_a_span(before: int, seal: bool, count: int, rule: str | None) -> None:
    """A span is bounded however its messages are divided among flights, and whether or not a seal comes last."""
    opening, forger = validator(limits=Limits(span_messages=5, flight_messages=5)), Forger()
    for _ in range(before):
        opening.open(forger.flight(SEARCH, seal=False))
    assert rule_of(opening, forger.flight(*[SEARCH] * (count - before), seal=seal)) == rule


def test_a_seal_makes_room_for_the_next_span() -> None:
    opening, forger = validator(limits=Limits(span_messages=3, flight_messages=3)), Forger()
    for _ in range(4):
        opening.open(forger.flight(SEARCH, SEARCH, SEARCH, seal=False))
        assert opening.unsealed == 3
        opening.open(forger.flight())
    assert opening.position.number == opening.position.sealed == 12


def search_of(size: int) -> bytes:
    """A search whose envelope has exactly so many bytes."""
    rest = size - len(envelope(custom(2, field(1, b"x" * 3000)))) + 3000
    result = envelope(custom(2, field(1, b"x" * rest)))
    assert len(result) == size
    return result


@pytest.mark.parametrize(("more", "rule"), [(-1, None), (0, None), (1, "envelope.length")])
def test_bytes_of_an_envelope(more: int, rule: str | None) -> None:
    limits = Limits(envelope_bytes=5000)
    assert rule_of(validator(limits=limits), Forger().flight(search_of(5000 + more), seal=False)) == rule


@pytest.mark.parametrize(("count", "rule"), [(2, None), (3, None), (4, "request.metadata")])
def test_metadata_entries(count: int, rule: str | None) -> None:
    request = search(metadata=[v1.MetadataEntry(name="n", value="v")] * count)
    assert rule_of(validator(limits=Limits(metadata_entries=3)), Forger().flight(envelope(request))) == rule


@pytest.mark.parametrize(("size", "rule"), [(-1, None), (0, None), (1, "request.metadata")])
@pytest.mark.parametrize("part", ["name", "value"])
@pytest.mark.parametrize("entries", [1, 3])
def test_metadata_bytes_with_a_fee_for_each_entry(part: str, size: int, rule: str | None, entries: int) -> None:
    text = "x" * (200 + size - 32 * entries)
    metadata = [v1.MetadataEntry(**{part: text}), *[v1.MetadataEntry()] * (entries - 1)]
    opening = validator(limits=Limits(metadata_bytes=200))
    assert rule_of(opening, Forger().flight(envelope(search(metadata=metadata)))) == rule


@pytest.mark.parametrize(("timeout", "rule"), [(-1, None), (0, None), (1, "flight.hops")])
def test_the_time_of_a_hop(timeout: int, rule: str | None) -> None:
    hop = v1.Hop(index=0, timeout_ms=MAX_TIMEOUT_MS + timeout)
    assert rule_of(validator(), Forger().flight(SEARCH, hops=[hop])) == rule


@pytest.mark.parametrize(("more", "rule"), [(-1, None), (0, None), (1, "flight.budget")])
def test_fields_of_a_flight(more: int, rule: str | None) -> None:
    limits = Limits(flight_messages=2, controls=4, span_messages=2)
    budget = 8 + 7 * limits.flight_messages + 4 * limits.controls
    flight = Forger().flight(SEARCH, seal=False) + LONG
    used = 3
    assert rule_of(validator(limits=limits), flight + field(98, 1) * (budget - used + more)) == rule


@pytest.mark.parametrize(("more", "rule"), [(-1, None), (0, None), (1, "envelope.budget")])
def test_fields_of_a_request(more: int, rule: str | None) -> None:
    limits = Limits(metadata_entries=5)
    used = len(search().ListFields())
    envelope_ = SEARCH + LONG + field(98, 1) * (8 + 3 * 5 - used - 1 + more)
    assert rule_of(validator(limits=limits), Forger().flight(envelope_, seal=False)) == rule


@pytest.mark.parametrize(("more", "rule"), [(-1, None), (0, None), (1, "envelope.budget")])
def test_fields_of_a_response(more: int, rule: str | None) -> None:
    used = len(found().ListFields())
    envelope_ = envelope(found()) + LONG + field(98, 1) * (256 - used - 1 + more)
    assert rule_of(validator(), Forger().flight(envelope_, seal=False)) == rule


@pytest.mark.parametrize(("more", "refused"), [(-1, False), (0, False), (1, True)])
def test_fields_of_a_payload(more: int, refused: bool) -> None:
    payload = field(98, 1) * (PAYLOAD_FIELDS + more)
    (received,) = validator().open(Forger().flight(envelope(custom(2, payload)), seal=False)).messages
    assert (received.failure is not None and received.failure.reason == "PAYLOAD_BUDGET") is refused


@pytest.mark.parametrize(("count", "rule"), [(7, None), (8, None), (9, "response.violations")])
def test_violations_of_an_error(count: int, rule: str | None) -> None:
    error = v1.Error(code=3, violations=[v1.FieldViolation(field="f", rule="r", description="d")] * count)
    assert rule_of(validator(), Forger().flight(envelope(found(error=error)))) == rule


def test_the_fullest_honest_flight_is_within_its_budget() -> None:
    """Every field that there is, as often as limits allow, in a flight long enough to be counted."""
    hops = [v1.Hop(index=at, timeout_ms=1, attempt=1, traceparent="00-ab") for at in range(256)]
    controls = [v1.Control(disconnect=v1.Disconnect(code=1, reason="r"))] * 16
    metadata = [v1.MetadataEntry(name=f"name-{at}", value="v" * 200) for at in range(32)]
    full = envelope(search(expires_at_ms=NOW_MS, metadata=metadata))
    assert len(full) > UNCHECKED_BYTES
    violations = [v1.FieldViolation(field="f", rule="r", description="d" * 1000)] * 8
    error = v1.Error(code=3, reason="R", message="m", disposition=v1.DISPOSITION_MAYBE, retry_delay_ms=1)
    error.violations.extend(violations)
    answer = envelope(found(error=error, replayed=True))
    assert len(answer) > UNCHECKED_BYTES
    flight = Forger().flight(full, answer, *[SEARCH] * 254, hops=hops, controls=controls, ack=9)
    assert rule_of(validator(), flight) is None


# Position


def test_a_stopped_validator_goes_on_from_its_position() -> None:
    opening, forger = validator(), Forger()
    opening.open(forger.flight(SEARCH, PAYMENT))
    opening.open(forger.flight(SEARCH, seal=False))
    position = opening.position
    assert position == Position(3, chain_by_hand(forger.sent), 2)

    resumed = validator(position)
    assert (resumed.position, resumed.unsealed) == (position, 1)
    (received,) = resumed.open(forger.flight(PAYMENT)).messages
    assert received.number == 4
    receipt = received.evidence.receipt()
    assert receipt is not None
    receipt.verify(verify_key(CLIENT))
    assert resumed.position == Position(4, chain_by_hand(forger.sent), 4)


@pytest.mark.parametrize(("count", "rule"), [(1, None), (2, None), (3, "span.length")])
def test_a_span_counts_what_came_before_the_validator_stopped(count: int, rule: str | None) -> None:
    limits = Limits(span_messages=5, flight_messages=5)
    opening, forger = validator(limits=limits), Forger()
    opening.open(forger.flight(*[SEARCH] * 3, seal=False))
    resumed = validator(opening.position, limits=limits)
    assert rule_of(resumed, forger.flight(*[SEARCH] * count)) == rule


@pytest.mark.parametrize(
    "other",
    [
        Position(1, chain_by_hand([PAYMENT]), 1),
        Position(1, bytes(32), 1),
        Position.start(SESSION_ID, 1),
    ],
    ids=["other bytes", "zeros", "other direction"],
)
def test_a_validator_at_another_position_refuses_the_seal(other: Position) -> None:
    forger = Forger()
    forger.flight(*[SEARCH] * other.number)
    assert broken(validator(other), forger.flight(PAYMENT))[0] == "seal.signature"


# Any bytes


def mutations() -> st.SearchStrategy[bytes]:
    """A valid flight with some bytes replaced, cut out or put in."""
    valid = [
        Forger().flight(PAYMENT, SEARCH, envelope(authorized()), hops=[v1.Hop(index=1, timeout_ms=5)], ack=1),
        Forger().flight(SEARCH, envelope(found()), seal=False, controls=[v1.Control(ping=v1.Ping(token=1))]),
        Forger().flight(envelope(found(error=v1.Error(code=5, reason="R", message="m"))), seal=False),
    ]

    @st.composite
    def mutated(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(st.sampled_from(valid)))
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, len(data)))
            data[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
        return bytes(data)

    return mutated()


def flights() -> st.SearchStrategy[bytes]:
    """Well-formed flights of envelopes of any content."""
    requests = st.builds(
        custom,
        st.integers(0, 3),
        st.binary(max_size=20),
        nonce=st.sampled_from([b"", bytes(16), b"n" * 16]),
        metadata=st.lists(st.builds(v1.MetadataEntry, name=st.text(max_size=3)), max_size=3),
        expires_at_ms=st.integers(0, 1 << 63),
    ).map(envelope)
    responses = st.builds(
        found,
        request_leaf=st.sampled_from([b"", b"l" * 32]),
        payload=st.binary(max_size=20),
        index=st.integers(0, 1),
        operation=st.integers(0, 2),
        request_number=st.integers(0, (1 << 64) - 1),
    ).map(envelope)
    hops = st.builds(v1.Hop, index=st.integers(0, 4), timeout_ms=st.integers(0, 1 << 31))

    def build(envelopes: list[bytes], seal: bool, **fields: Any) -> bytes:
        return Forger().flight(*envelopes, seal=seal, **fields)

    return st.builds(
        build,
        st.lists(requests | responses | st.binary(max_size=20), max_size=3),
        st.booleans(),
        hops=st.lists(hops, max_size=2),
        ack=st.integers(0, (1 << 64) - 1),
    )


@given(st.binary(max_size=200) | mutations() | flights())
@example(b"")
def test_no_bytes_raise_anything_but_a_fault_and_a_fault_moves_nothing(data: bytes) -> None:
    opening = validator()
    before = opening.position
    if rule_of(opening, data) is None:
        assert opening.position.number >= before.number
        return
    assert opening.position == before
    forger = Forger()
    assert rule_of(opening, forger.flight(PAYMENT)) is None
