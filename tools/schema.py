"""The messages of the wire schema as tables: read from the .proto files, with their comments and rules.

The files are the source: what a compiler makes of them has no rules, and no order of our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools.tables import code, table

PROTO = Path(__file__).parents[1] / "proto/ratatoskr/v1"

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\w.()-]+|[{}\[\]:=,]')
_RULES = "(buf.validate.field)"


class Row(NamedTuple):
    """One field of a message, or one value of an enumeration, which has no type."""

    number: str
    name: str
    type: str
    rules: str
    meaning: str


class Definition(NamedTuple):
    """One message or enumeration."""

    name: str
    meaning: str
    rows: list[Row]


def schema(file: str) -> str:
    """The messages and enumerations of one .proto file, field by field."""
    return "\n\n".join(map(_section, definitions((PROTO / file).read_text(encoding="utf-8"))))


def _section(found: Definition) -> str:
    ruled = any(row.rules for row in found.rows)
    header = ("number", "field", "type", *(["rules"] if ruled else []), "meaning")
    rows = [[row.number, row.name, row.type, *([row.rules] if ruled else []), row.meaning] for row in found.rows]
    return f"**`{found.name}`**: {found.meaning}\n\n{table(header, rows)}"


def definitions(source: str) -> Iterator[Definition]:
    """All messages and enumerations, in the order of the file."""
    found = Definition("", "", [])
    inside = ""
    for meaning, statement in _statements(source):
        if begin := re.fullmatch(r"(?:message|enum) (\w+) \{", statement):
            found = Definition(begin[1], meaning, [])
        elif begin := re.fullmatch(r"oneof (\w+) \{", statement):
            inside = f"in `{begin[1]}`: "
        elif statement == "}" and inside:
            inside = ""
        elif statement == "}":
            yield found
        elif rule := re.match(r"option \(buf\.validate\.message\)\.cel = ", statement):
            text = f"{found.meaning} Rule {_cel(_value(_tokens(statement[rule.end() :])))}."
            found = found._replace(meaning=text)
        elif field := re.match(r"((?:repeated )?[\w.]+) (\w+) = (\d+)(.*)", statement):
            rules = ", ".join(_rules(field[4]))
            found.rows.append(Row(field[3], code(field[2]), field[1], rules, inside + meaning))
        elif value := re.match(r"(\w+) = (\d+)", statement):
            found.rows.append(Row(value[2], code(value[1]), "", "", inside + meaning))
        elif reserved := re.match(r"reserved ([\d, ]+);", statement):
            found.rows.append(Row(reserved[1], "", "reserved", "", inside + meaning))


def _statements(source: str) -> Iterator[tuple[str, str]]:
    """Each statement on one line, with the comment before it. The begin and the end of a block are statements, too."""
    comment: list[str] = []
    statement = ""
    for line in map(str.strip, source.splitlines()):
        if line.startswith("//"):
            comment.append(line[2:].strip())
            continue
        statement = f"{statement} {line}".strip()
        whole = re.match(r"(?:message|enum|oneof) \w+ \{$|\}$|$", statement) or (
            statement.endswith(";")
            and statement.count("{") + statement.count("[") == len(re.findall(r"[}\]]", statement))
        )
        if whole:
            if statement:
                yield " ".join(comment), statement
            comment, statement = [], ""


# The rules of a field: `[(buf.validate.field).string.pattern = "…", (buf.validate.field).cel = {…}]`


def _rules(options: str) -> Iterator[str]:
    """The rules that stand behind a field, for people."""
    tokens = _tokens(options.strip(" ;[]") if _RULES in options else "")
    while tokens:
        path = tokens.pop(0).removeprefix(_RULES + ".")
        assert tokens.pop(0) == "="
        yield from _said(path, _value(tokens))
        if tokens:
            assert tokens.pop(0) == ","


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def _value(tokens: list[str]) -> object:
    """A value of Protobuf's text format: a string or a number as it stands, a list, or a dictionary."""
    first = tokens.pop(0)
    if first == "[":
        items = []
        while (item := tokens.pop(0)) != "]":
            items += [item] if item != "," else []
        return items
    if first != "{":
        return first
    fields: dict[str, object] = {}
    while (name := tokens.pop(0)) != "}":
        if tokens[0] == ":":
            tokens.pop(0)
        fields[name] = _value(tokens)
    return fields


def _said(path: str, value: object) -> Iterator[str]:
    match value:
        case dict() if path == "cel":
            yield _cel(value)
        case dict():
            for name, inner in value.items():
                yield from _said(f"{path}.{name}", inner)
        case list():
            yield f"{path} {', '.join(value)}"
        case "true":
            yield path
        case str() if value.startswith('"'):
            yield f"{path} {code(_unquoted(value))}"
        case _:
            yield f"{path} {value}"


def _cel(value: object) -> str:
    assert isinstance(value, dict)
    return f"{code(_unquoted(value['id']))} ({code(_unquoted(value['expression']))})"


def _unquoted(text: str) -> str:
    return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
