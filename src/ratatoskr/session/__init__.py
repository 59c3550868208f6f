"""Session: calls that have exactly one outcome."""

from ratatoskr.session.resumable import ResumableSession, Verdict
from ratatoskr.session.session import Session
from ratatoskr.session.surface import CallSurface
from ratatoskr.session.table import SessionTable

__all__ = ["CallSurface", "ResumableSession", "Session", "SessionTable", "Verdict"]
