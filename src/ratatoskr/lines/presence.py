"""Presence: the clients of a server, those that are connected and those whose sessions wait for another line.

A client is one :class:`Peer` from the first line of its session to the end of that, whatever lines come between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from ratatoskr.connection import Connection
from ratatoskr.lines.line import Line
from ratatoskr.lines.peer import Peer
from ratatoskr.service import Calls, Directory, PeerLink
from ratatoskr.session import ResumableSession, SessionTable

NewCalls: TypeAlias = Callable[..., Calls]
"""Makes the calls of a client, as :meth:`Workshop.calls` does."""


class _Kept(NamedTuple):
    calls: Calls
    peer: Peer


class Presence:
    """Knows who is there."""

    def __init__(self, sessions: SessionTable, directory: Directory[PeerLink]) -> None:
        self._sessions = sessions
        self._directory = directory
        self._kept: dict[bytes, _Kept] = {}
        """By the id of a session that outlives its lines."""
        self._present: dict[PeerLink, Peer] = {}
        self._closing = False

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Those that are connected, the longest connected first."""
        return tuple(self._present.values())

    def find(self, subject: str, tenant: str) -> Peer | None:
        """The one of that name that is connected; the latest where there are several."""
        link = self._directory.find(subject, tenant)
        return None if link is None else self._present[link]

    def let_in(self, line: Line, session_id: bytes) -> Connection | None:
        """Let a client in, to go on with the session that it names where it may. Returns the connection that the
        session was on until now, which is to be polled.
        """
        kept = self._kept.get(session_id)
        session = self._sessions.find(session_id) if kept is not None else None
        before = line.accept(session)
        if kept is not None and session is not None and line.connection.session is session:
            line.carry(kept.calls)
            kept.peer.move(line)
        return before

    def enter(self, line: Line, new_calls: NewCalls) -> None:
        """A line is open: its client is the one of the session that goes on, or a new one."""
        session = line.connection.session
        if session is None or line.calls is None:
            calls, peer = self._new_client(line, session, new_calls)
        else:
            calls, peer = self._kept[session.session_id]
        if session is not None:
            self._sessions.enter(session)
        if calls not in self._present:
            self._directory.enter(calls)
        self._present[calls] = peer

    def leave(self, line: Line) -> None:
        """A line has ended. Its client is here no longer, unless it has another one."""
        calls = line.calls
        if calls is not None and calls in self._present and self._present[calls].carried_by(line):
            del self._present[calls]
            self._directory.leave(calls)

    def close(self) -> None:
        """Nobody comes back: end what waits, and what begins to wait from now on."""
        self._closing = True
        for kept in list(self._kept.values()):
            kept.calls.wake()

    def _new_client(self, line: Line, session: ResumableSession | None, new_calls: NewCalls) -> _Kept:
        def forget() -> None:
            if session is not None:
                self._sessions.leave(session)
                del self._kept[session.session_id]

        calls = new_calls(on_rest=self._make_room, on_end=forget)
        line.carry(calls)
        kept = _Kept(calls, Peer(line, calls))
        if session is not None:
            self._kept[session.session_id] = kept
        return kept

    def _make_room(self, session: ResumableSession) -> None:
        """A session waits for its client. Those that there is no room for end; all, where the server does."""
        if self._closing:
            session.abandon()
        for each in self._sessions.wait(session):
            kept = self._kept.get(each.session_id)
            if kept is not None:  # else it is of another server that uses the same table
                kept.calls.wake()
