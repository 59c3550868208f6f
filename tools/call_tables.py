"""What docs/ take from the states of a call and of a post: diagrams, states and what moves them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from itertools import pairwise
from typing import Any

from ratatoskr.service.outbox.states import POSTING, Posting, PostingInput
from ratatoskr.session.states import ANSWERING, ASKING, Answering, AnsweringInput, Asking, AskingInput
from tools.tables import code, table

Moves = Mapping[Any, Enum]
"""(state, input) → next state."""


def asking_diagram() -> str:
    """The way of a request of ours."""
    return _ladder(Asking, ASKING)


def asking_states() -> str:
    """The states of a request of ours, with all moves."""
    return _states(Asking, ASKING)


def asking_inputs() -> str:
    """What moves a request of ours."""
    return _inputs(AskingInput)


def answering_diagram() -> str:
    """The way of a request of the peer's."""
    return _ladder(Answering, ANSWERING)


def answering_states() -> str:
    """The states of a request of the peer's, with all moves."""
    return _states(Answering, ANSWERING)


def answering_inputs() -> str:
    """What moves a request of the peer's."""
    return _inputs(AnsweringInput)


def posting_diagram() -> str:
    """The way of a post in an outbox."""
    return _ladder(Posting, POSTING)


def posting_states() -> str:
    """The states of a post, with all moves."""
    return _states(Posting, POSTING)


def posting_inputs() -> str:
    """What moves a post."""
    return _inputs(PostingInput)


def _states(states: type[Enum], moves: Moves) -> str:
    def leading(state: Enum) -> str:
        return ", ".join(f"`{i.name}` → `{after.name}`" for (before, i), after in moves.items() if before is state)

    return table(("state", "meaning", "input → next state"), ((code(s.name), s.value, leading(s)) for s in states))


def _inputs(inputs: type[Enum]) -> str:
    return table(("input", "meaning"), ((code(i.name), i.value) for i in inputs))


def _ladder(states: type[Enum], moves: Moves) -> str:
    """The states in the order in which a call passes them, and beside each what leads elsewhere, or nowhere."""

    def inputs(state: Enum, after: Enum) -> str:
        return ", ".join(i.name for (before, i), to in moves.items() if before is state and to is after)

    def rung(state: Enum, below: Enum | None) -> str:
        others = [to for to in states if to not in {state, below} and inputs(state, to)]
        aside = [f"{inputs(state, to)} ──► {to.name}" for to in others]
        stays = inputs(state, state)
        return "   ".join([f"{state.name:<11}", *aside, *([f"({stays}: stays)"] if stays else [])]).rstrip()

    lines = []
    for state, below in pairwise([*states, None]):
        assert state is not None
        lines.append(rung(state, below))
        if below is not None:
            lines.append(f"  │ {inputs(state, below)}")
    return f"```text\n{chr(10).join(lines)}\n```"
