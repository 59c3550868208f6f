"""What several commands have in common on the command line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ratatoskr import Role

Run: TypeAlias = Callable[[argparse.Namespace], int]


class Commands(Protocol):
    """What ``ArgumentParser.add_subparsers`` returns."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """A parser for one subcommand."""
        ...


ROLES = {"server": Role.SERVER, "device": Role.DEVICE, "provider": Role.PROVIDER, "issuer": Role.ISSUER}


def add_command(
    commands: Commands, name: str, run: Run | None, *, about: str, description: str = "", examples: str = ""
) -> argparse.ArgumentParser:
    """A subcommand. ``examples`` are lines that work when pasted; ``run`` gets the parsed arguments."""
    parser = commands.add_parser(
        name,
        help=about,
        description=description or f"{about[0].upper()}{about[1:]}.",
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help=f"{what} as JSON, for programs")


def add_path(parser: argparse.ArgumentParser, name: str, about: str, *, required: bool = True) -> None:
    """A file or a directory."""
    if name.startswith("-"):
        parser.add_argument(name, type=Path, metavar="FILE", help=about, required=required)
    else:
        parser.add_argument(name, type=Path, metavar=name.upper(), help=about)


def seconds(text: str) -> float:
    """A time above zero."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


def port(text: str) -> int:
    """A TCP port, or 0 for any free one."""
    value = int(text)
    if not 0 <= value <= 65535:
        raise ValueError
    return value
