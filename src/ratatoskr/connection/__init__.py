"""Connection: the pure machine of one transport."""

from ratatoskr.connection.connection import Connection, new_session
from ratatoskr.connection.states import State

__all__ = ["Connection", "State", "new_session"]
