"""How a command ends: one exit code and, where it failed, one line that says what to do."""

from __future__ import annotations

from enum import IntEnum

from ratatoskr import CallError, CallFailed, CallRefused, Failure, RatatoskrError
from ratatoskr_cli.screen import printable


class Exit(IntEnum):
    """Exit codes, the same for every command."""

    DONE = 0
    NO = 1
    """A file, a certificate, a receipt or a check was refused; the line says which."""
    USAGE = 2
    """The command line is wrong."""
    NO_CONNECTION = 3
    """No connection came about: nothing was asked."""
    REFUSED = 4
    """The call was surely not processed: the same call may be made again."""
    UNKNOWN = 5
    """Nobody knows whether the call had an effect: make the same call again, it runs at most once."""
    FAILED = 6
    """The call was processed, and this is the answer."""
    INTERRUPTED = 130
    """Somebody pressed Ctrl-C: what was asked was cancelled."""


EXIT_CODES = """\
exit codes:
    0  done
    1  a file, a certificate, a receipt or a check was refused
    2  the command line is wrong
    3  no connection: nothing was asked
    4  the call was surely not processed; it may be made again
    5  nobody knows whether the call had an effect; make the same call again, it runs at most once
    6  the call was processed, and the answer is an error
  130  interrupted with Ctrl-C: the call was cancelled
"""


class Failed(RatatoskrError):
    """A command cannot do what it was asked. The text is one line for people."""

    def __init__(self, text: str, code: Exit = Exit.NO) -> None:
        super().__init__(text)
        self.code = code


def exit_of(error: CallError) -> Exit:
    """The exit code of a call that has no answer."""
    if isinstance(error, CallRefused):
        return Exit.REFUSED
    return Exit.FAILED if isinstance(error, CallFailed) else Exit.UNKNOWN


def failure_text(failure: Failure) -> str:
    """A peer's failure as one line."""
    broken = (f"{each.field}: {each.description}" for each in failure.violations)
    details = "".join(f"; {each}" for each in broken if each not in failure.message)
    return printable(f"{failure.reason} ({failure.status.name}): {failure.message}{details}")
