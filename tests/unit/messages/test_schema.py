"""Each annotated rule at its bound, and agreement with protovalidate on payloads that are nearly valid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.messages.schema import CHECKS, check
from ratatoskr.messages.standard import STANDARD_KINDS
from tests.unit.messages.annotations import Annotation, Found, annotated_rules, judged, resolve

EUR = v1.Money(currency="EUR", units=12, nanos=500_000_000)
LIGHT = v1.SearchFilter(field=v1.FILTER_FIELD_CATEGORY, values=["lighting", "garden"])
LAMP = v1.Offer(
    offer_id="lamp-2",
    provider_id="lamps.example",
    title="Lamp",
    summary="Gives light",
    category="lighting",
    price=EUR,
    stock=3,
)

VALID: list[Message] = [
    v1.Search(query="lamp", filters=[LIGHT], max_price=EUR, page_size=20, page_token=b"\x01"),
    v1.SearchResult(offers=[LAMP], next_page_token=b"\x02"),
    v1.Browse(query="lamp", filters=[LIGHT], max_price=EUR, limit=20),
    v1.OfferFound(offer=LAMP, found=1, total=2),
    v1.PublishOffer(
        publication_id="lamp-2/1",
        offer_id="lamp-2",
        title="Lamp",
        description="Gives light in the dark",
        category="lighting",
        price=EUR,
        stock=3,
    ),
    v1.OfferPublished(offer_id="lamp-2", provider_id="lamps.example", published_at_ms=1),
    v1.PlaceOrder(
        order_id="o-1", provider_id="lamps.example", lines=[v1.OrderLine(offer_id="lamp-2", quantity=2, unit_price=EUR)]
    ),
    v1.OrderPlaced(
        order_id="o-1",
        order_number="Y-77",
        total=EUR,
        status=v1.ORDER_STATUS_PLACED,
        creditor_account="FR7630006000011234567890189",
        placed_at_ms=1,
    ),
    v1.CancelOrder(order_id="o-1", reason="Too dark"),
    v1.OrderCancelled(order_id="o-1", order_number="Y-77", status=v1.ORDER_STATUS_CANCELLED, cancelled_at_ms=1),
    v1.AuthorizePayment(
        end_to_end_id="ORDER 1/2026",
        debtor_account="DE89370400440532013000",
        creditor_account="FR7630006000011234567890189",
        amount=EUR,
        order_number="Y-77",
        remittance_text="Two lamps",
    ),
    v1.PaymentAuthorized(
        payment_id="p-1",
        end_to_end_id="ORDER 1/2026",
        status=v1.PAYMENT_STATUS_AUTHORIZED,
        amount=EUR,
        authorized_until_ms=1,
    ),
    v1.CapturePayment(capture_id="c-1", payment_id="p-1", amount=EUR),
    v1.PaymentCaptured(
        payment_id="p-1", capture_id="c-1", status=v1.PAYMENT_STATUS_CAPTURED, amount=EUR, booking_reference="b-1"
    ),
    v1.RefundPayment(refund_id="r-1", payment_id="p-1", amount=EUR, reason="Broken"),
    v1.PaymentRefunded(
        payment_id="p-1", refund_id="r-1", status=v1.PAYMENT_STATUS_REFUNDED, amount=EUR, booking_reference="b-2"
    ),
    v1.RegisterProvider(
        registration_id="r-1",
        legal_name="Lamps SA",
        country="FR",
        subject="lamps",
        payout_account="FR7630006000011234567890189",
        documents=[
            v1.Document(
                kind=v1.DOCUMENT_KIND_REGISTER_EXTRACT, media_type="application/pdf", sha256=bytes(32), size_bytes=9
            )
        ],
    ),
    v1.ProviderRegistered(
        registration_id="r-1",
        provider_id="lamps.example",
        status=v1.PROVIDER_STATUS_ACTIVE,
        limits=v1.ProviderLimits(offers=100, payment=EUR),
    ),
]
"""A payload of each class with every field and one item of every list set."""

PATTERNS: dict[str, tuple[list[str], list[str]]] = {
    "^[A-Z]{3}$": (["EUR", "XXX"], ["", "EU", "EURO", "eur", "EU1", "EUR\n"]),
    "^[A-Z]{2}$": (["FR"], ["", "F", "FRA", "fr", "FR\n"]),
    "^[0-9A-Za-z._:/-]{1,64}$": (["a", "Az.b_c:d/e-09", "x" * 63, "x" * 64], ["", "x" * 65, "a b", "é", "a\n"]),
    "^[0-9A-Za-z._:/-]{0,64}$": (["", "0", "x" * 63, "x" * 64], ["x" * 65, "a b", "a\n", "\0"]),
    "^[0-9A-Za-z._:/-]{1,34}$": (["x", "x" * 33, "x" * 34], ["", "x" * 35, "a b", "é"]),
    "^[0-9A-Za-z/?:().,'+ -]{1,35}$": (["0", "x" * 34, "x" * 35, "/?:().,'+ -"], ["", "x" * 36, "a_b", "é", "a\n"]),
    "^[a-z]{1,32}/[0-9a-z.+-]{1,64}$": (
        ["application/pdf", "image/svg+xml", "a/0", "a" * 32 + "/" + "b" * 64],
        ["", "pdf", "/pdf", "application/", "a" * 33 + "/b", "a/" + "b" * 65, "Application/PDF"],
    ),
}
"""What each pattern takes, and what it refuses."""

AMOUNTS: dict[str, tuple[list[tuple[int, int]], list[tuple[int, int]]]] = {
    "money.sign": ([(1, 1), (1, 0), (0, 1)], [(1, -1), (-1, 1)]),
    "money.not_negative": ([(0, 0), (0, 1), (1, 0)], [(-1, 0), (0, -1), (1, -1)]),
    "money.positive": ([(0, 1), (1, 0)], [(0, 0), (0, -1), (-1, 0)]),
}
"""Units and nanos that keep and that break each rule on amounts."""


Bounds = tuple[Sequence[Any], Sequence[Any]]

BOUNDS: dict[str, Callable[[Any], Bounds]] = {
    "required": lambda _: ([], [None]),
    "string.pattern": lambda bound: PATTERNS[bound],
    "string.min_len": lambda bound: (["x" * bound, "é" * (bound + 1)], ["x" * (bound - 1)]),
    "string.max_len": lambda bound: (["", "x" * (bound - 1), "\U0001f41f" * bound], ["x" * (bound + 1)]),
    "bytes.len": lambda bound: ([bytes(bound)], [bytes(bound - 1), bytes(bound + 1), b""]),
    "bytes.max_len": lambda bound: ([bytes(bound - 1), bytes(bound)], [bytes(bound + 1)]),
    "repeated.min_items": lambda bound: ([bound, bound + 1], [bound - 1]),
    "repeated.max_items": lambda bound: ([0, bound - 1, bound], [bound + 1]),
    "enum.defined_only": lambda _: ([1], [-1, 99]),
    "enum.not_in": lambda bound: ([1], list(bound)),
    "fixed64.gt": lambda bound: ([bound + 1, (1 << 64) - 1], [bound]),
    "uint32.gt": lambda bound: ([bound + 1, (1 << 32) - 1], [bound]),
    "uint32.lte": lambda bound: ([0, bound - 1, bound], [bound + 1]),
    **dict.fromkeys(
        ["uint32.gte_lte", "uint64.gte_lte", "int32.gte_lte", "int64.gte_lte"],
        lambda bound: ([bound[0], bound[0] + 1, bound[1] - 1, bound[1]], [bound[0] - 1, bound[1] + 1]),
    ),
}
"""Values just inside and just outside each rule, from its bound; for lists, their lengths. A new rule needs a row."""


def boundaries(annotation: Annotation) -> Bounds:
    return AMOUNTS[annotation.rule] if annotation.rule in AMOUNTS else BOUNDS[annotation.rule](annotation.bound)


def changed(valid: Message, annotation: Annotation, value: Any) -> Message:
    """A copy of a valid payload with one value that the annotation is about."""
    message = type(valid)()
    message.CopyFrom(valid)
    owner, name, index = resolve(message, annotation.path)
    if annotation.rule == "required":
        owner.ClearField(name)
    elif annotation.rule in AMOUNTS:
        money = getattr(owner, name)
        money.units, money.nanos = value
    elif annotation.rule in {"repeated.min_items", "repeated.max_items"}:
        items = getattr(owner, name)
        first = items[0]
        del items[:]
        items.extend([first] * value)
    elif index is not None:
        getattr(owner, name)[index] = value
    else:
        setattr(owner, name, value)
    return message


def found(message: Message) -> Found:
    return {(violation.field, violation.rule) for violation in check(message)}


def rules() -> Iterator[Any]:
    for valid in VALID:
        for annotation in annotated_rules(valid.DESCRIPTOR.full_name):
            yield pytest.param(valid, annotation, id=f"{valid.DESCRIPTOR.name}-{annotation.path}-{annotation.rule}")


def test_there_is_a_valid_payload_of_every_class_that_a_kind_uses() -> None:
    used = {cls for kind in STANDARD_KINDS for cls in (kind.request, kind.response)}
    assert used == CHECKS.keys() == {type(message) for message in VALID}


@pytest.mark.parametrize("message", VALID, ids=lambda message: message.DESCRIPTOR.name)
def test_a_valid_payload_passes(message: Message) -> None:
    assert check(message) == ()
    assert judged(message) == set()


@pytest.mark.parametrize(("valid", "annotation"), list(rules()))
def test_an_annotated_rule_holds_inside_its_bound_and_names_itself_outside(
    valid: Message, annotation: Annotation
) -> None:
    inside, outside = boundaries(annotation)
    assert outside, "every rule has a failing case"
    for value in inside:
        message = changed(valid, annotation, value)
        assert (annotation.path, annotation.rule) not in found(message), value
        assert found(message) == judged(message), value
    for value in outside:
        message = changed(valid, annotation, value)
        assert (annotation.path, annotation.rule) in found(message), value
        assert found(message) == judged(message), value
        assert all(violation.description for violation in check(message))


@pytest.mark.parametrize("valid", VALID, ids=lambda message: message.DESCRIPTOR.name)
def test_every_field_that_could_grow_is_bounded(valid: Message) -> None:
    """No string, bytes or list without an annotation, at any depth."""
    annotated = {annotation.path for annotation in annotated_rules(valid.DESCRIPTOR.full_name)}

    def unbounded(message: Message, prefix: str) -> Iterator[str]:
        for field, value in message.ListFields():
            path = prefix + field.name
            if (field.is_repeated or field.type in {field.TYPE_STRING, field.TYPE_BYTES}) and path not in annotated:
                yield path
            if field.message_type is not None:
                inner, at = (value[0], f"{path}[0].") if field.is_repeated else (value, f"{path}.")
                yield from unbounded(inner, at)

    assert len(valid.ListFields()) >= len(valid.DESCRIPTOR.fields) - 1, "VALID sets every field but one flag"
    assert list(unbounded(valid, "")) == []


@pytest.mark.parametrize("valid", VALID, ids=lambda message: message.DESCRIPTOR.name)
def test_the_largest_valid_payload_is_below_64_kib(valid: Message) -> None:
    message = type(valid)()
    message.CopyFrom(valid)
    order = sorted(annotated_rules(valid.DESCRIPTOR.full_name), key=lambda annotation: -annotation.path.count("["))
    grown = sorted(order, key=lambda annotation: annotation.rule == "repeated.max_items")
    for annotation in grown:
        inside, _ = boundaries(annotation)
        if annotation.rule not in AMOUNTS and inside:
            message = changed(message, annotation, max(inside, key=lambda value: (_size(value), str(value))))
    assert check(message) == ()
    assert message.ByteSize() < 64 * 1024


def _size(value: Any) -> int:
    return len(value.encode()) if isinstance(value, str) else len(value) if isinstance(value, bytes) else int(value)


@pytest.mark.parametrize("pair", [pair for inside, outside in AMOUNTS.values() for pair in [*inside, *outside]])
@pytest.mark.parametrize("kind", [v1.CapturePayment, v1.Search])
def test_rules_on_amounts_add_up_with_those_on_currencies(kind: type[Message], pair: tuple[int, int]) -> None:
    units, nanos = pair
    money = v1.Money(currency="eur", units=units, nanos=nanos)
    message = (
        v1.CapturePayment(capture_id="c-1", payment_id="p-1", amount=money)
        if kind is v1.CapturePayment
        else v1.Search(max_price=money)
    )
    assert any(rule == "string.pattern" for _, rule in found(message))
    assert found(message) == judged(message)


def test_violations_name_items_by_index() -> None:
    good = v1.OrderLine(offer_id="lamp-2", quantity=2, unit_price=EUR)
    bad = v1.OrderLine(offer_id="lamp-2", quantity=0, unit_price=v1.Money(currency="eur", units=1))
    order = v1.PlaceOrder(order_id="o-1", provider_id="p", lines=[good, good, bad])
    assert found(order) == {
        ("lines[2].quantity", "uint32.gte_lte"),
        ("lines[2].unit_price.currency", "string.pattern"),
    }


def test_a_payload_without_rules_here_passes() -> None:
    assert check(v1.Ping()) == ()


def test_unset_optional_messages_pass() -> None:
    assert check(v1.Search()) == ()
    assert check(v1.Browse()) == ()


@st.composite
def nearly_valid(draw: st.DrawFn) -> Message:
    """A valid payload with up to four values moved to or over a bound of some rule, or replaced by anything."""
    valid = draw(st.sampled_from(VALID))
    message: Message = valid
    known = list(annotated_rules(valid.DESCRIPTOR.full_name))
    for annotation in draw(st.lists(st.sampled_from(known), max_size=4, unique=True)):
        inside, outside = boundaries(annotation)
        values = st.sampled_from([*inside, *outside])
        if annotation.rule in {"string.pattern", "string.max_len", "string.min_len"}:
            values |= st.text(max_size=80)
        try:
            message = changed(message, annotation, draw(values))
        except IndexError:
            continue  # an earlier change emptied the list that this one is in
    return message


@settings(max_examples=400)
@given(nearly_valid())
def test_protovalidate_agrees(message: Message) -> None:
    assert found(message) == judged(message)
