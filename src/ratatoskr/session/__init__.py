"""Session: calls that have exactly one outcome."""

from ratatoskr.session.session import Session

__all__ = ["Session"]
