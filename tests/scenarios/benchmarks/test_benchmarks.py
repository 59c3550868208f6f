"""Every benchmark runs, measures what it says, and prints it for people and for programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
SECONDS = 60.0
ROUNDS = ("--rounds", "1", "--seconds")
CASES = {
    "core.py": ([*ROUNDS, "0.001"], 2 * 3),
    "flood.py": ([*ROUNDS, "0.1", "--flooders", "40"], 5),
    "websocket.py": ([*ROUNDS, "0.01", "--in-flight", "40", "--shares", "16", "all"], 2 * 3),
}
"""Options for a short run, and how many rows it has."""
SHARED = {"apart.py"}


def run(name: str, *options: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / name, *options], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_every_benchmark_is_here() -> None:
    assert {path.name for path in BENCHMARKS.glob("*.py")} == CASES.keys() | SHARED


@pytest.mark.parametrize("name", CASES)
def test_a_benchmark_measures(name: str) -> None:
    options, count = CASES[name]
    rows = [json.loads(line) for line in run(name, *options, "--json")]
    assert len(rows) == count
    for row in rows:
        assert all(row[word] > 0 for word in row if word.startswith(("ratio", "call", "payment", "search", "per_")))
    table = run(name, *options)
    assert len(table[-count:]) == count
    assert [line.split()[0] for line in table[-count:]] == [str(next(iter(row.values()))).split()[0] for row in rows]


@pytest.mark.parametrize("name", CASES)
def test_a_benchmark_says_what_it_does(name: str) -> None:
    assert f"python benchmarks/{name}" in "\n".join(run(name, "--help"))
