"""The tables of messages have every field of the schema, and every rule of it."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor

from ratatoskr import v1
from tests.docs.pages import SPEC
from tests.unit.messages.annotations import annotated_rules
from tools import schema

FILES = sorted(path.name for path in schema.PROTO.glob("*.proto"))
FOUND = {
    definition.name: definition
    for name in FILES
    for definition in schema.definitions((schema.PROTO / name).read_text(encoding="utf-8"))
}


def described() -> dict[str, Descriptor | EnumDescriptor]:
    """Every message and enumeration of the generated code."""
    files = {getattr(v1, name).DESCRIPTOR.file for name in v1.__all__ if hasattr(getattr(v1, name), "DESCRIPTOR")}
    return {
        name: each
        for file in files
        for name, each in (*file.message_types_by_name.items(), *file.enum_types_by_name.items())
    }


def test_every_file_is_on_one_page() -> None:
    pages = [page.read_text(encoding="utf-8") for page in SPEC.glob("*.md")]
    for name in FILES:
        assert sum(f"<!-- begin schema {name} -->" in page for page in pages) == 1, name


def test_every_message_and_enumeration_has_a_table() -> None:
    assert described().keys() == FOUND.keys()
    assert all(definition.meaning for definition in FOUND.values())


@pytest.mark.parametrize("name", FOUND)
def test_a_table_has_every_field(name: str) -> None:
    descriptor = described()[name]
    listed = [(int(row.number), row.name.strip("`")) for row in FOUND[name].rows if row.type != "reserved"]
    members = descriptor.fields if isinstance(descriptor, Descriptor) else descriptor.values
    assert listed == [(each.number, each.name) for each in members]
    assert all(row.meaning for row in FOUND[name].rows)


def test_a_table_has_every_rule() -> None:
    """Rules of the fields themselves; those of the messages in them stand in the tables of these."""
    count = 0
    for name, definition in FOUND.items():
        descriptor = described()[name]
        if isinstance(descriptor, EnumDescriptor):
            continue
        rules = {row.name.strip("`"): row.rules for row in definition.rows}
        for path, rule, bound in annotated_rules(descriptor.full_name):
            field = path.removesuffix("[0]")
            if "." in field or "[" in field:
                continue
            if field and (inner := descriptor.fields_by_name[field].message_type) and rule in FOUND[inner.name].meaning:
                continue
            said = rules[field] if field else definition.meaning
            parts = rule.split(".")
            names = [f"{parts[0]}.{part}" for part in parts[1].split("_")] if parts[-1] == "gte_lte" else [rule]
            for each in names:
                assert each.replace("repeated.", "") in said, (name, path, rule)
            for value in bound if isinstance(bound, tuple) else (bound,):
                assert value in {None, True} or str(value) in said, (name, path, rule, value)
            count += 1
    assert count > 100


def test_a_changed_rule_is_seen() -> None:
    source = (schema.PROTO / "money.proto").read_text(encoding="utf-8")
    (money,) = schema.definitions(source.replace("999999999", "99").replace("[A-Z]{3}", "[A-Z]{4}"))
    assert money.rows[2].rules == "int32.gte -99, int32.lte 99"
    assert money.rows[0].rules == "string.pattern `^[A-Z]{4}$`"
    assert "`money.sign`" in money.meaning
