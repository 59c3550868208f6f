"""The `buf.validate` annotations of the schema, as data, and protovalidate as the oracle that judges by them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import protovalidate
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from tools import proto

Found = set[tuple[str, str]]
"""Pairs of field path and rule id."""


class Annotation(NamedTuple):
    """One rule: where it stands, seen from the payload (``lines[0].quantity``), its id, and its bound."""

    path: str
    rule: str
    bound: Any


@functools.cache
def pool() -> descriptor_pool.DescriptorPool:
    """The schema with its annotations; the core's own classes are generated without."""
    result = descriptor_pool.DescriptorPool()
    for file in proto.image().file:
        result.Add(file)
    return result


def _options(owner: Descriptor | FieldDescriptor, kind: str) -> Any:
    """The rules on a field or on a message."""
    own = pool()
    options_class = message_factory.GetMessageClass(
        own.FindMessageTypeByName(f"google.protobuf.{kind.capitalize()}Options")
    )
    options: Any = options_class.FromString(owner.GetOptions().SerializeToString())
    return options.Extensions[own.FindExtensionByName(f"buf.validate.{kind}")]


def _rules(rules: Any, path: str) -> Iterator[Annotation]:
    """The rules of one value, from its FieldRules message."""
    if rules.required:
        yield Annotation(path, "required", None)
    for expression in rules.cel:
        yield Annotation(path, expression.id, expression.expression)
    name = rules.WhichOneof("type")
    if name is None:
        return
    typed = getattr(rules, name)
    bounds = {
        field.name: tuple(value) if field.is_repeated else value
        for field, value in typed.ListFields()
        if field.name != "items"
    }
    if {"gte", "lte"} <= bounds.keys():
        bounds["gte_lte"] = (bounds.pop("gte"), bounds.pop("lte"))
    for rule, bound in bounds.items():
        yield Annotation(path, f"{name}.{rule}", bound)
    if name == "repeated" and typed.HasField("items"):
        yield from _rules(typed.items, f"{path}[0]")


def annotated_rules(message: str, prefix: str = "") -> Iterator[Annotation]:
    """Every rule of a payload, given its full name; those of the messages in it included."""
    annotated = pool().FindMessageTypeByName(message)
    at = prefix.removesuffix(".")
    for expression in _options(annotated, "message").cel:
        yield Annotation(at, expression.id, expression.expression)
    for field in annotated.fields:
        path = prefix + field.name
        yield from _rules(_options(field, "field"), path)
        if field.message_type is not None:
            yield from annotated_rules(field.message_type.full_name, f"{path}[0]." if field.is_repeated else f"{path}.")


_VALIDATOR = protovalidate.Validator()


def judged(message: Message) -> Found:
    """What protovalidate finds in a payload."""
    annotated = message_factory.GetMessageClass(pool().FindMessageTypeByName(message.DESCRIPTOR.full_name))
    violations = _VALIDATOR.collect_violations(annotated.FromString(message.SerializeToString()))
    return {(_path(violation.proto), violation.proto.rule_id) for violation in violations}


def _path(violation: Any) -> str:
    if violation.field is None:
        return ""
    return ".".join(
        element.field_name + (f"[{element.subscript.value}]" if element.subscript is not None else "")
        for element in violation.field.elements
    )


def resolve(message: Message, path: str) -> tuple[Any, str, int | None]:
    """The message that holds what a path names, the field's name, and the index where it has one."""
    *outer, last = path.split(".")
    owner: Any = message
    for step in outer:
        name, index = split(step)
        owner = getattr(owner, name) if index is None else getattr(owner, name)[index]
    return owner, *split(last)


def split(step: str) -> tuple[str, int | None]:
    """``lines[2]`` as its name and index."""
    match = re.fullmatch(r"(\w+)(?:\[(\d+)])?", step)
    assert match, step
    return match[1], None if match[2] is None else int(match[2])
