from pathlib import Path

import pytest

from tests.unit.sandbox.books import Books


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path / "sandbox.sqlite")
