"""Every rule for received messages has a case that breaks it, and only it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from ratatoskr import v1
from ratatoskr.errors import Disposition, FaultClass, FieldViolation, Status
from ratatoskr.limits import Limits
from ratatoskr.messages import Rule
from ratatoskr.messages.validator import MAX_TIMEOUT_MS, PAYLOAD_FIELDS
from ratatoskr.messages.wire import UNCHECKED_BYTES
from tests.unit.messages.support import (
    CLIENT,
    EUR,
    KINDS,
    LEAF,
    NOTE,
    NOW_MS,
    OTHER_SESSION_ID,
    PLAIN,
    SERVER,
    STRANGER,
    Forger,
    authorized,
    broken,
    chain_by_hand,
    custom,
    end,
    envelope,
    field,
    found,
    item,
    payment,
    search,
    validator,
    verify_key,
)

PAYMENT, SEARCH, FOUND = envelope(payment()), envelope(search()), envelope(found())
LONG = field(99, bytes(UNCHECKED_BYTES))
"""An unknown field that makes any bytes long enough to be counted."""

Flight = Callable[[Forger], bytes]


class Case(NamedTuple):
    rule: Rule
    what: str
    flight: Flight
    """The flight that breaks the rule."""
    limits: Limits = Limits()
    before: Flight | None = None
    """A valid flight that comes before it."""


def one(what: str, rule: Rule, *envelopes: bytes, limits: Limits | None = None, **changes: object) -> Case:
    """A case of one flight."""
    return Case(rule, what, lambda forger: forger.flight(*envelopes, **changes), limits or Limits())  # type: ignore[arg-type]


def deferred_twice(request: v1.RatatoskrRequest) -> bytes:
    """The same request, its last field said twice: an encoding that a parser reads as the same message."""
    return envelope(request) + field(6, request.payload)


CONTROL = v1.Control(ping=v1.Ping())
HOP = v1.Hop(index=0)
FEW = Limits(flight_messages=2, controls=4, span_messages=3, metadata_entries=2, metadata_bytes=100)


def metadata(*entries: tuple[str, str]) -> bytes:
    return envelope(search(metadata=[v1.MetadataEntry(name=name, value=value) for name, value in entries]))


def hops(*values: v1.Hop) -> Case:
    what = ", ".join(f"{hop.index}/{hop.timeout_ms}" for hop in values)
    return one(f"hops {what}", Rule.FLIGHT_HOPS, SEARCH, SEARCH, hops=values)


def sealed_by(what: str, rule: Rule, make: Callable[[Forger], v1.Seal], *envelopes: bytes) -> Case:
    """A case of a flight that is right but for its seal."""

    def flight(forger: Forger) -> bytes:
        unsealed = v1.Flight.FromString(forger.flight(*envelopes, seal=False))
        unsealed.seal.CopyFrom(make(forger))
        return unsealed.SerializeToString()

    return Case(rule, what, flight)


def with_signature(change: Callable[[bytes], bytes]) -> Callable[[Forger], v1.Seal]:
    def make(forger: Forger) -> v1.Seal:
        seal = forger.seal()
        seal.signature = change(seal.signature)
        return seal

    return make


def with_fields(**fields: int) -> Callable[[Forger], v1.Seal]:
    def make(forger: Forger) -> v1.Seal:
        seal = forger.seal()
        for name, value in fields.items():
            setattr(seal, name, value)
        return seal

    return make


SESSION_CASES = [
    Case(Rule.FLIGHT_BUDGET, "hops", lambda forger: forger.flight(SEARCH) + field(3, b"") * 4000),
    Case(Rule.FLIGHT_BUDGET, "controls", lambda forger: forger.flight(SEARCH) + field(5, field(1, b"")) * 2000),
    Case(Rule.FLIGHT_BUDGET, "a group", lambda forger: forger.flight(SEARCH) + LONG + b"\x9b\x06\x9c\x06"),
    Case(Rule.FLIGHT_MALFORMED, "no message", lambda forger: b"\xff"),
    Case(Rule.FLIGHT_MALFORMED, "cut short", lambda forger: forger.flight(SEARCH)[:-1]),
    Case(Rule.FLIGHT_MALFORMED, "no text", lambda forger: forger.flight(SEARCH) + field(3, field(4, b"\xff"))),
    one("a number too low", Rule.FLIGHT_NUMBER, SEARCH, first_number=0),
    one("a number too high", Rule.FLIGHT_NUMBER, SEARCH, first_number=2),
    one("the highest number", Rule.FLIGHT_NUMBER, SEARCH, first_number=(1 << 64) - 1),
    one("a wrong number without envelopes", Rule.FLIGHT_NUMBER, first_number=2),
    Case(
        Rule.FLIGHT_NUMBER,
        "the same flight again",
        lambda forger: Forger().flight(SEARCH),
        before=lambda forger: forger.flight(SEARCH),
    ),
    Case(Rule.FLIGHT_NUMBER, "nothing", lambda forger: b""),
    one("envelopes", Rule.FLIGHT_COUNT, SEARCH, SEARCH, SEARCH, limits=FEW),
    one("controls", Rule.FLIGHT_CONTROLS, controls=[CONTROL] * 5, limits=FEW),
    hops(v1.Hop(index=2)),
    hops(v1.Hop(index=(1 << 32) - 1)),
    hops(v1.Hop(index=1), v1.Hop(index=0)),
    hops(v1.Hop(index=0), v1.Hop(index=0)),
    hops(v1.Hop(index=0, timeout_ms=MAX_TIMEOUT_MS + 1)),
    one("a hop without an envelope", Rule.FLIGHT_HOPS, hops=[HOP]),
    Case(
        Rule.SPAN_LENGTH,
        "messages of two flights",
        lambda forger: forger.flight(SEARCH, SEARCH),
        FEW,
        before=lambda forger: forger.flight(SEARCH, SEARCH, seal=False),
    ),
    one("a request", Rule.ENVELOPE_LENGTH, envelope(search("x" * 3072)), limits=Limits(envelope_bytes=3072)),
    one("metadata", Rule.ENVELOPE_BUDGET, SEARCH + LONG + field(7, b"") * 200),
    one("violations", Rule.ENVELOPE_BUDGET, FOUND + LONG + field(9, field(6, b"") * 300)),
    one("nothing", Rule.ENVELOPE_FORM, b""),
    one("form 0", Rule.ENVELOPE_FORM, b"\x00" + SEARCH[1:]),
    one("form 3", Rule.ENVELOPE_FORM, b"\x03" + SEARCH[1:]),
    one("a request", Rule.ENVELOPE_MALFORMED, b"\x01\xff"),
    one("a response", Rule.ENVELOPE_MALFORMED, b"\x02\xff"),
    one("metadata that is no text", Rule.ENVELOPE_MALFORMED, SEARCH + field(7, field(1, b"\xff"))),
    one("an error that is no text", Rule.ENVELOPE_MALFORMED, envelope(found())[:-1] + field(9, field(3, b"\xff"))),
    one("a request of a sealed kind", Rule.ENVELOPE_CANONICAL, deferred_twice(payment())),
    one("an unknown field", Rule.ENVELOPE_CANONICAL, PAYMENT + field(99, b"")),
    one("a response of a sealed kind", Rule.ENVELOPE_CANONICAL, envelope(authorized()) + field(6, 1)),
    *(
        one(f"type {number}", Rule.REQUEST_TYPE, envelope(search(type=v1.MessageType.ValueType(number))))
        for number in (0, 1, 2, -1, -(1 << 31))
    ),
    one("no nonce", Rule.REQUEST_NONCE, envelope(search(nonce=b""))),
    one("a nonce too short", Rule.REQUEST_NONCE, envelope(search(nonce=b"x" * 15))),
    one("a nonce too long", Rule.REQUEST_NONCE, envelope(search(nonce=b"x" * 17))),
    one("a nonce of zeros", Rule.REQUEST_NONCE, envelope(search(nonce=bytes(16)))),
    one("entries", Rule.REQUEST_METADATA, metadata(("a", ""), ("b", ""), ("c", "")), limits=FEW),
    one("bytes", Rule.REQUEST_METADATA, metadata(("a", "x" * 36), ("b", "")), limits=FEW),
    one("bytes, not characters", Rule.REQUEST_METADATA, metadata(("a", "é" * 18), ("b", "")), limits=FEW),
    one("no leaf", Rule.RESPONSE_LEAF, envelope(found(request_leaf=b""))),
    one("a leaf too short", Rule.RESPONSE_LEAF, envelope(found(request_leaf=LEAF[1:]))),
    one("a leaf too long", Rule.RESPONSE_LEAF, envelope(found(request_leaf=LEAF + b"x"))),
    one(
        "neither",
        Rule.RESPONSE_RESULT,
        envelope(v1.RatatoskrResponse(request_leaf=LEAF, type=v1.MESSAGE_TYPE_MARKETPLACE_REQUEST, last=True)),
    ),
    one("an index", Rule.RESPONSE_UNARY, envelope(found(index=1))),
    one("not the last", Rule.RESPONSE_UNARY, envelope(found(last=False))),
    one("an end without a result", Rule.RESPONSE_RESULT, envelope(end(type=10, operation=1))),
    one("an item without a result", Rule.RESPONSE_RESULT, envelope(end(last=False))),
    one("an error among items", Rule.RESPONSE_ERROR, envelope(item(error=v1.Error(code=5)))),
    one("violations", Rule.RESPONSE_VIOLATIONS, envelope(found(error=v1.Error(violations=[v1.FieldViolation()] * 9)))),
    one("a payment", Rule.SEAL_MISSING, PAYMENT, seal=False),
    one("a payment among searches", Rule.SEAL_MISSING, SEARCH, PAYMENT, SEARCH, seal=False),
    one("an answer to a payment", Rule.SEAL_MISSING, envelope(authorized()), seal=False),
    one("a kind without a key", Rule.SEAL_MISSING, envelope(custom(1, b"")), seal=False),
    *(
        sealed_by(f"suite {number}", Rule.SEAL_FORM, with_fields(signature_suite=number), PAYMENT)
        for number in (0, 2, 255, 256, (1 << 32) - 1)
    ),
    sealed_by("no signature", Rule.SEAL_FORM, with_signature(lambda signature: b""), PAYMENT),
    sealed_by("63 bytes", Rule.SEAL_FORM, with_signature(lambda signature: signature[:-1]), PAYMENT),
    sealed_by("65 bytes", Rule.SEAL_FORM, with_signature(lambda signature: signature + b"\x00"), PAYMENT),
    sealed_by("an empty seal", Rule.SEAL_FORM, lambda forger: v1.Seal(), SEARCH),
    sealed_by("zeros", Rule.SEAL_SIGNATURE, with_signature(lambda signature: bytes(64)), PAYMENT),
    sealed_by("another time", Rule.SEAL_SIGNATURE, with_fields(signed_at_ms=NOW_MS + 1), PAYMENT),
    sealed_by("of another session", Rule.SEAL_SIGNATURE, lambda f: f.seal(session_id=OTHER_SESSION_ID), PAYMENT),
    sealed_by("of the other direction", Rule.SEAL_SIGNATURE, lambda f: f.seal(direction=1), PAYMENT),
    sealed_by("of an earlier place", Rule.SEAL_SIGNATURE, lambda f: f.seal(number=0), PAYMENT),
    sealed_by("of a later place", Rule.SEAL_SIGNATURE, lambda f: f.seal(number=2), PAYMENT),
    sealed_by("by a stranger", Rule.SEAL_SIGNATURE, lambda f: f.seal(signer=STRANGER), PAYMENT),
    sealed_by(
        "by a stranger in the client's name",
        Rule.SEAL_SIGNATURE,
        lambda f: f.seal(signer=STRANGER, signer_kid=CLIENT.kid),
        PAYMENT,
    ),
    sealed_by(
        "by the client in a stranger's name", Rule.SEAL_SIGNATURE, lambda f: f.seal(signer_kid=STRANGER.kid), PAYMENT
    ),
    sealed_by("by the receiver", Rule.SEAL_SIGNATURE, lambda f: f.seal(signer=SERVER), PAYMENT),
    sealed_by("for a stranger", Rule.SEAL_SIGNATURE, lambda f: f.seal(recipient=STRANGER), PAYMENT),
    sealed_by("for its signer", Rule.SEAL_SIGNATURE, lambda f: f.seal(recipient=CLIENT), PAYMENT),
    sealed_by("under another label", Rule.SEAL_SIGNATURE, lambda f: f.seal(label=b"ratatoskr-v1 seam"), PAYMENT),
    sealed_by("of another suite", Rule.SEAL_SIGNATURE, lambda f: f.seal(suite=2), PAYMENT),
    sealed_by(
        "of other bytes", Rule.SEAL_SIGNATURE, lambda f: f.seal(chain=chain_by_hand([envelope(payment("X"))])), PAYMENT
    ),
    sealed_by("of the chain before", Rule.SEAL_SIGNATURE, lambda f: f.seal(chain=chain_by_hand([])), PAYMENT),
    sealed_by(
        "of another order",
        Rule.SEAL_SIGNATURE,
        lambda f: f.seal(chain=chain_by_hand([SEARCH, PAYMENT])),
        PAYMENT,
        SEARCH,
    ),
    sealed_by("over searches alone", Rule.SEAL_SIGNATURE, lambda f: f.seal(number=9), SEARCH),
    sealed_by("over nothing", Rule.SEAL_SIGNATURE, lambda f: f.seal(number=9)),
]


@pytest.mark.parametrize("case", SESSION_CASES, ids=lambda case: f"{case.rule.id}-{case.what}")
def test_a_broken_session_rule_names_itself_and_leaves_the_validator_where_it_was(case: Case) -> None:
    opening, forger = validator(limits=case.limits), Forger()
    if case.before is not None:
        opening.open(case.before(forger))
    hostile = Forger()
    hostile.sent = list(forger.sent)
    assert broken(opening, case.flight(hostile)) == (case.rule.id, case.rule.fault)

    opened = opening.open(forger.flight(PAYMENT))
    assert opened.messages[0].payload == KINDS.by_name("PAYMENT_AUTHORIZE").request.FromString(payment().payload)
    receipt = opened.messages[0].evidence.receipt()
    assert receipt is not None
    receipt.verify(verify_key(CLIENT))


class CallCase(NamedTuple):
    rule: Rule
    what: str
    request: bytes
    status: Status = Status.INVALID_ARGUMENT


BIG_FILTERS = field(2, b"") * (PAYLOAD_FIELDS + 1)

CALL_CASES = [
    CallCase(Rule.KIND_UNKNOWN, "a type", envelope(search(type=v1.MessageType.ValueType(13))), Status.UNIMPLEMENTED),
    CallCase(Rule.KIND_UNKNOWN, "an operation", envelope(search(operation=0)), Status.UNIMPLEMENTED),
    CallCase(Rule.KIND_UNKNOWN, "a custom type", envelope(custom(77, b"\xff")), Status.UNIMPLEMENTED),
    CallCase(Rule.NONCE_KEY, "a fresh nonce", envelope(payment(nonce=b"x" * 16))),
    CallCase(Rule.NONCE_KEY, "another payment's", envelope(payment("A", nonce=payment("B").nonce))),
    CallCase(Rule.PAYLOAD_BUDGET, "filters", envelope(search(payload=BIG_FILTERS)), Status.RESOURCE_EXHAUSTED),
    CallCase(Rule.PAYLOAD_BUDGET, "a sealed kind", envelope(custom(1, BIG_FILTERS)), Status.RESOURCE_EXHAUSTED),
    CallCase(Rule.PAYLOAD_MALFORMED, "a deferred kind", envelope(search(payload=b"\xff"))),
    CallCase(Rule.PAYLOAD_MALFORMED, "a sealed kind", envelope(payment(payload=b"\xff"))),
    CallCase(Rule.PAYLOAD_MALFORMED, "no text", envelope(search(payload=field(1, b"\xff")))),
    CallCase(Rule.PAYLOAD_CANONICAL, "an unknown field", envelope(payment(payload=payment().payload + field(99, 1)))),
    CallCase(Rule.PAYLOAD_CANONICAL, "an explicit default", envelope(custom(1, field(4, 0)))),
    CallCase(Rule.PAYLOAD_CANONICAL, "a scalar twice", envelope(custom(1, field(4, 1) + field(4, 1)))),
    CallCase(Rule.PAYLOAD_CANONICAL, "another order", envelope(custom(1, field(4, 1) + field(1, b"x")))),
    CallCase(Rule.PAYLOAD_CANONICAL, "a long varint", envelope(custom(1, b"\x20\x81\x00"))),
    CallCase(Rule.PAYLOAD_SCHEMA, "a deferred kind", envelope(search(payload=field(4, 51)))),
    CallCase(Rule.PAYLOAD_SCHEMA, "a sealed kind", envelope(custom(1, field(4, 51)))),
    CallCase(
        Rule.PAYLOAD_SCHEMA,
        "an amount",
        envelope(payment(payload=v1.AuthorizePayment(end_to_end_id="ORDER 1/2026", amount=EUR).SerializeToString())),
    ),
]


@pytest.mark.parametrize("case", CALL_CASES, ids=lambda case: f"{case.rule.id}-{case.what}")
def test_a_broken_call_rule_is_that_call_s_failure_and_no_other_s(case: CallCase) -> None:
    opened = validator().open(Forger().flight(SEARCH, case.request, PAYMENT))
    before, received, after = opened.messages
    assert received.payload is None
    failure = received.failure
    assert failure is not None
    assert failure.reason == case.rule.id.upper().replace(".", "_")
    assert (failure.status, failure.disposition) == (case.status, Disposition.NOT_PROCESSED)
    assert failure.message
    for other in (before, after):
        assert other.failure is None
        assert other.payload is not None


def test_every_rule_has_a_case() -> None:
    """REQUEST_EXPIRED needs a clock: the session's tests break it."""
    covered = {case.rule for case in SESSION_CASES} | {case.rule for case in CALL_CASES}
    assert set(Rule) - covered == {Rule.REQUEST_EXPIRED}


