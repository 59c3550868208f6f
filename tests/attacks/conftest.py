"""At the end of a run: the table of what each attack cost its victim, beside what it may cost."""

from __future__ import annotations

import pytest

from tests.attacks.judging import Row, table

ROWS = pytest.StashKey[list[Row]]()


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> list[Row]:
    """The lines of the table."""
    return request.config.stash.setdefault(ROWS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if rows:
        terminalreporter.section("what an attack costs, in bytes, nanoseconds and calls")
        for line in table(rows):
            terminalreporter.write_line(line)
