"""What people and machines see: Rich where somebody looks at a terminal, plain text where nobody does, or JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import IO, TYPE_CHECKING, Any

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
        self._console = _console(sys.stdout)

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


class Progress:
    """A line on standard error that is written over and over; nothing where no terminal is there."""

    EVERY_SECONDS = 0.1

    def __init__(self) -> None:
        console = _console(sys.stderr)
        self._console = None if console is None or console.is_dumb_terminal else console
        self._next = 0.0
        self._shown = False

    def show(self, text: str) -> None:
        """How far it is, unless that was said a moment ago."""
        now = time.monotonic()
        if self._console is not None and now >= self._next:
            self.clear()
            self._console.print(printable(text), style="dim", end="", soft_wrap=True)
            self._next, self._shown = now + self.EVERY_SECONDS, True

    def clear(self) -> None:
        """Make room for a line of something else."""
        if self._console is not None and self._shown:
            erase(self._console)
            self._shown = False

    def end(self, text: str) -> None:
        """Leave a last line."""
        self.clear()
        if self._console is not None:
            self._console.print(printable(text), style="dim", soft_wrap=True)


async def room() -> None:
    """Wait until standard output takes more: who reads it slowly must not hold up the connection, but the stream."""
    loop = asyncio.get_running_loop()
    taken = asyncio.Event()
    try:
        output = sys.stdout.fileno()
        loop.add_writer(output, taken.set)
    except (OSError, NotImplementedError):  # a file, which takes everything; or a system that cannot wait for others
        await asyncio.sleep(0)
        return
    try:
        await taken.wait()
    finally:
        loop.remove_writer(output)


def erase(console: Console) -> None:
    """Take the line back that the cursor stands on."""
    from rich.control import Control  # noqa: PLC0415 - only where there is a terminal
    from rich.segment import ControlType  # noqa: PLC0415

    console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))


def _console(stream: IO[str]) -> Console | None:
    """Rich's, where it is installed and somebody looks."""
    if not stream.isatty():
        return None
    try:
        from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
    except ImportError:
        return None
    return Console(file=stream, highlight=False)
