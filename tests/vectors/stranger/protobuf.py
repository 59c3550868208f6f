"""docs/spec/envelopes.md, "Canonical encoding", and docs/spec/limits.md, "Counting fields": Protobuf by hand.

The schema is read from the .proto files. A decoded message is a dictionary: names to values, lists where repeated,
dictionaries where messages. What a reader need not understand, such as two members of a oneof, is refused outright.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

PROTO = Path(__file__).parents[3] / "proto/ratatoskr/v1"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
INTEGERS = {"uint32": (0, 2**32), "uint64": (0, 2**64), "int32": (-(2**31), 2**31), "int64": (-(2**63), 2**63)}


class Malformed(Exception):
    """It does not parse."""


class NotCanonical(Exception):
    """It parses, and is not the one encoding."""


class Field(NamedTuple):
    number: int
    name: str
    type: str
    repeated: bool
    oneof: str


@cache
def schema() -> tuple[dict[str, dict[int, Field]], dict[str, dict[str, int]]]:
    """Fields of messages by number, values of enumerations by name."""
    messages: dict[str, dict[int, Field]] = {}
    enums: dict[str, dict[str, int]] = {}
    for path in sorted(PROTO.glob("*.proto")):
        text = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
        text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
        while (shorter := re.sub(r"\[[^\[\]]*\]", "", text)) != text:
            text = shorter
        text = re.sub(r"option [^;{]*\{[^{}]*\};", "", text)
        for name, body in re.findall(r"enum (\w+) \{([^{}]*)\}", text):
            enums[name] = {each: int(number) for each, number in re.findall(r"(\w+) = (\d+)", body)}
        for name, body in re.findall(r"message (\w+) \{((?:[^{}]|\{[^{}]*\})*)\}", text):
            fields = messages[name] = {}
            oneof = ""
            for line in re.split(r"[;\n]", body):
                if begin := re.search(r"oneof (\w+)", line):
                    oneof = begin[1]
                elif "}" in line:
                    oneof = ""
                elif found := re.search(r"(repeated )?(\w+) (\w+) = (\d+)", line):
                    fields[int(found[4])] = Field(int(found[4]), found[3], found[2], bool(found[1]), oneof)
    return messages, enums


def wire_type(type: str) -> int:
    messages, _ = schema()
    if type in {"string", "bytes"} or type in messages:
        return BYTES
    return FIXED64 if type == "fixed64" else VARINT


# Reading


def varint(data: bytes, at: int, longest: int = 10) -> tuple[int, int]:
    """The value, and the place behind it."""
    value = 0
    for index in range(longest):
        if at + index >= len(data):
            raise Malformed("a varint is cut short")
        byte = data[at + index]
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, at + index + 1
    raise Malformed(f"a varint has more than {longest} bytes")


def fields(data: bytes, depth: int = 100) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and value of each field; of a group nothing but that it is whole."""
    at = 0
    while at < len(data):
        number, kind, value, at = _field(data, at, depth)
        if kind == 4:
            raise Malformed("a group ends that did not begin")
        yield number, kind, value


def _field(data: bytes, at: int, depth: int) -> tuple[int, int, Any, int]:
    tag, at = varint(data, at, 5)
    number, kind = tag >> 3, tag & 7
    if not 0 < number < 2**29:
        raise Malformed(f"there is no field {number}")
    value: Any = None
    if kind == VARINT:
        value, at = varint(data, at)
    elif kind in {FIXED64, FIXED32}:
        size = 8 if kind == FIXED64 else 4
        value, at = data[at : at + size], at + size
    elif kind == BYTES:
        length, at = varint(data, at, 5)
        value, at = data[at : at + length], at + length
    elif kind == 3:
        if depth == 0:
            raise Malformed("more than 100 groups and messages within one another")
        while True:
            inner, inner_kind, _, at = _field(data, at, depth - 1)
            if inner_kind == 4:
                if inner != number:
                    raise Malformed("another group ends")
                break
    elif kind != 4:
        raise Malformed(f"there is no wire type {kind}")
    if at > len(data):
        raise Malformed("a field is cut short")
    return number, kind, value, at


