"""Tables of transitions as diagrams of states, in the language of Mermaid."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

Moves = Mapping[Any, Enum]
"""(state, input) → next state."""


def mermaid(states: type[Enum], moves: Moves) -> str:
    """Every state and every move. Inputs that lead the same way share an arrow."""
    arrows: dict[tuple[Enum, Enum], list[str]] = {}
    for (before, moved_by), after in moves.items():
        arrows.setdefault((before, after), []).append(moved_by.name)
    left = {before for before, after in arrows if before is not after}
    reached = {after for before, after in arrows if before is not after}
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {state.name}" for state in states if state not in reached]
    for state in states:
        ways = [(after, inputs) for (before, after), inputs in arrows.items() if before is state]
        lines += [f"    {state.name} --> {after.name}: {', '.join(inputs)}" for after, inputs in ways]
    lines += [f"    {state.name} --> [*]" for state in states if state not in left]
    return f"```mermaid\n{chr(10).join(lines)}\n```"
