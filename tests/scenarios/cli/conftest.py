from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.cli.browsing import stock
from tests.scenarios.cli.shell import Sandbox, ok, sandbox


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Identities for development."""
    home = tmp_path_factory.mktemp("dev") / "dev"
    ok("dev", "init", home, "--name", "localhost", "--name", "yggdrasil")
    return home


@pytest.fixture(scope="module")
def served(dev: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox that the tests of a module share."""
    with sandbox(dev, "--db", tmp_path_factory.mktemp("db") / "books.sqlite") as running:
        yield running


@pytest.fixture(scope="module")
def shop(served: Sandbox) -> Sandbox:
    """The same with sixty offers of a kind."""
    stock(served)
    return served
