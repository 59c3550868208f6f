"""Presence: whose lines are open at a server, and whose sessions wait for another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ratatoskr.connection import Connection
from ratatoskr.lines.line import Line
from ratatoskr.lines.peer import Peer
from ratatoskr.service import Calls, Directory, PeerLink
from ratatoskr.session import ResumableSession, SessionTable


class MakeCalls(Protocol):
    """Makes the calls of one client; see :class:`~ratatoskr.service.Calls`."""

    def __call__(
        self, *, on_rest: Callable[[ResumableSession], None] | None = None, on_end: Callable[[], None] | None = None
    ) -> Calls:
        """What is given to it goes on to them."""
        ...


class Presence:
    """The clients of one server."""

    def __init__(self, sessions: SessionTable, directory: Directory[PeerLink], make_calls: MakeCalls) -> None:
        self._sessions = sessions
        self._directory = directory
        self._make_calls = make_calls
        self._kept: dict[bytes, Calls] = {}
        self._peers: dict[PeerLink, Peer] = {}
        self._closing = False
        self.lines: dict[Connection, Line] = {}
        """All that have not ended, from their first byte on."""

    @property
    def peers(self) -> tuple[Peer, ...]:
        """The clients whose connections are open, the longest connected first."""
        return tuple(self._peers.values())

    def find(self, subject: str, tenant: str) -> Peer | None:
        """The client of that name whose connection is open; the latest where there are several."""
        link = self._directory.find(subject, tenant)
        return None if link is None else self._peers[link]

    def let_in(self, line: Line, session_id: bytes) -> None:
        """Accept the client, to go on with that session where it is kept and the client may."""
        calls = self._kept.get(session_id)
        session = self._sessions.find(session_id) if calls is not None else None
        before = line.accept(session)
        if calls is not None and session is not None and line.connection.session is session:
            line.carry(calls)
        if before is not None:
            self.lines[before].wake()

    def open(self, line: Line) -> None:
        """A line is open: its calls are those of the session that goes on, or new ones."""
        session, calls = line.connection.session, line.calls
        if calls is None:
            calls = self._new_calls(session)
            line.carry(calls)
        if session is not None:
            self._sessions.enter(session)
        if calls not in self._peers:
            self._directory.enter(calls)
        self._peers[calls] = Peer(line, calls)

    def leave(self, line: Line) -> None:
        """A line has ended. Its peer is here no longer, unless another line carries its calls."""
        calls = line.calls
        if calls is not None and calls in self._peers and self._peers[calls].carried_by(line):
            del self._peers[calls]
            self._directory.leave(calls)

    def close(self) -> None:
        """Nobody is waited for any more: sessions without a line end, now and from now on."""
        self._closing = True
        for session in self._sessions.waiting():
            self._kept[session.session_id].wake()

    def _new_calls(self, session: ResumableSession | None) -> Calls:
        if session is None:
            return self._make_calls()

        def forget() -> None:
            self._sessions.leave(session)
            self._kept.pop(session.session_id, None)

        calls = self._kept[session.session_id] = self._make_calls(on_rest=self._make_room, on_end=forget)
        return calls

    def _make_room(self, session: ResumableSession) -> None:
        """A session waits for its client. Those that there is no room for end; all, where the server does."""
        if self._closing:
            session.abandon()
        for each in self._sessions.wait(session):
            self._kept[each.session_id].wake()
