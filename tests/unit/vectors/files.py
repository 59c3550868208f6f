"""The published files, as a stranger reads them: JSON with bytes in hexadecimal. Nothing here imports the project."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tests.vectors.stranger.noise import Refused

FOLDER = Path(__file__).parents[2] / "vectors"


@cache
def load(name: str) -> dict[str, Any]:
    """One file."""
    found: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return found


def identity(name: str) -> dict[str, Any]:
    """Somebody of identities.json, in bytes."""
    shown = load("identities.json")["identities"][name]
    return {key: list(map(bytes.fromhex, v)) if isinstance(v, list) else bytes.fromhex(v) for key, v in shown.items()}


def rule(step: Callable[[], object]) -> str:
    """The rule by which a stranger refuses; nothing where he does not."""
    try:
        step()
    except Refused as refused:
        return refused.rule
    return ""


def what(entry: dict[str, Any]) -> str:
    """What a test is called."""
    return str(entry.get("what") or entry.get("name"))
