"""The annotated rules of our payloads, checked in about a microsecond.

The rules stand in ``proto/ratatoskr/v1`` as ``buf.validate`` annotations. They are repeated here by hand, because the
core depends on protobuf alone and a general validator costs more than the rest of receiving a message. Tests hold the
two together: for every annotated rule there is a failing case, and protovalidate agrees on random payloads.

Each rule is a :class:`_Check` of two halves. ``holds`` is the hot path: one quick answer, mostly computed in C.
``violations`` runs only after ``holds`` said no, and names every field and rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter, call
from typing import Any, cast

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.errors import FieldViolation
from ratatoskr.messages.envelopes import MAX_VIOLATIONS


@dataclass(frozen=True, slots=True)
class _Check:
    """A rule, or all the rules of a value. Paths in ``violations`` begin at the value; "" is the value itself."""

    holds: Callable[[Any], object]
    violations: Callable[[Any], Iterator[FieldViolation]]


# Its own type is too general for a type checker to fit into map().
_apply = cast("Callable[[Callable[[Any], object], Any], object]", call)


def _at(path: str, violations: Iterator[FieldViolation]) -> Iterator[FieldViolation]:
    """The same violations, seen from what holds the value at ``path``: a field's name, or an index such as ``[2]``."""
    for violation in violations:
        inner = violation.field
        dot = "." if inner and not inner.startswith("[") else ""
        yield FieldViolation(f"{path}{dot}{inner}", violation.rule, violation.description)


def _pattern(expression: str, description: str) -> _Check:
    """A string that matches as a whole."""
    holds = re.compile(expression).fullmatch

    def violations(value: str) -> Iterator[FieldViolation]:
        if not holds(value):
            yield FieldViolation("", "string.pattern", f"must be {description}")

    return _Check(holds, violations)


def _text(shortest: int, longest: int) -> _Check:
    """A string of so many characters."""

    def violations(value: str) -> Iterator[FieldViolation]:
        if len(value) < shortest:
            yield FieldViolation("", "string.min_len", f"must have at least {shortest} characters")
        if len(value) > longest:
            yield FieldViolation("", "string.max_len", f"must have at most {longest} characters")

    return _Check(lambda value: shortest <= len(value) <= longest, violations)


def _bytes(rule: str, lengths: range) -> _Check:
    """Bytes of one of these lengths; ``rule`` is ``len`` or ``max_len``."""

    def violations(value: bytes) -> Iterator[FieldViolation]:
        if len(value) not in lengths:
            least = "exactly" if rule == "len" else "at most"
            yield FieldViolation("", f"bytes.{rule}", f"must have {least} {lengths[-1]} bytes")

    return _Check(lambda value: len(value) in lengths, violations)


def _number(rule: str, values: range) -> _Check:
    """An integer out of a range; ``rule`` is the id of its bounds."""
    holds = values.__contains__

    def violations(value: int) -> Iterator[FieldViolation]:
        if not holds(value):
            yield FieldViolation("", rule, f"must be from {values[0]} to {values[-1]}")

    return _Check(holds, violations)


def _enum(enum: EnumDescriptor) -> _Check:
    """A known value other than zero."""
    known = frozenset(enum.values_by_number)
    holds = (known - {0}).__contains__

    def violations(value: int) -> Iterator[FieldViolation]:
        if value not in known:
            yield FieldViolation("", "enum.defined_only", f"{value} is no {enum.name}")
        if value == 0:
            yield FieldViolation("", "enum.not_in", "must be set")

    return _Check(holds, violations)


def _each(item: _Check, fewest: int, most: int) -> _Check:
    """So many items, each of which keeps its rules."""
    item_holds = item.holds

    def violations(items: list[Any]) -> Iterator[FieldViolation]:
        if len(items) < fewest:
            yield FieldViolation("", "repeated.min_items", f"must have at least {fewest} items")
        if len(items) > most:
            yield FieldViolation("", "repeated.max_items", f"must have at most {most} items")
        for index, value in enumerate(items):
            yield from _at(f"[{index}]", item.violations(value))

    return _Check(lambda items: fewest <= len(items) <= most and all(map(item_holds, items)), violations)


def _message(message: type[Message], /, optional: dict[str, _Check] | None = None, **checks: _Check) -> _Check:
    """A message whose fields keep their rules.

    ``checks`` are of fields that must be set where they are messages; their rules refuse an unset message, so that
    the hot path need not ask whether it is there. ``optional`` are of messages that may be unset.
    """
    fields = message.DESCRIPTOR.fields_by_name
    assert len(checks) > 1, "attrgetter answers with a tuple from two names on"
    values = attrgetter(*checks)
    tests = tuple(check.holds for check in checks.values())
    may_be_unset = tuple((optional or {}).items())
    nested = [name for name in checks if fields[name].message_type is not None and not fields[name].is_repeated]

    def holds(value: Message) -> bool:
        return all(map(_apply, tests, values(value)))

    def holds_with_optional(value: Message) -> bool:
        for name, check in may_be_unset:
            if value.HasField(name) and not check.holds(getattr(value, name)):
                return False
        return all(map(_apply, tests, values(value)))

    def violations(value: Message) -> Iterator[FieldViolation]:
        for name, check in checks.items():
            if name in nested and not value.HasField(name):
                yield FieldViolation(name, "required", "must be set")
            else:
                yield from _at(name, check.violations(getattr(value, name)))
        for name, check in may_be_unset:
            if value.HasField(name):
                yield from _at(name, check.violations(getattr(value, name)))

    return _Check(holds_with_optional if may_be_unset else holds, violations)


