"""README.md and docs/ as data: blocks of code, links, headings, tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = ROOT / "examples"
SPEC = ROOT / "docs/spec"

_FENCE = re.compile(r"^(<!-- keeps running -->\n\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"(?:#|//) ([\w/]+\.\w+)\n(.*)", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block. ``keeps_running``: its last command is a server, which runs until the page is done."""

    page: Path
    line: int
    language: str
    text: str
    keeps_running: bool

    @property
    def file(self) -> tuple[str, str] | None:
        """Name and content, where the first line is a comment with the name of a file."""
        found = _NAME.match(self.text)
        return (found[1], found[2]) if found else None

    @property
    def is_example(self) -> bool:
        """Whether it is a file of examples/, word for word."""
        if self.file is None:
            return False
        name, text = self.file
        return (EXAMPLES / name).is_file() and (EXAMPLES / name).read_text(encoding="utf-8") == text

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """All fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page, line, found[2], found[3], found[1] is not None)


def prose(page: Path) -> str:
    """The page without its blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Command:
    """A line after a prompt, and what it prints. ``…`` stands for anything, ``stays`` for a server."""

    line: str
    output: str
    stays: bool


def commands(block: Block) -> list[Command]:
    """The commands of a console block."""
    found: list[Command] = []
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not parts[0], f"{block}: a console block begins with a prompt"
    for part in parts[1:]:
        line, _, output = part.partition("\n")
        found.append(Command(line, output, stays=block.keeps_running and part is parts[-1]))
    return found


def layout(page: Path, name: str) -> list[tuple[str, str, str]]:
    """The rows of the table behind ``<!-- layout NAME -->``: field, bytes, value."""
    text = page.read_text(encoding="utf-8").split(f"<!-- layout {name} -->\n", 1)[1].lstrip("\n")
    lines = text.split("\n\n", 1)[0].splitlines()[2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|"))[:3] for line in lines]  # type: ignore[misc]
