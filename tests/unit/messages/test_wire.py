"""Counting before parsing: nothing that costs much is let through, and the parser never sees more than was counted."""

from __future__ import annotations

import tracemalloc

import pytest
from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError, Message
from hypothesis import example, given
from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.messages.wire import MAX_DEPTH, UNCHECKED_BYTES, Shape, shape_of
from tests.unit.messages.support import field, varint

FILL = field(99, bytes(UNCHECKED_BYTES))
"""One unknown field that makes any bytes long enough to be walked."""
BIG = 10**6


def exceeds(cls: type[Message], data: bytes, budget: int) -> bool:
    return shape_of(cls).exceeds(data, budget)


COSTS: dict[str, tuple[type[Message], bytes, int]] = {
    "nothing": (v1.Flight, b"", 0),
    "bytes": (v1.Flight, field(2, b"x"), 1),
    "empty bytes": (v1.Flight, field(2, b"") * 5, 5),
    "empty messages": (v1.Flight, field(3, b"") * 5, 5),
    "messages with two numbers": (v1.Flight, field(3, field(1, 300) + field(2, 1)) * 5, 15),
    "a message in a message": (v1.Flight, field(5, field(1, b"\x09" + bytes(8))), 3),
    "eight bytes": (v1.Flight, field(6, b"\x11" + bytes(8) + field(3, bytes(64))), 3),
    "eight bytes, again and again": (v1.Flight, (b"\x91\x06" + bytes(8)) * 5, 5),
    "four bytes, again and again": (v1.Flight, (b"\x95\x06" + bytes(4)) * 5, 5),
    "bytes, unknown": (v1.Flight, field(98, b"\x01" * 50), 1),
    "packed numbers": (v1.ConnectionRequest, field(2, b"\x01" * 50), 51),
    "numbers that could be packed": (v1.ConnectionRequest, field(2, 7) * 50, 50),
    "bytes that could be numbers": (v1.ConnectionRequest, field(4, b"\x01" * 50), 1),
    "empty strings": (v1.SearchFilter, field(2, b"") * 50, 50),
    "three levels": (v1.RatatoskrResponse, field(9, field(6, field(1, b"f")) * 3), 7),
}


@pytest.mark.parametrize(("cls", "data", "cost"), COSTS.values(), ids=COSTS)
def test_every_field_at_every_depth_is_charged(cls: type[Message], data: bytes, cost: int) -> None:
    walked = FILL + data
    assert not exceeds(cls, walked, cost + 1)
    assert exceeds(cls, walked, cost)


