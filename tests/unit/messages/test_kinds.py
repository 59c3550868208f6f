"""Kinds, their business keys, and the registry."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import empty_pb2, struct_pb2, wrappers_pb2
from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.errors import LocalProtocolError
from ratatoskr.messages import CUSTOM_TYPES_FROM, AnyKind, Kind, KindRegistry, MessageType
from ratatoskr.messages.standard import (
    MARKETPLACE_BROWSE,
    MARKETPLACE_SEARCH,
    PAYMENT_AUTHORIZE,
    STANDARD_KINDS,
)


def kind(type: int = 1001, operation: int = 2, name: str = "acme.Redeem", **changes: Any) -> AnyKind:
    return Kind(type, operation, name, changes.pop("request", v1.CancelOrder), v1.OrderCancelled, **changes)


def test_message_types_are_those_of_the_schema() -> None:
    schema = {
        value.name.removeprefix("MESSAGE_TYPE_"): value.number
        for value in v1.MessageType.DESCRIPTOR.values
        if value.number
    }
    assert {each.name: each.value for each in MessageType} == schema
    assert max(MessageType) < CUSTOM_TYPES_FROM


def test_kinds_are_sealed_unless_they_say_otherwise() -> None:
    assert kind().sealed
    assert not kind().once
    assert not kind().stream
    assert str(kind()) == "acme.Redeem (1001/2)"


def test_of_the_standard_kinds_those_that_look_for_offers_alone_are_deferred_and_may_repeat() -> None:
    assert [each for each in STANDARD_KINDS if not each.sealed] == [MARKETPLACE_SEARCH, MARKETPLACE_BROWSE]
    assert [each for each in STANDARD_KINDS if not each.once] == [MARKETPLACE_SEARCH, MARKETPLACE_BROWSE]
    assert [each for each in STANDARD_KINDS if each.stream] == [MARKETPLACE_BROWSE]
    assert len(STANDARD_KINDS) == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": 0}, "type must be"),
        ({"type": -1}, "type must be"),
        ({"type": 1 << 31}, "type must be"),
        ({"operation": 0}, "operation from 1"),
        ({"operation": 1 << 32}, "operation from 1"),
        ({"type": 1}, "belong to the protocol"),
        ({"type": 2}, "belong to the protocol"),
        ({"type": 13}, "belong to the protocol"),
        ({"type": 999}, "belong to the protocol"),
        ({"once": True, "sealed": False}, "must be sealed"),
        ({"once": "order_id", "sealed": False}, "must be sealed"),
        ({"once": True, "stream": True}, "at most once has one answer, not a stream"),
        ({"once": "order_id", "stream": True}, "at most once has one answer, not a stream"),
        ({"once": "no_such"}, "CancelOrder has no field 'no_such'"),
        ({"once": "amount", "request": v1.AuthorizePayment}, "neither text, bytes nor an integer"),
        ({"once": "lines", "request": v1.PlaceOrder}, "neither text, bytes nor an integer"),
        ({"once": "values", "request": v1.SearchFilter}, "neither text, bytes nor an integer"),
        ({"once": "value", "request": wrappers_pb2.DoubleValue}, "neither text, bytes nor an integer"),
        ({"once": "value", "request": wrappers_pb2.BoolValue}, "neither text, bytes nor an integer"),
        ({"once": "kind", "request": v1.Document}, "neither text, bytes nor an integer"),
    ],
)
def test_a_kind_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LocalProtocolError, match=message):
        kind(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": 1000},
        {"type": (1 << 31) - 1},
        {"operation": 1},
        {"operation": (1 << 32) - 1},
        {"type": 12, "operation": 9},
    ],
)
def test_a_kind_at_the_edge_is_accepted(changes: dict[str, Any]) -> None:
    made = kind(**changes)
    assert made in KindRegistry([made])


@pytest.mark.parametrize(
    ("request_class", "once", "value", "key"),
    [
        (v1.CancelOrder, "order_id", "ä-1", "ä-1".encode()),
        (wrappers_pb2.BytesValue, "value", b"\x00\xff", b"\x00\xff"),
        (wrappers_pb2.UInt64Value, "value", 77, b"77"),
        (wrappers_pb2.Int32Value, "value", -5, b"-5"),
    ],
)
def test_the_business_key_comes_from_the_field(request_class: type[Message], once: str, value: Any, key: bytes) -> None:
    redeem = kind(request=request_class, once=once)
    assert redeem.business_key(request_class(**{once: value})) == key
    assert redeem.key_in(request_class(**{once: value})) == key
    assert redeem.key_in(request_class()) is None
    with pytest.raises(LocalProtocolError, match=f"runs at most once and needs a key: set {once} in the message"):
        redeem.business_key(request_class())
    for given in ("other", b"other", "", b""):
        with pytest.raises(LocalProtocolError, match=f"takes its key from the field {once}; leave key= out"):
            redeem.business_key(request_class(**{once: value}), given)


def test_the_business_key_is_passed() -> None:
    redeem = kind(once=True)
    assert redeem.business_key(v1.CancelOrder(), "r-ä") == "r-ä".encode()
    assert redeem.business_key(v1.CancelOrder(), b"r-1") == b"r-1"
    assert redeem.key_in(v1.CancelOrder(order_id="o")) is None
    for missing in (None, "", b""):
        with pytest.raises(LocalProtocolError, match=r'needs a key: set once="field" or pass key='):
            redeem.business_key(v1.CancelOrder(order_id="o"), missing)


def test_a_kind_that_may_repeat_needs_no_key_and_takes_one() -> None:
    assert kind().business_key(v1.CancelOrder()) is None
    assert kind().business_key(v1.CancelOrder(), "") is None
    assert kind().business_key(v1.CancelOrder(), "again") == b"again"


@pytest.mark.parametrize("sealed", [True, False])
def test_a_stream_may_be_sealed_or_deferred_and_takes_a_key(sealed: bool) -> None:
    streamed = kind(sealed=sealed, stream=True)
    assert (streamed.sealed, streamed.stream) == (sealed, True)
    assert streamed.business_key(v1.CancelOrder()) is None
    assert streamed.business_key(v1.CancelOrder(), "again") == b"again"


def test_a_registry_finds_kinds() -> None:
    redeem = kind()
    registry = STANDARD_KINDS | [redeem]
    assert len(registry) == len(STANDARD_KINDS) + 1 == len(list(registry))
    assert registry.get(1001, 2) is redeem
    assert registry.get(1001, 3) is None
    assert redeem in registry
    assert redeem not in STANDARD_KINDS
    assert kind(sealed=False) not in registry, "the same place, another policy"
    assert kind(stream=True) not in registry, "the same place, another number of answers"
    assert "acme.Redeem" not in registry
    assert len(KindRegistry()) == 0


@pytest.mark.parametrize("name", ["acme.Redeem", "ACME.REDEEM", "acme.redeem", "Acme.redeem"])
def test_a_registry_finds_names_in_any_letter_case(name: str) -> None:
    redeem = kind()
    assert (STANDARD_KINDS | [redeem]).by_name(name) is redeem
    assert STANDARD_KINDS.by_name("payment_authorize") is PAYMENT_AUTHORIZE


def test_a_name_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(LocalProtocolError, match=r"no kind 'REDEEM'; there are: A, b"):
        KindRegistry([kind(name="b"), kind(operation=3, name="A")]).by_name("REDEEM")


@pytest.mark.parametrize(
    "other",
    [kind(name="acme.Other"), kind(sealed=False), kind(once=True), kind(stream=True), kind(request=empty_pb2.Empty)],
)
def test_two_kinds_in_one_place_are_refused(other: AnyKind) -> None:
    with pytest.raises(LocalProtocolError, match="have the same type and operation"):
        KindRegistry([kind(), other])
    with pytest.raises(LocalProtocolError, match="have the same type and operation"):
        KindRegistry([kind()]) | [other]


def test_two_kinds_of_one_name_are_refused() -> None:
    with pytest.raises(LocalProtocolError, match="have the same name"):
        KindRegistry([kind(), kind(operation=3, name="Acme.Redeem")])


def test_the_same_kind_twice_is_one() -> None:
    assert len(KindRegistry([kind(), kind()])) == 1
    assert len(STANDARD_KINDS | STANDARD_KINDS) == len(STANDARD_KINDS)


def test_a_kind_may_use_any_message_class() -> None:
    assert kind(request=struct_pb2.Struct).request is struct_pb2.Struct