def test_rules_have_ids_of_their_own_and_say_what_they_end() -> None:
    assert len({rule.id for rule in Rule}) == len(Rule)
    assert all(rule.meaning for rule in Rule)
    assert all(rule.fault is None or rule.fault.cls is FaultClass.SESSION for rule in Rule)
    assert {case.rule for case in SESSION_CASES} == {rule for rule in Rule if rule.fault is not None}


def test_a_call_rule_is_no_session_fault() -> None:
    with pytest.raises(AssertionError):
        Rule.NONCE_KEY.broken("")


@pytest.mark.parametrize(
    ("rule", "payload"),
    [
        (Rule.PAYLOAD_MALFORMED, b"\xff"),
        (Rule.PAYLOAD_BUDGET, field(1, b"") * (PAYLOAD_FIELDS + 1)),
        (Rule.PAYLOAD_SCHEMA, field(2, bytes(129))),
    ],
    ids=lambda value: value.id if isinstance(value, Rule) else "",
)
def test_an_answer_that_breaks_a_call_rule_leaves_the_outcome_unknown(rule: Rule, payload: bytes) -> None:
    (received,) = validator().open(Forger().flight(envelope(found(payload=payload)))).messages
    assert received.payload is None
    failure = received.failure
    assert failure is not None
    assert (failure.status, failure.reason) == (Status.INTERNAL, "ANSWER_INVALID")
    assert failure.disposition is Disposition.MAYBE
    assert rule.id.upper().replace(".", "_") in failure.message


