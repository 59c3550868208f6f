"""The parts of README.md and docs/ that follow from the code: tables, the diagram of states, the schema, examples.

    python -m tools.docs write    bring them up to date
    python -m tools.docs check    name the files that are not, and exit 1

Such a part stands between two comments of Markdown, `<!-- begin NAME -->` and `<!-- end NAME -->`. NAME is one of
TABLES, `schema FILE` for a file of the wire schema, or `file PATH` for a file of the project.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from tools import call_tables, tables
from tools.schema import schema

ROOT = Path(__file__).parents[1]

# Files


def file(path: str) -> str:
    """A file of the project as a block of code. Its first line says its name, below examples/."""
    text = (ROOT / path).read_text(encoding="utf-8").rstrip()
    language, comment = {".py": ("python", "#"), ".proto": ("protobuf", "//")}[Path(path).suffix]
    return f"```{language}\n{comment} {path.removeprefix('examples/')}\n{text}\n```"


TABLES: dict[str, Callable[[], str]] = {
    "states": tables.states,
    "inputs": tables.inputs,
    "transitions": tables.transitions,
    "diagram": tables.diagram,
    "asking diagram": call_tables.asking_diagram,
    "asking states": call_tables.asking_states,
    "asking inputs": call_tables.asking_inputs,
    "answering diagram": call_tables.answering_diagram,
    "answering states": call_tables.answering_states,
    "posting diagram": call_tables.posting_diagram,
    "posting states": call_tables.posting_states,
    "posting inputs": call_tables.posting_inputs,
    "answering inputs": call_tables.answering_inputs,
    "outputs": tables.outputs,
    "events": tables.events,
    "timers": tables.timers,
    "faults": tables.faults,
    "rules": tables.rules,
    "limits": tables.limit_tables,
    "announced": tables.announced,
    "constants": tables.constants,
    "kinds": tables.kinds,
    "dispositions": tables.dispositions,
    "statuses": tables.statuses,
    "records": tables.records,
    "suites": tables.suites,
    "key limits": tables.key_limits,
}


def section(name: str) -> str:
    """The text of one part, by its name in the file."""
    word, _, argument = name.partition(" ")
    if word == "file":
        return file(argument)
    if word == "schema":
        return schema(argument)
    return TABLES[name]()


_SECTION = re.compile(r"(<!-- begin ([\w ./-]+) -->\n)(?:.*?\n)?(<!-- end \2 -->)", re.DOTALL)


def current(text: str) -> str:
    """The same text with all its parts up to date."""
    return _SECTION.sub(lambda found: f"{found[1]}\n{section(found[2])}\n\n{found[3]}", text)


def pages() -> list[Path]:
    """README.md and everything in docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def stale() -> list[Path]:
    """The pages with a part that is not up to date."""
    return [page for page in pages() if page.read_text(encoding="utf-8") != current(page.read_text(encoding="utf-8"))]


def main(arguments: list[str]) -> int:
    """Run one command."""
    if arguments == ["write"]:
        for page in stale():
            page.write_text(current(page.read_text(encoding="utf-8")), encoding="utf-8")
            print(f"written: {page.relative_to(ROOT)}")
        return 0
    if arguments == ["check"]:
        for page in (found := stale()):
            print(f"stale: {page.relative_to(ROOT)}; run: python -m tools.docs write", file=sys.stderr)
        return 1 if found else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
