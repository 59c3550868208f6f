"""What people and machines see: Rich where standard output is a terminal, plain text where it is not, or JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def printable(text: str) -> str:
    """The text without anything that could steer a terminal: whoever sent it must not."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON in ASCII, so that nothing in it can steer a terminal."""
    return json.dumps(value, indent=indent)


class Screen:
    """Standard output."""

    def __init__(self) -> None:
        self._console = _console()

    def line(self, *parts: str | tuple[str, str]) -> None:
        """One line; a part is a text, or a text and its style such as ``"bold green"``."""
        if self._console is None:
            print("".join(part if isinstance(part, str) else part[0] for part in parts), flush=True)
            return
        from rich.text import Text  # noqa: PLC0415 - only where there is a terminal

        self._console.print(Text.assemble(*parts), soft_wrap=True)

    def json(self, value: Any) -> None:
        """A value in several lines, coloured for people."""
        text = to_json(value, indent=2)
        if self._console is None:
            print(text, flush=True)
        else:
            self._console.print_json(text)


def _console() -> Console | None:
    """Rich's, where it is installed and somebody looks."""
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
    except ImportError:
        return None
    return Console(highlight=False)
