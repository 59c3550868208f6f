"""The diagrams and tables of the two halves of a call, and of a post, say every move, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest

from ratatoskr.service.outbox.states import POSTING, Posting, PostingInput
from ratatoskr.session.states import ANSWERING, ASKING, Answering, AnsweringInput, Asking, AskingInput
from tools import call_tables

HALVES = [
    pytest.param(Asking, AskingInput, ASKING, "asking", id="asking"),
    pytest.param(Answering, AnsweringInput, ANSWERING, "answering", id="answering"),
    pytest.param(Posting, PostingInput, POSTING, "posting", id="posting"),
]


def made(name: str) -> str:
    build: Callable[[], str] = getattr(call_tables, name)
    return build()


def moves_of(diagram: str) -> set[tuple[str, str, str]]:
    """State, input and next state, as a reader of the diagram finds them."""
    found = set()
    rungs = [line for line in diagram.splitlines() if line and not line.startswith("```")]
    states = [line.split()[0] for line in rungs[::2]]
    for at, state in enumerate(states):
        aside = rungs[2 * at]
        for inputs, after in re.findall(r"([A-Z_, ]+?) ──► ([A-Z_]+)", aside.removeprefix(state)):
            found |= {(state, each, after) for each in inputs.strip().split(", ")}
        for inputs in re.findall(r"\(([A-Z_, ]+): stays\)", aside):
            found |= {(state, each, state) for each in inputs.split(", ")}
        if at + 1 < len(states):
            down = rungs[2 * at + 1].removeprefix("  │ ")
            found |= {(state, each, states[at + 1]) for each in down.split(", ")}
    return found


@pytest.mark.parametrize(("states", "inputs", "table", "name"), HALVES)
def test_the_diagram_is_the_table(states: type[Enum], inputs: type[Enum], table: Any, name: str) -> None:
    expected = {(before.name, moved_by.name, after.name) for (before, moved_by), after in table.items()}
    assert moves_of(made(f"{name}_diagram")) == expected
    assert {state for state, _, _ in expected} == {state.name for state in states}
    assert {moved_by for _, moved_by, _ in expected} == {moved_by.name for moved_by in inputs}


@pytest.mark.parametrize(("states", "inputs", "table", "name"), HALVES)
def test_the_tables_have_a_row_for_everything(states: type[Enum], inputs: type[Enum], table: Any, name: str) -> None:
    for text, members in ((made(f"{name}_states"), states), (made(f"{name}_inputs"), inputs)):
        rows = [line.split("|")[1:-1] for line in text.splitlines()[2:]]
        assert [row[0].strip(" `") for row in rows] == [member.name for member in members]
        assert all(cell.strip() for row in rows for cell in row)
    assert made(f"{name}_states").count("→") == len(table) + 1, "one in the heading"
