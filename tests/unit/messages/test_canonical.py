"""One value, one encoding."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.messages.canonical import is_canonical
from tests.unit.messages.support import field, payment, search, varint

CANONICAL: list[Message] = [
    payment(),
    search(),
    v1.SearchFilter(values=["b", "a", ""]),
    v1.ConnectionRequest(suites=[1]),
]

NOT_CANONICAL: dict[str, tuple[type[Message], bytes]] = {
    "an unknown field": (v1.Hop, field(1, 5) + field(99, 0)),
    "an unknown field inside": (v1.Search, field(3, field(1, b"EUR") + field(99, b"x"))),
    "an unknown field of length zero": (v1.Hop, field(99, b"")),
    "an explicit default": (v1.Hop, field(1, 0)),
    "an explicit empty string": (v1.Hop, field(4, b"")),
    "a non-minimal varint": (v1.Hop, b"\x08\x85\x00"),
    "a non-minimal length": (v1.Hop, b"\x22\x81\x00a"),
    "a non-minimal tag": (v1.Hop, b"\x88\x00\x05"),
    "fields in another order": (v1.Hop, field(2, 5) + field(1, 5)),
    "a scalar twice": (v1.Hop, field(1, 5) + field(1, 5)),
    "a message in two pieces": (v1.Search, field(3, field(1, b"EUR")) + field(3, field(2, 5))),
    "a packed list unpacked": (v1.ConnectionRequest, field(2, 1) + field(2, 2)),
    "a packed list in two pieces": (v1.ConnectionRequest, field(2, b"\x01") + field(2, b"\x02")),
    "two members of a oneof": (v1.Control, field(1, b"") + field(2, b"")),
    "a boolean of two": (v1.RatatoskrResponse, field(6, 2)),
    "an enum beyond 32 bits": (v1.RatatoskrRequest, varint(1 << 3) + varint((1 << 40) + 10)),
    "a group": (v1.Hop, field(1, 5) + b"\x9b\x06\x9c\x06"),
}


@pytest.mark.parametrize("message", CANONICAL, ids=lambda message: type(message).__name__)
def test_what_a_serializer_writes_is_canonical(message: Message) -> None:
    data = message.SerializeToString(deterministic=True)
    assert is_canonical(type(message).FromString(data), data)


@pytest.mark.parametrize(("cls", "data"), NOT_CANONICAL.values(), ids=NOT_CANONICAL)
def test_any_other_encoding_is_not(cls: type[Message], data: bytes) -> None:
    message = cls.FromString(data)
    assert not is_canonical(message, data)
    clean = message.SerializeToString(deterministic=True)
    assert is_canonical(cls.FromString(clean), clean), "unknown fields are dropped on the way"
