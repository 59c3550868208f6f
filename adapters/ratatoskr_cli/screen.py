"""What people and machines see: Rich where somebody looks at a terminal, plain text where nobody does, or JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import IO, TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Part: TypeAlias = str | tuple[str, str]
"""Of a line: a text, or a text and its style such as ``"bold green"``."""


def printable(text: str) -> str:
    """The text without anything that could steer a terminal: whoever sent it must not."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON in ASCII, so that nothing in it can steer a terminal."""
    return json.dumps(value, indent=indent)


class Draft:
    """A line on a terminal that is taken back before anything else is written there; nothing where none is there."""

    def __init__(self, console: Console | None) -> None:
        self._console = None if console is None or console.is_dumb_terminal else console
        self._shown = False

    def show(self, *parts: Part) -> None:
        """Write it, in the place of the last one."""
        self.take_back()
        if self._console is not None:
            self._console.print(_text(parts), end="", no_wrap=True, overflow="crop", crop=True)
            self._shown = True

    def take_back(self) -> None:
        """Make room for something else."""
        if self._console is None or not self._shown:
            return
        from rich.control import Control  # noqa: PLC0415 - only where there is a terminal
        from rich.segment import ControlType  # noqa: PLC0415

        self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))
        self._shown = False

    def keep(self) -> None:
        """Leave it there, and go on below."""
        if self._console is not None and self._shown:
            self._console.print()
            self._shown = False


class Pace:
    """Whether something may be shown again, so many seconds after the last time: showing takes time too."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    def due(self) -> bool:
        """True where it is time; it is taken as shown then."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


class Screen:
    """Standard output."""

    def __init__(self) -> None:
        self._console = _console(sys.stdout)
        self._draft = Draft(self._console)

    def line(self, *parts: Part) -> None:
        """One line."""
        self._draft.take_back()
        if self._console is None:
            # One write, also where output is not buffered: what others say must not come in between.
            sys.stdout.write("".join(part if isinstance(part, str) else part[0] for part in parts) + "\n")
            sys.stdout.flush()
        else:
            self._console.print(_text(parts), soft_wrap=True)

    def draft(self, *parts: Part) -> None:
        """A line that stands until the next one comes; for terminals only."""
        self._draft.show(*parts)

    def json(self, value: Any) -> None:
        """A value in several lines, coloured for people."""
        text = to_json(value, indent=2)
        if self._console is None:
            print(text, flush=True)
        else:
            self._console.print_json(text)


class Progress:
    """How far something is, in a line on standard error, where that is a terminal."""

    def __init__(self) -> None:
        self._draft = Draft(_console(sys.stderr))
        self._pace = Pace(0.1)

    def show(self, text: str) -> None:
        """Show it, unless something was shown a moment ago."""
        if self._pace.due():
            self._draft.show((printable(text), "dim"))

    def clear(self) -> None:
        """Make room for a line of something else."""
        self._draft.take_back()

    def end(self, text: str) -> None:
        """Show it, and leave it there."""
        self._draft.show((printable(text), "dim"))
        self._draft.keep()


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


def _text(parts: tuple[Part, ...]) -> Text:
    from rich.text import Text  # noqa: PLC0415 - only where there is a terminal

    return Text.assemble(*parts)


def _console(stream: IO[str]) -> Console | None:
    """Rich's, where it is installed and somebody looks."""
    if not stream.isatty():
        return None
    try:
        from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
    except ImportError:
        return None
    return Console(file=stream, highlight=False)
