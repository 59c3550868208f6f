"""A terminal, and somebody who looks at all that is ever written there."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

from tests.scenarios.cli.shell import SCRIPT, SECONDS

ENVIRONMENT = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
ERASE = "\r\x1b[2K"
"""Takes a line back."""
STYLE = re.compile(r"\x1b\[[\d;]*m")
"""Bold, dim and the end of that."""


@contextmanager
def terminal() -> Generator[tuple[int, int]]:
    """Both ends of a terminal. Whoever holds the second closes it."""
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)


def shown_on(ours: int) -> str:
    """All that is written to a terminal, until nobody holds its other end any more."""
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:  # how a terminal ends
        pass
    return shown.decode()


def on_a_terminal(*arguments: str) -> list[str]:
    """Run `ratatoskr` where somebody looks. The lines, each with all that was taken back on it, without styles."""
    with (
        terminal() as (ours, theirs),
        subprocess.Popen([SCRIPT, *arguments], stdout=theirs, stderr=theirs, env=ENVIRONMENT) as process,
    ):
        os.close(theirs)
        shown = shown_on(ours)
        assert process.wait(SECONDS) == 0, shown
    return STYLE.sub("", shown).split("\r\n")