def test_an_answer_of_a_sealed_kind_has_a_canonical_payload() -> None:
    answer = authorized(payload=authorized().payload + field(99, 1))
    (received,) = validator().open(Forger().flight(envelope(answer))).messages
    assert received.failure is not None
    assert "PAYLOAD_CANONICAL" in received.failure.message


def test_an_error_is_an_answer_without_a_payload() -> None:
    answer = authorized(payload=b"")
    answer.error.CopyFrom(v1.Error(code=9))
    (received,) = validator().open(Forger().flight(envelope(answer))).messages
    assert (received.payload, received.failure) == (None, None)


def test_a_schema_failure_names_every_field_up_to_a_limit() -> None:
    payload = v1.Search(page_size=51, page_token=bytes(129)).SerializeToString()
    (received,) = validator().open(Forger().flight(envelope(search(payload=payload)))).messages
    assert received.failure is not None
    assert [(each.field, each.rule) for each in received.failure.violations] == [
        ("page_size", "uint32.lte"),
        ("page_token", "bytes.max_len"),
    ]
    assert isinstance(received.failure.violations[0], FieldViolation)
    assert received.failure.message.startswith("page_size: ")

    (received,) = validator().open(Forger().flight(envelope(search(payload=field(2, b"") * 1000)))).messages
    assert received.failure is not None
    assert len(received.failure.violations) == 8


