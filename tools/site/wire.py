"""Messages of the wire for the API reference: from their .proto files, as in the tables of the specification."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tools.schema import PROTO, Definition, Row, definitions

SANDBOX = Path(__file__).parents[2] / "adapters/ratatoskr_sandbox"
_SOURCES = {"ratatoskr.v1": PROTO, "ratatoskr_sandbox": SANDBOX}


def of_package(package: str) -> dict[str, list[str]]:
    """The public names of a package that are of the wire → what the reference says of them."""
    found: dict[str, list[str]] = {}
    for path in sorted(_SOURCES[package].glob("*.proto")) if package in _SOURCES else []:
        for definition in definitions(path.read_text(encoding="utf-8")):
            found[definition.name] = list(_definition(definition))
            for row in definition.rows:
                if not row.type:
                    found[_plain(row.name)] = list(_value(definition.name, row))
    return found


def _definition(definition: Definition) -> Iterator[str]:
    """A message with its fields, or an enumeration, whose values are names of their own."""
    yield from (f".. py:class:: {definition.name}", "", f"   {_rst(definition.meaning)}", "")
    fields = [
        (f"``{_plain(row.name)}``", _linked(row.type), _rst(row.meaning))
        for row in definition.rows
        if row.type and row.name
    ]
    if fields:
        yield from ("   .. list-table::", "      :header-rows: 1", "")
        for field, kind, meaning in [("field", "type", "meaning"), *fields]:
            yield from (f"      * - {field}", f"        - {kind}", f"        - {meaning}")
        yield ""


def _value(enumeration: str, row: Row) -> Iterator[str]:
    yield from (f".. py:data:: {_plain(row.name)}", f"   :type: {enumeration}", f"   :value: {row.number}", "")
    yield from (f"   {_rst(row.meaning)}", "")


def _plain(markdown: str) -> str:
    return markdown.strip("`")


def _rst(markdown: str) -> str:
    """Comments of a schema have code between single backticks. A number and a dot are no list."""
    return re.sub(r"^(\d+\.)", r"\\\1", markdown.replace("`", "``").replace("*", r"\*"))


def _linked(kind: str) -> str:
    """The type of a field; those with capitals are messages and enumerations."""
    return re.sub(r"[\w.]*[A-Z]\w*", r":class:`\g<0>`", kind)
