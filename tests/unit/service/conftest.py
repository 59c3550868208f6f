"""What every test of the service leaves behind is ended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.service.desk import Desk


@pytest.fixture(autouse=True)
def no_desk_is_left() -> Iterator[None]:
    yield
    for desk in list(Desk.alive):
        desk.crash()