_UNITS = range(-(10**15), 10**15 + 1)
_NANOS = range(-999_999_999, 1_000_000_000)
_CURRENCY = _pattern("[A-Z]{3}", "an ISO 4217 code: three upper-case letters")
_MONEY = _message(
    v1.Money, currency=_CURRENCY, units=_number("int64.gte_lte", _UNITS), nanos=_number("int32.gte_lte", _NANOS)
)


def _amount(*, zero: bool) -> _Check:
    """Money that is not negative, or above zero."""
    is_currency, most_units, most_nanos = _CURRENCY.holds, _UNITS[-1], _NANOS[-1]

    def holds(money: v1.Money) -> object:
        units, nanos = money.units, money.nanos
        return (
            0 <= units <= most_units
            and 0 <= nanos <= most_nanos
            and (zero or units or nanos)
            and is_currency(money.currency)
        )

    def violations(money: v1.Money) -> Iterator[FieldViolation]:
        yield from _MONEY.violations(money)
        units, nanos = money.units, money.nanos
        if units and nanos and (units > 0) != (nanos > 0):
            yield FieldViolation("", "money.sign", "units and nanos must have the same sign")
        if zero and (units < 0 or nanos < 0):
            yield FieldViolation("", "money.not_negative", "must not be negative")
        if not zero and (units < 0 or (units == 0 and nanos <= 0)):
            yield FieldViolation("", "money.positive", "must be above zero")

    return _Check(holds, violations)


_CHARACTERS = "letters, digits and . _ : / -"
_ID = _pattern("[0-9A-Za-z._:/-]{1,64}", f"1 to 64 {_CHARACTERS}")
_OPTIONAL_ID = _pattern("[0-9A-Za-z._:/-]{0,64}", f"at most 64 {_CHARACTERS}")
_ACCOUNT = _pattern("[0-9A-Za-z._:/-]{1,34}", f"1 to 34 {_CHARACTERS}")
_END_TO_END_ID = _pattern("[0-9A-Za-z/?:().,'+ -]{1,35}", "1 to 35 letters, digits, spaces and / ? : ( ) . , ' + -")
_PRICE = _amount(zero=True)
_PAID = _amount(zero=False)
_NOTE = _text(0, 140)
_TITLE = _text(1, 80)
_STOCK = _number("uint32.lte", range(1_000_001))
_ORDINAL = _number("uint32.gt", range(1, 1 << 32))
_PAGE_TOKEN = _bytes("max_len", range(129))
_TIME = _number("fixed64.gt", range(1, 1 << 64))
_ORDER_STATUS = _enum(v1.OrderStatus.DESCRIPTOR)
_PAYMENT_STATUS = _enum(v1.PaymentStatus.DESCRIPTOR)

_QUERY = _text(0, 256)
_SEARCH_FILTER = _message(v1.SearchFilter, field=_enum(v1.FilterField.DESCRIPTOR), values=_each(_text(1, 64), 1, 8))
_FILTERS = _each(_SEARCH_FILTER, 0, 8)
_OFFER = _message(
    v1.Offer,
    offer_id=_ID,
    provider_id=_ID,
    title=_TITLE,
    summary=_NOTE,
    category=_OPTIONAL_ID,
    price=_PRICE,
    stock=_STOCK,
)
_ORDER_LINE = _message(
    v1.OrderLine, offer_id=_ID, quantity=_number("uint32.gte_lte", range(1, 10_001)), unit_price=_PRICE
)
_DOCUMENT = _message(
    v1.Document,
    kind=_enum(v1.DocumentKind.DESCRIPTOR),
    media_type=_pattern("[a-z]{1,32}/[0-9a-z.+-]{1,64}", 'a media type such as "application/pdf"'),
    sha256=_bytes("len", range(32, 33)),
    size_bytes=_number("uint64.gte_lte", range(1, (64 << 20) + 1)),
)
_PROVIDER_LIMITS = _message(v1.ProviderLimits, offers=_number("uint32.gte_lte", range(1, 1_000_001)), payment=_PAID)

