"""Counting on the wire, before parsing.

A Protobuf parser turns a megabyte of empty submessages into fifty. So bytes above a small size are walked first:
every field, at every depth, is charged against a budget, and nesting against another. Bytes that the parser will
refuse may pass here; bytes that would cost too much may not.
"""

from __future__ import annotations

from functools import cache
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

UNCHECKED_BYTES = 4096
"""Shorter encodings cannot cost much, and are not walked."""
MAX_DEPTH = 16
"""Messages within messages."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_PACKABLE = frozenset({FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_MESSAGE})


class Shape:
    """Which fields of a message hold messages, and which hold packed numbers."""

    __slots__ = ("_descriptor", "_nested", "_packed")

    def __init__(self, descriptor: Descriptor) -> None:
        self._descriptor = descriptor
        self._nested: dict[int, Shape] | None = None
        self._packed: frozenset[int] = frozenset()

    def exceeds(self, data: bytes, budget: int) -> bool:
        """Whether ``data`` holds more than ``budget`` fields or nests deeper than MAX_DEPTH."""
        return len(data) > UNCHECKED_BYTES and self.left(data, 0, len(data), budget, MAX_DEPTH) < 0

    def _children(self) -> dict[int, Shape]:
        """Shapes by field number; found at the first use, since messages may contain themselves."""
        if self._nested is None:
            fields = self._descriptor.fields
            self._packed = frozenset(f.number for f in fields if f.is_repeated and f.type not in _PACKABLE)
            self._nested = {f.number: _shape(f.message_type) for f in fields if f.message_type is not None}
        return self._nested

    def left(self, data: bytes, at: int, end: int, budget: int, depth: int) -> int:
        """What is left of the budget after ``data[at:end]``; negative when it did not suffice."""
        if depth == 0:
            return -1
        nested = self._children()
        packed = self._packed
        while at < end:
            budget -= 1
            if budget < 0:
                return -1
            tag = data[at]
            at += 1
            if tag > 127:
                tag, at = _varint(data, at - 1, end)
            wire_type = tag & 7
            if wire_type == _BYTES:
                length, at = _varint(data, at, end)
                if length > end - at:
                    return budget
                number = tag >> 3
                if number in nested:
                    budget = nested[number].left(data, at, at + length, budget, depth - 1)
                elif number in packed:
                    budget -= length
                if budget < 0:
                    return -1
                at += length
            elif wire_type == _VARINT:
                _, at = _varint(data, at, end)
            elif wire_type == _FIXED64:
                at += 8
            elif wire_type == _FIXED32:
                at += 4
            else:
                return -1
        return budget


def shape_of(cls: type[Message]) -> Shape:
    """The shape of a message class."""
    return _shape(cast(Descriptor, cls.DESCRIPTOR))


@cache
def _shape(descriptor: Descriptor) -> Shape:
    """One shape for each message, so that no bytes, whatever they nest, make more of them."""
    return Shape(descriptor)


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The number at ``at`` and the place after it. What is cut short reads as if zero bits followed."""
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128 or shift > 63:
            break
        shift += 7
    return value, at
