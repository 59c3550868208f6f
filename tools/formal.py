"""The formal models in docs/spec/formal: their variants, what ProVerif makes of them, and the table of results.

    python -m tools.formal check [NAME …]    run the models, all or those named; exit 1 where a result is another
    python -m tools.formal write             run them all, and bring the page's table up to date
    python -m tools.formal show NAME VARIANT print one variant, as ProVerif gets it

`proverif` is looked for on PATH. A model is a file that ProVerif reads as it is. Comments of four forms say more::

    (* VARIANT name: what is different in it. *)
    (* QUERY name: what it says.
       EXPECT real holds, name attack, … *)          before a query; reachable instead of attack where it should be
    (*- name: … *)                                   in that variant this stands in place of the line above

A variant keeps those queries only that expect something of it. `real` is the protocol as it is.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "docs/spec/formal"
PAGE = MODELS / "README.md"
REAL = "real"
BEGIN, END = "<!-- ProVerif: from here -->", "<!-- ProVerif: to here -->"
HEADER = ("model", "variant", "query", "result")
TIMEOUT_SECONDS = 3600.0

_VARIANT = re.compile(r"\(\* VARIANT ([\w-]+): (.*?) \*\)", re.DOTALL)
_QUERY = re.compile(
    r"\(\* QUERY ([\w-]+): (.*?)\s+EXPECT (.*?) \*\)\n(query .*?\.)(?:\n|$)",
    re.DOTALL,
)
_INSTEAD = re.compile(r"\s*\(\*- ([\w, -]+):(.*?)\s*\*\)")
_SUMMARY = re.compile(r"^Query .* (is true|is false|cannot be proved)\.$", re.MULTILINE)
_ANSWERS = {"is true": ("holds",), "is false": ("attack", "reachable"), "cannot be proved": ("unknown",)}


class Query(NamedTuple):
    """One query of a model: what it says, what is expected of it in which variant, and its text."""

    name: str
    says: str
    expected: dict[str, str]
    text: str


class Result(NamedTuple):
    """What ProVerif said of one query in one variant."""

    model: str
    variant: str
    query: str
    expected: str
    said: str

    @property
    def ok(self) -> bool:
        """Whether it is what the model expects."""
        return self.expected in _ANSWERS[self.said]


@dataclass(frozen=True)
class Model:
    """A file of docs/spec/formal."""

    name: str
    source: str

    @classmethod
    def load(cls, path: Path) -> Model:
        """Read one."""
        return cls(path.name, path.read_text(encoding="utf-8"))

    @property
    def variants(self) -> dict[str, str]:
        """Names and meanings, the protocol as it is left out."""
        return {name: _flat(text) for name, text in _VARIANT.findall(self.source)}

    @property
    def queries(self) -> list[Query]:
        """All of them, in order."""
        return [
            Query(name, _flat(says), dict(_pairs(expected)), text)
            for name, says, expected, text in _QUERY.findall(self.source)
        ]

    def expected(self, variant: str) -> list[tuple[str, str]]:
        """Names of the queries that a variant keeps, and what is expected of each."""
        return [(each.name, each.expected[variant]) for each in self.queries if variant in each.expected]

    def text(self, variant: str = REAL) -> str:
        """What ProVerif is given."""

        def kept(found: re.Match[str]) -> str:
            return f"{found[4]}\n" if variant in dict(_pairs(found[3])) else ""

        lines: list[str] = []
        for line in _QUERY.sub(kept, self.source).splitlines():
            instead = _INSTEAD.fullmatch(line)
            if instead is None:
                lines.append(line)
            elif variant in _names(instead[1]):
                lines[_last(lines)] = instead[2]
        return "\n".join(lines) + "\n"

    def replaced(self) -> set[str]:
        """The variants that have a line of their own."""
        found = (_INSTEAD.fullmatch(line) for line in self.source.splitlines())
        return {name for each in found if each is not None for name in _names(each[1])}


def models() -> list[Model]:
    """All models, by name."""
    return [Model.load(path) for path in sorted(MODELS.glob("*.pv"))]


def run(model: Model, variant: str, proverif: str) -> tuple[list[Result], float]:
    """The results of one variant, and how many seconds they took. Raises RuntimeError where there are none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, model.name)
        path.write_text(model.text(variant), encoding="utf-8")
        began = time.monotonic()
        done = subprocess.run(
            [proverif, str(path)], cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS
        )
        seconds = time.monotonic() - began
    said = _SUMMARY.findall(done.stdout)
    expected = model.expected(variant)
    if done.returncode or len(said) != len(expected):
        raise RuntimeError(
            f"{model.name}, {variant}: {len(said)} answers to {len(expected)} queries: {done.stdout[-2000:]}"
        )
    return [
        Result(model.name, variant, name, wanted, answer) for (name, wanted), answer in zip(expected, said, strict=True)
    ], seconds


def results(page: str) -> list[tuple[str, str, str, str]]:
    """The rows of the page's table: model, variant, query, result."""
    rows = page.partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]
    cells = [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]
    return [(model, variant, query, said) for model, variant, query, said, *_ in cells]


def rows(model: Model, variant: str, found: list[Result]) -> Iterator[tuple[str, str, str, str]]:
    """Rows of the table, as the page has them."""
    for result in found:
        yield f"`{model.name}`", f"`{variant}`", f"`{result.query}`", result.expected if result.ok else result.said


def main(arguments: list[str]) -> int:
    """The command."""
    match arguments:
        case ["show", name, variant]:
            sys.stdout.write(Model.load(MODELS / name).text(variant))
            return 0
        case ["write"]:
            return _run_all(models(), write=True)
        case ["check", *names]:
            return _run_all([model for model in models() if not names or model.name in names], write=False)
    sys.stderr.write(__doc__ or "")
    return 2


def _run_all(chosen: list[Model], *, write: bool) -> int:
    proverif = shutil.which("proverif")
    if proverif is None:
        sys.stderr.write("there is no `proverif` on PATH\n")
        return 2
    wrong = 0
    lines: list[tuple[str, ...]] = []
    for model in chosen:
        for variant in (REAL, *model.variants):
            found, seconds = run(model, variant, proverif)
            lines += rows(model, variant, found)
            for result in found:
                wrong += not result.ok
                mark = "" if result.ok else f"   EXPECTED {result.expected}"
                sys.stdout.write(f"{model.name:16} {variant:24} {result.query:28} {result.said}{mark}\n")
            sys.stdout.write(f"{model.name:16} {variant:24} {seconds:.1f} s\n")
            sys.stdout.flush()
    if write and not wrong:
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        held = "\n".join(f"| {' | '.join(line)} |" for line in (HEADER, ("---",) * len(HEADER), *lines))
        PAGE.write_text(f"{before}{BEGIN}\n\n{held}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 1 if wrong else 0


def _pairs(expected: str) -> Iterator[tuple[str, str]]:
    for pair in expected.split(","):
        variant, _, result = _flat(pair).partition(" ")
        yield variant, result


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",")]


def _last(lines: list[str]) -> int:
    """The last line that says something: a variant's lines stand under the one that they replace."""
    return max(at for at, line in enumerate(lines) if line.strip())


def _flat(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
