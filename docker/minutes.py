"""Runs the layers of the tests in one pytest session and holds each to its minutes: minutes.py [--everything].

tests/minutes.toml says which layers each Python runs and how long each may take; a layer is a directory below tests/.
With --everything, this Python runs what the first one in the file runs.
The time of a layer is the time of its tests with their fixtures. The session fails as soon as a layer is out of time;
a single test that hangs is ended by pytest's own timeout.
"""

import sys
import time
import tomllib
from collections.abc import Generator
from pathlib import Path

import pytest

LIMIT = 70
STAGES = "stages"


class Layers:
    """A pytest plugin: measures each layer, fails the session when one is out of time, prints used beside stated."""

    def __init__(self, tests: Path, python: str, stated: dict[str, float]) -> None:
        self._tests = tests
        self._python = python
        self._stated = stated
        self._used = dict.fromkeys(stated, 0.0)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Time one test; fixtures of a wider scope count with the test that makes or ends them."""
        layer = item.path.relative_to(self._tests).parts[0]
        started = time.monotonic()
        result = yield
        self._used[layer] += time.monotonic() - started
        if self._used[layer] > self._stated[layer] * 60:
            item.session.shouldfail = f"{layer} is over the {self._stated[layer]:g} minutes of tests/minutes.toml"
        return result

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """One line per layer; .ci/run finds them by their first word."""
        terminalreporter.section(f"minutes on Python {self._python}")
        for layer, stated in self._stated.items():
            terminalreporter.line(line(layer, self._python, stated, self._used[layer]))


def line(layer: str, python: str, stated: float, seconds: float) -> str:
    """What was stated and used for one layer, in the form that docker/run prints for its stages."""
    return f"minutes  {layer:<12} {python:<5} stated {stated:4.1f}  used {seconds / 60:4.1f}"


def problems(tests: Path, minutes: dict[str, dict[str, float]]) -> list[str]:
    """What is wrong between the file and the tree. Empty when each layer has its minutes and its tests."""
    found = []
    total = sum(sum(layers.values()) for layers in minutes.values())
    if total > LIMIT:
        found.append(f"the sum is {total:g} minutes, more than {LIMIT}")
    stated = {layer for name, layers in minutes.items() if name != STAGES for layer in layers}
    present = {path.relative_to(tests).parts[0] for path in tests.rglob("test_*.py")}
    found += [f"{name} has no minutes" for name in sorted(present - stated)]
    found += [f"{name} has minutes and no tests" for name in sorted(stated - present)]
    return found


def main(root: Path, *, everything: bool) -> int:
    """Run what this Python is to run. The exit code is pytest's."""
    tests = root / "tests"
    with (tests / "minutes.toml").open("rb") as file:
        minutes: dict[str, dict[str, float]] = tomllib.load(file)
    if found := problems(tests, minutes):
        sys.stderr.writelines(f"tests/minutes.toml: {problem}\n" for problem in found)
        return pytest.ExitCode.USAGE_ERROR
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    first = next(name for name in minutes if name != STAGES)
    stated = minutes[first if everything else python]
    return pytest.main([str(tests / layer) for layer in stated], [Layers(tests, python, stated)])


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent, everything="--everything" in sys.argv[1:]))