def test_short_encodings_are_not_walked() -> None:
    bomb = field(3, b"") * (UNCHECKED_BYTES // 2)
    assert len(bomb) == UNCHECKED_BYTES
    assert not exceeds(v1.Flight, bomb, 0)
    assert exceeds(v1.Flight, bomb + field(4, 1), 100)


def nested(depth: int, fill: bytes = FILL) -> bytes:
    """A google.protobuf.Value of lists in lists: two messages a level, ``depth`` messages in all."""
    data = b""
    for level in range(depth - 1, 0, -1):
        data = field(1, data) if level % 2 == 0 else field(6, data)
    return fill + data


@pytest.mark.parametrize(("depth", "refused"), [(MAX_DEPTH - 1, False), (MAX_DEPTH, False), (MAX_DEPTH + 1, True)])
def test_depth_is_bounded(depth: int, refused: bool) -> None:
    assert exceeds(struct_pb2.Value, nested(depth), BIG) is refused
    struct_pb2.Value.FromString(nested(depth))


@pytest.mark.parametrize("tag", [b"\x0b", b"\x0c", b"\x0e", b"\x0f", b"\x9b\x06"], ids=["start", "end", "6", "7", "99"])
def test_groups_and_unknown_wire_types_are_refused(tag: bytes) -> None:
    assert exceeds(v1.Flight, FILL + tag, BIG)


@pytest.mark.parametrize(
    "tail",
    [
        b"\x80",
        b"\x12",
        b"\x12\x05ab",
        b"\x12\xff",
        b"\x12" + b"\xff" * 12,
        b"\x08" + b"\x80" * 12,
        b"\x11\x00",
        b"\x15\x00",
        b"\x1a\x02\x08",
        field(3, b"\x11\x00") + b"\x08\x01",
    ],
)
def test_what_is_cut_short_ends_the_walk_and_is_left_to_the_parser(tail: bytes) -> None:
    assert not exceeds(v1.Flight, FILL + tail, 10)
    with pytest.raises(DecodeError):
        v1.Flight.FromString(FILL + tail)


BOMBS = {
    "empty submessages": (v1.Flight, field(3, b"") * 500_000),
    "empty submessages of submessages": (v1.Search, field(2, b"") * 500_000),
    "empty strings": (v1.SearchFilter, field(2, b"") * 500_000),
    "packed varints": (v1.ConnectionRequest, field(2, b"\x01" * 1_000_000)),
    "nesting": (struct_pb2.Value, nested(90, field(99, bytes(1_000_000)))),
    "packed varints inside": (v1.Flight, field(3, b"\x08\x01" * 250_000)),
}


@pytest.mark.parametrize(("cls", "bomb"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_and_costs_nothing(cls: type[Message], bomb: bytes) -> None:
    shape_of(cls).exceeds(bomb, 1000)  # shapes are made once
    tracemalloc.start()
    try:
        assert exceeds(cls, bomb, 1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(bomb) // 20


def count_shapes(shape: Shape, seen: set[int] | None = None) -> int:
    """How many shapes hang together."""
    seen = set() if seen is None else seen
    if id(shape) not in seen:
        seen.add(id(shape))
        for each in (shape._nested or {}).values():
            count_shapes(each, seen)
    return len(seen)


def test_a_peer_cannot_make_shapes_grow() -> None:
    """A message class that contains itself has one shape, whatever path through it the bytes take."""
    for path in range(1 << 6):
        data = b""
        for bit in range(6):
            data = field(6, field(1, data)) if path >> bit & 1 else field(5, field(1, field(2, data)))
        exceeds(struct_pb2.Value, FILL + data, BIG)
    assert count_shapes(shape_of(struct_pb2.Value)) <= 4, "Value, Struct, its entry, ListValue"
    assert shape_of(struct_pb2.Value) is shape_of(struct_pb2.Value)


def counted(message: Message) -> int:
    """What a parser made of the bytes: known fields at all depths, list items one by one."""
    total = 0
    for descriptor, value in message.ListFields():
        items = list(value) if descriptor.is_repeated else [value]
        total += len(items)
        if descriptor.message_type is not None:
            total += sum(counted(each) for each in items)
    return total


fields = st.recursive(
    st.binary(max_size=6),
    lambda inner: st.lists(
        st.builds(field, st.integers(1, 12), inner | st.integers(0, 300))
        | st.builds(lambda n, v: varint(n << 3 | 1) + v, st.integers(1, 12), st.binary(min_size=8, max_size=8))
        | st.builds(lambda n, v: varint(n << 3 | 5) + v, st.integers(1, 12), st.binary(min_size=4, max_size=4)),
        max_size=6,
    ).map(b"".join),
)


@given(st.sampled_from([v1.Flight, v1.RatatoskrResponse, v1.ConnectionRequest, v1.Search, struct_pb2.Value]), fields)
@example(v1.Flight, b"\x9a\x80\x00\x00")
@example(v1.Flight, b"\x12\x84\x80\x80\x80\x80\x80\x80\x80\x80\x02abcd" + field(3, b"") * 20)
def test_the_parser_never_makes_more_than_was_counted(cls: type[Message], data: bytes) -> None:
    data += FILL
    try:
        message = cls.FromString(data)
    except DecodeError:
        shape_of(cls).exceeds(data, BIG)
        return
    if counted(message):
        assert exceeds(cls, data, counted(message) - 1)