def decode(name: str, data: bytes, depth: int = 100) -> dict[str, Any]:
    """What a parser reads. Raises Malformed; NotCanonical where readers could differ. Unknown fields are dropped."""
    messages, _ = schema()
    found: dict[str, Any] = {}
    doubt = ""
    for number, kind, value in fields(data, depth):
        field = messages[name].get(number)
        if field is None:
            continue
        packed = field.repeated and kind == BYTES and wire_type(field.type) == VARINT
        if kind != wire_type(field.type) and not packed:
            doubt = doubt or f"{field.name} has another wire type"
            continue
        if field.oneof and any(other.oneof == field.oneof and other.name in found for other in messages[name].values()):
            doubt = doubt or f"two members of {field.oneof}"
        try:
            read = [_one(field, each, depth) for each in _unpacked(value)] if packed else [_one(field, value, depth)]
        except NotCanonical as why:
            doubt = doubt or str(why)
            continue
        if field.repeated:
            found.setdefault(field.name, []).extend(read)
        else:
            if field.name in found:
                doubt = doubt or f"{field.name} comes twice"
            found[field.name] = read[0]
    if doubt:
        raise NotCanonical(doubt)
    return found


def _unpacked(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = varint(data, at)
        yield value


def _one(field: Field, value: Any, depth: int) -> Any:
    messages, enums = schema()
    if field.type in messages:
        return decode(field.type, value, depth - 1)
    if field.type == "string":
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed(f"{field.name} is not UTF-8") from None
    if field.type == "bytes":
        return value
    if field.type == "fixed64":
        return int.from_bytes(value, "little")
    if field.type == "bool":
        if value > 1:
            raise NotCanonical(f"{field.name} is {value}")
        return value == 1
    least, beyond = INTEGERS["int32" if field.type in enums else field.type]
    signed = value - 2**64 if least < 0 and value >= 2**63 else value
    if not least <= signed < beyond:
        raise NotCanonical(f"{field.name} is {value}")
    return signed


# Writing


def encode(name: str, message: dict[str, Any]) -> bytes:
    """The canonical encoding."""
    messages, _ = schema()
    out = b""
    for number, field in sorted(messages[name].items()):
        value = message.get(field.name)
        if value is None:
            continue
        kind = wire_type(field.type)
        if field.repeated and kind == VARINT:
            packed = b"".join(_written(field, each) for each in value)
            out += _tag(number, BYTES) + _length(packed) + packed if packed else b""
        elif field.repeated:
            out += b"".join(_tag(number, kind) + _written(field, each) for each in value)
        elif value or field.oneof or field.type in messages:
            out += _tag(number, kind) + _written(field, value)
    return out


def _tag(number: int, kind: int) -> bytes:
    return to_varint(number << 3 | kind)


def _length(data: bytes) -> bytes:
    return to_varint(len(data))


def to_varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _written(field: Field, value: Any) -> bytes:
    messages, _ = schema()
    if field.type in messages:
        value = encode(field.type, value)
    elif field.type == "string":
        value = value.encode("utf-8")
    if isinstance(value, bytes):
        return _length(value) + value
    if field.type == "fixed64":
        return int(value).to_bytes(8, "little")
    return to_varint(int(value) % 2**64)


def verdict(name: str, data: bytes) -> str:
    """``canonical``, ``not canonical`` or ``malformed``."""
    try:
        same = encode(name, decode(name, data)) == data
    except Malformed:
        return "malformed"
    except NotCanonical:
        return "not canonical"
    return "canonical" if same else "not canonical"


# Counting


def left(name: str, data: bytes, budget: int, depth: int = 16) -> int:
    """What is left of a budget of fields; negative where it does not suffice."""
    messages, enums = schema()
    if depth == 0:
        return -1
    at = 0
    while at < len(data):
        budget -= 1
        if budget < 0:
            return -1
        try:
            tag, at = varint(data, at)
            number, kind = tag >> 3, tag & 7
            if kind == VARINT:
                _, at = varint(data, at)
            elif kind in {FIXED64, FIXED32}:
                at += 8 if kind == FIXED64 else 4
            elif kind == BYTES:
                length, at = varint(data, at)
                if at + length > len(data):
                    return budget
                field = messages[name].get(number)
                if field is not None and field.type in messages:
                    budget = left(field.type, data[at : at + length], budget, depth - 1)
                elif field is not None and field.repeated and (field.type in INTEGERS or field.type in enums):
                    budget -= length
                if budget < 0:
                    return -1
                at += length
            else:
                return -1
        except Malformed:
            return budget
    return budget