DEFERRED_BUT_ODD = {
    "an unknown field": envelope(search()) + field(99, b"x"),
    "a field twice": deferred_twice(search()),
    "an explicit default": envelope(search()) + field(5, b"")[:0] + b"\x29" + bytes(8),
    "another order": b"\x01" + field(2, 1) + field(1, 10) + field(3, search().nonce),
    "a long varint": b"\x01\x08\x8a\x00" + field(2, 1) + field(3, search().nonce),
}


@pytest.mark.parametrize("odd", DEFERRED_BUT_ODD.values(), ids=DEFERRED_BUT_ODD)
def test_an_envelope_of_a_deferred_kind_may_gain_fields(odd: bytes) -> None:
    (received,) = validator().open(Forger().flight(odd, seal=False)).messages
    assert received.kind is KINDS.by_name("MARKETPLACE_SEARCH")
    assert received.failure is None
    assert isinstance(received.payload, v1.Search)
    assert received.envelope == odd, "exact bytes, never a re-encoding"


@pytest.mark.parametrize("odd", [field(1, b"x") * 2, field(99, 1), field(4, 0), b"\x20\x81\x00"], ids=repr)
def test_a_payload_of_a_deferred_kind_may_gain_fields(odd: bytes) -> None:
    (received,) = validator().open(Forger().flight(envelope(search(payload=odd)), seal=False)).messages
    assert received.failure is None
    assert received.payload is not None


def test_a_kind_without_rules_takes_any_payload_that_parses() -> None:
    (received,) = validator().open(Forger().flight(envelope(custom(2, field(1, b"x" * 10_000))), seal=False)).messages
    assert received.kind is PLAIN
    assert received.payload == v1.GoAway(reason="x" * 10_000)


def test_an_unknown_kind_needs_no_seal_to_be_refused() -> None:
    (received,) = validator().open(Forger().flight(envelope(custom(77, b"")) + field(99, b""), seal=False)).messages
    assert received.kind is None
    assert received.failure is not None
    assert "1000/77" in received.failure.message


def test_a_kind_without_a_key_takes_any_nonce() -> None:
    (received,) = validator().open(Forger().flight(envelope(custom(1, b"", nonce=b"z" * 16)))).messages
    assert received.kind is NOTE
    assert received.failure is None
