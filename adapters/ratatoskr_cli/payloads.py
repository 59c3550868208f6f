"""JSON that the user wrote, as a payload; and payloads as JSON.

Field names are those of the .proto files. Money may be written as a text: ``"49.90 EUR"``. Nothing that came from a
peer is ever parsed here.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from ratatoskr import Kind, v1
from ratatoskr_cli.exits import Exit, Failed

Req = TypeVar("Req", bound=Message)

_MONEY = re.compile(r"(-?)(\d{1,16})(?:\.(\d{1,9}))? ?([A-Z]{3})")


def payload_of(kind: Kind[Req, Any], text: str) -> Req:
    """The request that a JSON text describes. Raises Failed, naming the field that is wrong."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failed(f"the payload is not JSON: {error}", Exit.USAGE) from None
    descriptor = cast("Descriptor", kind.request.DESCRIPTOR)
    if not isinstance(value, dict):
        raise Failed(f"the payload of {kind.name} is a JSON object with the fields of {descriptor.name}", Exit.USAGE)
    message = kind.request()
    checked = _checked(descriptor, cast("dict[str, Any]", value), "")
    try:
        json_format.ParseDict(checked, message)
    except json_format.ParseError as error:
        raise Failed(f"{descriptor.name}: {str(error).splitlines()[0]}", Exit.USAGE) from None
    return message


def payload_to_json(message: Message) -> dict[str, Any]:
    """Every field of a message, also those that are empty."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def fields_text(descriptor: Descriptor) -> str:
    """The fields of a message for people: ``order_id, lines[] {offer_id, quantity, …}``."""
    return ", ".join(map(_field_text, descriptor.fields))


def example_of(descriptor: Descriptor) -> dict[str, Any]:
    """A payload with a value of the right type in every field, to be changed by hand."""
    return {each.name: _example_value(each) for each in descriptor.fields}


def _checked(descriptor: Descriptor, value: dict[str, Any], path: str) -> dict[str, Any]:
    """The same value, with money spelled out. Raises Failed for a field that there is not."""
    result: dict[str, Any] = {}
    for name, inner in value.items():
        where = f"{path}.{name}" if path else name
        field = descriptor.fields_by_name.get(name)
        if field is None:
            names = [each.name for each in descriptor.fields]
            close = get_close_matches(name, names, 1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(names) or 'no fields'}"
            raise Failed(f"{where}: {descriptor.name} has no such field; {hint}", Exit.USAGE)
        result[name] = _checked_value(field, inner, where)
    return result


def _checked_value(field: FieldDescriptor, value: Any, where: str) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES and isinstance(value, str):
        return _base64(value, where)
    if field.message_type is None:
        return value
    if field.is_repeated and isinstance(value, list):
        items = cast("list[object]", value)
        return [_checked_item(field.message_type, each, f"{where}[{index}]") for index, each in enumerate(items)]
    return _checked_item(field.message_type, value, where)


def _checked_item(descriptor: Descriptor, value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return _checked(descriptor, cast("dict[str, Any]", value), where)
    if descriptor is v1.Money.DESCRIPTOR and isinstance(value, str):
        return _money(value, where)
    return value


def _base64(text: str, where: str) -> str:
    """The text, if it is base64: the parser would skip what is not, and take something else for the bytes."""
    try:
        b64decode(text, validate=True)
    except ValueError:
        raise Failed(f"{where}: {text!r:.80} is not base64", Exit.USAGE) from None
    return text


def _money(text: str, where: str) -> dict[str, Any]:
    match = _MONEY.fullmatch(text.strip())
    if match is None:
        raise Failed(f'{where}: {text!r} is no amount; write it as "49.90 EUR"', Exit.USAGE)
    sign, units, decimals, currency = match.groups(default="")
    return {"currency": currency, "units": f"{sign}{units}", "nanos": int(f"{sign}{decimals:0<9}")}


def _field_text(field: FieldDescriptor) -> str:
    text = f"{field.name}[]" if field.is_repeated else field.name
    if field.message_type is None or field.message_type is v1.Money.DESCRIPTOR:
        return text
    return f"{text} {{{fields_text(field.message_type)}}}"


def type_text(field: FieldDescriptor) -> str:
    """A field's type for people."""
    if field.enum_type is not None:
        return " | ".join(each.name for each in field.enum_type.values if each.number)
    if field.message_type is not None:
        return 'Money, such as "49.90 EUR"' if field.message_type is v1.Money.DESCRIPTOR else field.message_type.name
    return _TYPES[field.cpp_type] if field.type != FieldDescriptor.TYPE_BYTES else "bytes in base64"


def _example_value(field: FieldDescriptor) -> Any:
    value: Any
    if field.enum_type is not None:
        value = field.enum_type.values[1].name
    elif field.message_type is not None:
        value = "1.00 EUR" if field.message_type is v1.Money.DESCRIPTOR else example_of(field.message_type)
    else:
        value = "" if field.cpp_type == FieldDescriptor.CPPTYPE_STRING else field.default_value  # bytes too
    return [value] if field.is_repeated else value


_TYPES = {
    FieldDescriptor.CPPTYPE_BOOL: "true | false",
    FieldDescriptor.CPPTYPE_DOUBLE: "number",
    FieldDescriptor.CPPTYPE_FLOAT: "number",
    FieldDescriptor.CPPTYPE_INT32: "integer",
    FieldDescriptor.CPPTYPE_INT64: "integer",
    FieldDescriptor.CPPTYPE_UINT32: "integer",
    FieldDescriptor.CPPTYPE_UINT64: "integer",
    FieldDescriptor.CPPTYPE_STRING: "text",
}