_PAYLOADS: dict[type[Message], _Check] = {
    v1.Search: _message(
        v1.Search,
        query=_QUERY,
        filters=_FILTERS,
        page_size=_number("uint32.lte", range(51)),
        page_token=_PAGE_TOKEN,
        optional={"max_price": _PRICE},
    ),
    v1.SearchResult: _message(v1.SearchResult, offers=_each(_OFFER, 0, 50), next_page_token=_PAGE_TOKEN),
    v1.Browse: _message(
        v1.Browse,
        query=_QUERY,
        filters=_FILTERS,
        limit=_number("uint32.lte", range(10_001)),
        optional={"max_price": _PRICE},
    ),
    v1.OfferFound: _message(v1.OfferFound, offer=_OFFER, found=_ORDINAL, total=_ORDINAL),
    v1.PublishOffer: _message(
        v1.PublishOffer,
        publication_id=_ID,
        offer_id=_ID,
        title=_TITLE,
        description=_text(0, 4000),
        category=_OPTIONAL_ID,
        price=_PRICE,
        stock=_STOCK,
    ),
    v1.OfferPublished: _message(v1.OfferPublished, offer_id=_ID, provider_id=_ID, published_at_ms=_TIME),
    v1.PlaceOrder: _message(v1.PlaceOrder, order_id=_ID, provider_id=_ID, lines=_each(_ORDER_LINE, 1, 100)),
    v1.OrderPlaced: _message(
        v1.OrderPlaced,
        order_id=_ID,
        order_number=_ID,
        total=_PRICE,
        status=_ORDER_STATUS,
        creditor_account=_ACCOUNT,
        placed_at_ms=_TIME,
    ),
    v1.CancelOrder: _message(v1.CancelOrder, order_id=_ID, reason=_NOTE),
    v1.OrderCancelled: _message(
        v1.OrderCancelled, order_id=_ID, order_number=_ID, status=_ORDER_STATUS, cancelled_at_ms=_TIME
    ),
    v1.AuthorizePayment: _message(
        v1.AuthorizePayment,
        end_to_end_id=_END_TO_END_ID,
        debtor_account=_ACCOUNT,
        creditor_account=_ACCOUNT,
        amount=_PAID,
        order_number=_OPTIONAL_ID,
        remittance_text=_NOTE,
    ),
    v1.PaymentAuthorized: _message(
        v1.PaymentAuthorized,
        payment_id=_ID,
        end_to_end_id=_END_TO_END_ID,
        status=_PAYMENT_STATUS,
        amount=_PAID,
        authorized_until_ms=_TIME,
    ),
    v1.CapturePayment: _message(v1.CapturePayment, capture_id=_ID, payment_id=_ID, amount=_PAID),
    v1.PaymentCaptured: _message(
        v1.PaymentCaptured,
        payment_id=_ID,
        capture_id=_ID,
        status=_PAYMENT_STATUS,
        amount=_PAID,
        booking_reference=_ID,
    ),
    v1.RefundPayment: _message(v1.RefundPayment, refund_id=_ID, payment_id=_ID, amount=_PAID, reason=_NOTE),
    v1.PaymentRefunded: _message(
        v1.PaymentRefunded,
        payment_id=_ID,
        refund_id=_ID,
        status=_PAYMENT_STATUS,
        amount=_PAID,
        booking_reference=_ID,
    ),
    v1.RegisterProvider: _message(
        v1.RegisterProvider,
        registration_id=_ID,
        legal_name=_text(1, 140),
        country=_pattern("[A-Z]{2}", "an ISO 3166-1 code: two upper-case letters"),
        subject=_text(1, 64),
        payout_account=_ACCOUNT,
        documents=_each(_DOCUMENT, 1, 16),
    ),
    v1.ProviderRegistered: _message(
        v1.ProviderRegistered,
        registration_id=_ID,
        provider_id=_ID,
        status=_enum(v1.ProviderStatus.DESCRIPTOR),
        optional={"limits": _PROVIDER_LIMITS},
    ),
}


def _entry(rules: _Check) -> Callable[[Message], tuple[FieldViolation, ...]]:
    holds, violations = rules.holds, rules.violations
    return lambda message: () if holds(message) else tuple(islice(violations(message), MAX_VIOLATIONS))


CHECKS: dict[type[Message], Callable[[Message], tuple[FieldViolation, ...]]] = {
    message: _entry(rules) for message, rules in _PAYLOADS.items()
}
"""The check of each payload class of the standard kinds. It names the first MAX_VIOLATIONS broken rules: a payload can
break thousands, and to name them all costs far more than to parse it.
"""


def check(message: Message) -> tuple[FieldViolation, ...]:
    """Every rule that a payload breaks, in the order of the rules; empty for a valid one, or one without rules here.

    Paths are in Protobuf's dotted form, such as ``lines[2].unit_price.currency``. Rule ids are those of buf.validate,
    or of the expression in the .proto file.
    """
    rules = _PAYLOADS.get(type(message))
    return () if rules is None or rules.holds(message) else tuple(rules.violations(message))
