"""Addresses for people."""

from __future__ import annotations

import pytest

from ratatoskr_asyncio import readable


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("192.0.2.1", 8765), "192.0.2.1:8765"),
        (("2001:db8::1", 8765, 0, 0), "[2001:db8::1]:8765"),
        ("/run/ratatoskr.sock", "/run/ratatoskr.sock"),
        ("", "a local socket"),
        (None, "a local socket"),
    ],
)
def test_an_address_is_readable(address: object, text: str) -> None:
    assert readable(address) == text
