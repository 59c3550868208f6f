"""envelopes.json: encodings that are canonical, that are not, and that do not parse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError, Message

from ratatoskr import v1
from ratatoskr.messages.canonical import is_canonical
from ratatoskr.messages.envelopes import request_envelope, response_envelope
from tests.vectors.cast import NOW_MS, secret

PAYMENT = v1.AuthorizePayment(
    end_to_end_id="order-17",
    debtor_account="buyer-1",
    creditor_account="shop-7",
    amount=v1.Money(currency="EUR", units=129, nanos=500_000_000),
    remittance_text="caf\u00e9 \u2615",
)
REQUEST = v1.RatatoskrRequest(
    type=v1.MESSAGE_TYPE_PAYMENT_REQUEST,
    operation=1,
    nonce=secret("a nonce", 16),
    issued_at_ms=NOW_MS,
    payload=PAYMENT.SerializeToString(deterministic=True),
    metadata=[v1.MetadataEntry(name="shop", value="caf\u00e9")],
)
RESPONSE = v1.RatatoskrResponse(
    request_number=300,
    request_leaf=secret("a leaf"),
    type=v1.MESSAGE_TYPE_PAYMENT_REQUEST,
    operation=1,
    last=True,
    error=v1.Error(
        code=9,
        reason="INSUFFICIENT_FUNDS",
        message="the account holds less",
        disposition=v1.DISPOSITION_FAILED,
        violations=[v1.FieldViolation(field="amount.units", rule="int64.lte", description="must be less")],
    ),
)


def values() -> Iterator[tuple[str, Message]]:
    """Messages whose canonical encoding is asked for."""
    yield "a payment", PAYMENT
    yield "a request", REQUEST
    yield "a response with an error", RESPONSE
    yield "a response with an empty payload", v1.RatatoskrResponse(request_number=1, last=True, payload=b"")
    yield "the end of a stream", v1.RatatoskrResponse(request_number=1, index=3, last=True)
    yield "an amount below zero", v1.Money(currency="USD", units=-1, nanos=-750_000_000)
    yield "the greatest numbers", v1.Money(units=2**63 - 1, nanos=-(2**31))
    yield "packed numbers", v1.ConnectionRequest(suites=[1, 0x11, 0x1234], versions=[1])
    yield "an empty message inside", v1.ConnectionRequest(limits=v1.SessionLimits())
    yield "an unknown value of an enumeration", v1.RatatoskrResponse(type=5000)  # type: ignore[arg-type]
    yield "nothing", v1.RatatoskrRequest()
    yield "a flight", v1.Flight(first_number=1, envelopes=[b"\1"], hops=[v1.Hop(timeout_ms=1)], ack=2**64 - 1)


ENCODINGS: tuple[tuple[str, type[Message], str], ...] = (
    ("a default that is written", v1.RatatoskrResponse, "0800"),
    ("a fixed number of zero that is written", v1.RatatoskrRequest, "210000000000000000"),
    ("an empty list that is written", v1.ConnectionRequest, "1200"),
    ("a value longer than it need be", v1.RatatoskrResponse, "088100"),
    ("a tag longer than it need be", v1.RatatoskrResponse, "880001"),
    ("a length longer than it need be", v1.Money, "0a830045555 2".replace(" ", "")),
    ("fields in another order", v1.RatatoskrResponse, "30012801"),
    ("a field that comes twice", v1.RatatoskrResponse, "08010802"),
    ("two members of a oneof", v1.RatatoskrResponse, "42004a00"),
    ("a list that is not packed", v1.ConnectionRequest, "10011002"),
    ("a packed list in two parts", v1.ConnectionRequest, "120101120102"),
    ("a message inside that comes twice", v1.ConnectionRequest, "2a0208012a021001"),
    ("true as 2", v1.RatatoskrResponse, "3002"),
    ("-1 in five bytes", v1.Money, "18ffffffff0f"),
    ("2^32 as a uint32", v1.RatatoskrResponse, "288080808010"),
    ("2^64 as a uint64", v1.RatatoskrResponse, "0880808080808080808002"),
    ("an unknown field", v1.Money, "0a0345555 27801".replace(" ", "")),
    ("an unknown field inside", v1.AuthorizePayment, "2207" + "0a03455552" + "7801"),
    ("an unknown group", v1.Money, "7b7c"),
    ("another wire type", v1.Money, "0801"),
    ("the greatest field number", v1.Money, "f8ffffff0f00"),
    ("an unknown group of the greatest field number", v1.Money, "fbffffff0ffcffffff0f"),
    ("a tag of five bytes", v1.Money, "908080800001"),
    ("a length of five bytes", v1.Money, "0a8380808000455552"),
    ("a value of ten bytes", v1.Money, "1083808080808080808000"),
    ("100 groups within one another", v1.Money, "7b" * 100 + "7c" * 100),
    ("cut inside a tag", v1.Money, "80"),
    ("cut inside a value", v1.Money, "1080"),
    ("cut inside a text", v1.Money, "0a044555"),
    ("cut inside a fixed number", v1.RatatoskrRequest, "2100000000"),
    ("field 0", v1.Money, "0001"),
    ("field 2^29", v1.Money, "808080801000"),
    ("a tag of six bytes", v1.Money, "90808080800001"),
    ("a tag of six bytes in a group", v1.Money, "7b908080808000017c"),
    ("a length of six bytes", v1.Money, "0a838080808000455552"),
    ("101 groups within one another", v1.Money, "7b" * 101 + "7c" * 101),
    ("99 groups within a message", v1.AuthorizePayment, "22c601" + "7b" * 99 + "7c" * 99),
    ("100 groups within a message", v1.AuthorizePayment, "22c801" + "7b" * 100 + "7c" * 100),
    ("wire type 6", v1.Money, "0e00"),
    ("wire type 7", v1.Money, "0f00"),
    ("a group that does not end", v1.Money, "7b"),
    ("the end of a group that did not begin", v1.Money, "7c"),
    ("a varint of eleven bytes", v1.RatatoskrResponse, "08ffffffffffffffffffff01"),
    ("a text that is cut inside a character", v1.Money, "0a02c3a90a01c3"),
    ("a text with half a surrogate pair", v1.Money, "0a03eda080"),
    ("a text with a zero in two bytes", v1.Money, "0a02c080"),
)
"""What is not written so, by the name of the message, in hexadecimal."""


def verdict(cls: type[Message], data: bytes) -> str:
    """What the implementation says."""
    try:
        message = cls.FromString(data)
    except DecodeError:
        return "malformed"
    return "canonical" if is_canonical(message, data) else "not canonical"


def encodings() -> list[dict[str, str]]:
    found = [(what, type(value), value.SerializeToString(deterministic=True)) for what, value in values()]
    found += [(what, cls, bytes.fromhex(data)) for what, cls, data in ENCODINGS]
    return [
        {"what": what, "message": cls.DESCRIPTOR.name, "bytes": data.hex(), "verdict": verdict(cls, data)}
        for what, cls, data in found
    ]


def make() -> dict[str, Any]:
    """envelopes.json"""
    return {
        "about": "Encodings of messages: canonical, not canonical, malformed; and two envelopes.",
        "encodings": encodings(),
        "envelopes": [
            {"what": "a request", "envelope": request_envelope(REQUEST).hex()},
            {"what": "a response", "envelope": response_envelope(RESPONSE).hex()},
        ],
    }
