"""What docs/ take from the states of a call and of a post: diagrams, states and what moves them."""

from __future__ import annotations

from enum import Enum

from ratatoskr.service.outbox.states import POSTING, Posting, PostingInput
from ratatoskr.session.states import ANSWERING, ASKING, Answering, AnsweringInput, Asking, AskingInput
from tools.diagrams import Moves, mermaid
from tools.tables import code, table


def asking_diagram() -> str:
    """The way of a request of ours."""
    return mermaid(Asking, ASKING)


def asking_states() -> str:
    """The states of a request of ours, with all moves."""
    return _states(Asking, ASKING)


def asking_inputs() -> str:
    """What moves a request of ours."""
    return _inputs(AskingInput)


def answering_diagram() -> str:
    """The way of a request of the peer's."""
    return mermaid(Answering, ANSWERING)


def answering_states() -> str:
    """The states of a request of the peer's, with all moves."""
    return _states(Answering, ANSWERING)


def answering_inputs() -> str:
    """What moves a request of the peer's."""
    return _inputs(AnsweringInput)


def posting_diagram() -> str:
    """The way of a post in an outbox."""
    return mermaid(Posting, POSTING)


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
