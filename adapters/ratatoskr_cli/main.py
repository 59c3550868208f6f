"""`ratatoskr`: the entry point of the command line."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from ratatoskr import CallError, RatatoskrError, __version__
from ratatoskr_cli.exits import EXIT_CODES, Exit, Failed, exit_of, failure_text
from ratatoskr_cli.screen import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Whatever is wrong is one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter is no reason to fail
    try:
        from ratatoskr_cli import commands  # noqa: PLC0415 - what is missing is explained below
    except ModuleNotFoundError as missing:
        if missing.name != "websockets":
            raise
        return _fail("the package websockets is missing: pip install 'ratatoskr-protocol[cli]'", Exit.NO)
    parser = _parser()
    commands.add_all(parser.add_subparsers(metavar="COMMAND", required=True))
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough. Standard output is closed at exit, and must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except Failed as failed:
        return _fail(str(failed), failed.code)
    except commands.ConnectFailed as failed:
        # The library names its own argument; here it is an option.
        return _fail(re.sub(r"server_name='(\S+)'", r"--server-name \1", str(failed)), Exit.NO_CONNECTION)
    except CallError as error:
        return _fail(failure_text(error.failure), exit_of(error))
    except RatatoskrError as error:
        return _fail(str(error), Exit.NO)
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), Exit.NO)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ratatoskr",
        description="Business with a platform, signed, sealed and at most once.",
        epilog=(
            "begin with:\n"
            "  ratatoskr demo                          watch a device and a platform do business\n"
            "  ratatoskr dev init dev                  identities for development\n"
            "  ratatoskr serve --config dev/server.toml\n"
            "  ratatoskr call MARKETPLACE_SEARCH --config dev/device.toml\n"
            "\n" + EXIT_CODES
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ratatoskr {__version__}")
    return parser


def _fail(text: str, code: Exit) -> int:
    print(f"ratatoskr: {printable(text)}", file=sys.stderr)
    return code
