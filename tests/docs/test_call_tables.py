"""The diagrams and tables of a connection, of the two halves of a call and of a post say every move, and no other."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any

import pytest

from ratatoskr.connection.states import TRANSITIONS, Input, State
from ratatoskr.service.outbox.states import POSTING, Posting, PostingInput
from ratatoskr.session.states import ANSWERING, ASKING, Answering, AnsweringInput, Asking, AskingInput
from tools import docs

TABLES = [
    pytest.param(State, Input, TRANSITIONS, "", id="connection"),
    pytest.param(Asking, AskingInput, ASKING, "asking ", id="asking"),
    pytest.param(Answering, AnsweringInput, ANSWERING, "answering ", id="answering"),
    pytest.param(Posting, PostingInput, POSTING, "posting ", id="posting"),
]


def made(name: str) -> str:
    return docs.section(name)


def moves_of(diagram: str) -> set[tuple[str, str, str]]:
    """State, input and next state, as a reader of the diagram finds them."""
    arrows = re.findall(r"^    (\w+) --> (\w+): (.+)$", diagram, re.MULTILINE)
    return {(before, each, after) for before, after, inputs in arrows for each in inputs.split(", ")}


@pytest.mark.parametrize(("states", "inputs", "table", "name"), TABLES)
def test_the_diagram_is_the_table(states: type[Enum], inputs: type[Enum], table: Any, name: str) -> None:
    diagram = made(f"{name}diagram")
    expected = {(before.name, moved_by.name, after.name) for (before, moved_by), after in table.items()}
    assert moves_of(diagram) == expected
    assert {state for state, _, _ in expected} | {state for _, _, state in expected} == {each.name for each in states}
    assert {moved_by for _, moved_by, _ in expected} == {moved_by.name for moved_by in inputs}
    left = {before for before, _, after in expected if before != after}
    reached = {after for before, _, after in expected if before != after}
    assert set(re.findall(r"\[\*\] --> (\w+)", diagram)) == {each.name for each in states} - reached
    assert set(re.findall(r"(\w+) --> \[\*\]", diagram)) == {each.name for each in states} - left


@pytest.mark.parametrize(("states", "inputs", "table", "name"), TABLES[1:])
def test_the_tables_have_a_row_for_everything(states: type[Enum], inputs: type[Enum], table: Any, name: str) -> None:
    for text, members in ((made(f"{name}states"), states), (made(f"{name}inputs"), inputs)):
        rows = [line.split("|")[1:-1] for line in text.splitlines()[2:]]
        assert [row[0].strip(" `") for row in rows] == [member.name for member in members]
        assert all(cell.strip() for row in rows for cell in row)
    assert made(f"{name}states").count("→") == len(table) + 1, "one in the heading"


def test_the_moves_of_a_connection_are_all_listed() -> None:
    moves = re.findall(r"`(\w+)` → `(\w+)`", docs.section("transitions"))
    assert len(moves) == len(TRANSITIONS)
    assert {moved_by for moved_by, _ in moves} == {each.name for each in Input}
