"""pytest fixtures, there as soon as the package is installed."""

from __future__ import annotations

import pytest

from ratatoskr.testing.authority import Authority
from ratatoskr.testing.pair import Pair


@pytest.fixture
def ratatoskr_authority() -> Authority:
    """A root of its own, which issues identities and makes configurations. The same keys in every run."""
    return Authority()


@pytest.fixture
def ratatoskr_pair(ratatoskr_authority: Authority) -> Pair:
    """A client's and a server's connection, open, in virtual time, with identities of ``ratatoskr_authority``."""
    pair = Pair(ratatoskr_authority)
    pair.open()
    return pair
