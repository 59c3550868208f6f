"""Addresses for people."""

from __future__ import annotations


def readable(address: object) -> str:
    """A socket's address."""
    match address:
        case (str() as host, int() as port, *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return str(address or "a local socket")
