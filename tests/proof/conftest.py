"""At the end of a run: the table of kills and payments."""

from __future__ import annotations

import pytest

from tests.proof.campaign import Report
from tests.proof.table import table

REPORTS = pytest.StashKey[list[Report]]()


@pytest.fixture
def reports(request: pytest.FixtureRequest) -> list[Report]:
    """The columns of the table."""
    return request.config.stash.setdefault(REPORTS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reports = config.stash.get(REPORTS, [])
    if reports:
        terminalreporter.section("processes killed while they pay")
        for line in table(reports):
            terminalreporter.write_line(line)
