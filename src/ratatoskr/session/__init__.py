"""Session: calls that have exactly one outcome."""

from ratatoskr.session.resumable import ResumableSession, Verdict
from ratatoskr.session.session import Session

__all__ = ["ResumableSession", "Session", "Verdict"]
